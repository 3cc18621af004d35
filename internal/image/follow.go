package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/diskformat"
)

const (
	maxDepth  = 16  // of files that name each other
	maxOthers = 256 // files of one image
)

// others are the files that an image names, such as its backing file: an image may name any file of
// this host, so they are opened only with Options.Follow, and only in the image's own folder.
type others struct {
	image medium
	opts  Options

	folder *folder // of the image; nil before the first file is opened
	dir    string  // its path, without links
	files  []*File
	disks  []diskformat.Disk // in the files
}

func newOthers(image medium, opts Options) *others { return &others{image: image, opts: opts} }

// opener opens the files that an image names. depth is 1 for those that the first image names. from
// is the folder of the image that names them, relative to that of the first image.
func (o *others) opener(depth int, from string) diskformat.Opener {
	return func(ctx context.Context, name, format string) (diskformat.Disk, error) {
		if err := o.allow(depth, name); err != nil {
			return nil, err
		}
		local, err := o.localName(from, name)
		if err != nil {
			return nil, err
		}
		f, err := o.open(local)
		if err != nil {
			return nil, err
		}
		d, err := o.read(ctx, f, format, o.opener(depth+1, path.Dir(local)))
		if err != nil {
			return nil, err
		}
		o.disks = append(o.disks, d)
		return d, nil
	}
}

const hintOneFile = "if you trust the image, make one of both: qemu-img convert -O raw IN OUT"

// refuse is the error for a file that an image names and that is not read.
func (o *others) refuse(hint, name, reason string) error {
	return invalid("open "+o.image.name(), hint, "it needs another file, %q, which is not read: %s", name, reason)
}

// allow checks what does not depend on the name.
func (o *others) allow(depth int, name string) error {
	_, isFile := o.image.(*File)
	switch {
	case !isFile:
		return o.refuse("fetch both to one folder, and give --follow", name, "only those of files are read")
	case !o.opts.Follow:
		return o.refuse(hintOneFile+"; or give --follow, which reads files in the image's own folder", name,
			"an image can name any file of this host")
	case depth > maxDepth:
		return o.refuse(hintOneFile, name,
			fmt.Sprintf("more than %d files name each other in a row, perhaps in a circle", maxDepth))
	case len(o.files) == maxOthers:
		return o.refuse(hintOneFile, name, fmt.Sprintf("the image consists of more than %d files", maxOthers))
	}
	return nil
}

// localName is the name of a file relative to the first image's folder, which it is in.
func (o *others) localName(from, name string) (string, error) {
	outside := func(reason string) error {
		return o.refuse("put the file into the image's own folder, and name it there (qemu-img rebase -u -b NAME IN); "+
			"or "+hintOneFile, name, reason)
	}
	// What has a colon before the first slash is an address, a device or options to QEMU.
	if first, _, _ := strings.Cut(name, "/"); strings.Contains(first, ":") || strings.ContainsRune(name, 0) {
		return "", outside("it is no path")
	}
	if err := o.openFolder(); err != nil {
		return "", err
	}
	local := path.Join(from, name)
	if path.IsAbs(name) {
		local = o.below(name)
	}
	const notInFolder = "it is not in the image's own folder"
	if !filepath.IsLocal(local) || strings.Contains("/"+name+"/", "/../") {
		return "", outside(notInFolder)
	}
	resolved, err := resolve(filepath.Join(o.dir, local))
	if err != nil {
		return "", fileError("find "+filepath.Join(o.dir, local), err)
	}
	if rel, err := filepath.Rel(o.dir, resolved); err != nil || !filepath.IsLocal(rel) {
		return "", outside(notInFolder + ": a link leads out of it")
	}
	return local, nil
}

// below is an absolute path relative to the folder, which it may name with or without links; empty:
// it is not below the folder.
func (o *others) below(name string) string {
	typed, err := filepath.Abs(o.image.name())
	if err != nil {
		return ""
	}
	for _, dir := range []string{o.dir, filepath.Dir(typed)} {
		if rel, ok := strings.CutPrefix(path.Clean(name), strings.TrimSuffix(dir, "/")+"/"); ok {
			return rel
		}
	}
	return ""
}

func (o *others) openFolder() (err error) {
	if o.folder != nil {
		return nil
	}
	resolved, err := o.opts.Roots.Check(o.image.name())
	if err != nil {
		return err
	}
	o.dir = filepath.Dir(resolved)
	o.folder, err = Roots{o.dir}.openFolder(o.dir)
	return err
}

// open opens a file of the folder. It follows links within the folder only, whatever has changed
// since localName.
func (o *others) open(local string) (*File, error) {
	s := &File{path: filepath.Join(o.dir, local)}
	op := "open " + s.path
	info, err := o.folder.Stat(local)
	if err != nil {
		return nil, fileError(op, err)
	}
	if !info.Mode().IsRegular() {
		return nil, o.refuse(hintOneFile, local, "it is no regular file")
	}
	if s.f, err = o.folder.OpenFile(local, os.O_RDONLY|unix.O_NONBLOCK, 0); err != nil {
		return nil, fileError(op, err)
	}
	if err := o.inspect(s, local); err != nil {
		return nil, errors.Join(err, s.f.Close())
	}
	o.files = append(o.files, s)
	return s, nil
}

// inspect makes the checks of the image itself on another file.
func (o *others) inspect(s *File, local string) error {
	actual, err := os.Readlink(procPath(s.f))
	switch {
	case err != nil:
		return fileError("open "+s.path, err)
	case !o.opts.Roots.contain(actual):
		return o.opts.Roots.refuse(s.path)
	}
	if err := s.inspect("open " + s.path); err != nil {
		return err
	}
	if isDevice(s.info) {
		return o.refuse(hintOneFile, local, "it is no regular file")
	}
	return s.refuseMounted(o.opts.AllowMounted)
}

// read opens the disk in a file. The content decides, unless the image says that it is raw.
func (o *others) read(
	ctx context.Context, f *File, format string, files diskformat.Opener,
) (diskformat.Disk, error) {
	stored := bytesOf(f.path, f)
	if format == diskformat.Raw {
		return stored, nil
	}
	s, err := readSample(ctx, f)
	if err != nil {
		return nil, err
	}
	switch found := formatOf(s); {
	case found.disk != nil:
		return openNamed(ctx, found, f, files)
	case found != &raw:
		return nil, found.refused("open "+f.path, nil)
	case format != "":
		return nil, invalid("open "+f.path, "is it the right file? "+hintOneFile,
			"the image says that it is of format %q, and its content is a raw image", format)
	}
	return stored, nil
}

// Close closes the files.
func (o *others) Close() (err error) {
	for _, f := range o.files {
		err = errors.Join(err, f.Close())
	}
	if o.folder != nil {
		err = errors.Join(err, o.folder.Close())
	}
	return err
}
