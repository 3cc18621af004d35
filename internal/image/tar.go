package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

const (
	// maxMembers is how many files an archive may have. One with more is no archive of a disk image,
	// and behind a URL each file takes a request.
	maxMembers = 1000
	// maxNamed is how many images of an archive an error names.
	maxNamed = 10
)

// Endings of the names of files in an archive. All else that is not a text may be an image.
var (
	// otherEndings are those of files that accompany a disk: the descriptor of an OVA, its manifest
	// and certificate (OVF specification, DSP0243, 5.1), the settings of its firmware, documents.
	otherEndings = []string{".ovf", ".cert", ".nvram", ".pdf"}
	// imageEndings are those of images, in addition to diskEndings.
	imageEndings = []string{".img", ".raw", ".iso", ".bin", ".dd"}
)

// archive goes through the files of a tar archive. After an error it is at its end.
type archive struct {
	tar     *tar.Reader
	members int                      // so far
	digests map[string]*listedDigest // by the manifests so far, by the names of files
}

// member is a file in a tar archive that may be an image.
type member struct {
	name   string
	size   int64  // in bytes, with its holes
	head   []byte // the first bytes, at most sampleSize
	off    int64  // of the first byte in the archive; -1: unknown
	sparse bool   // its holes are not in the archive
}

// countingReader knows how much of an archive has been read.
type countingReader interface {
	io.Reader
	offset() int64
}

// next is the next file that may be an image; io.EOF: there is none. Until the next call, a.tar
// reads what follows the head.
func (a *archive) next(in io.Reader) (*member, error) {
	for {
		h, err := a.tar.Next()
		if err != nil {
			return nil, tarError(err)
		}
		if a.members++; a.members > maxMembers {
			return nil, transfer.Errorf(transfer.CodeInvalid, hintMember,
				"the tar archive has more than %d files, so it is not the archive of one disk image", maxMembers)
		}
		if h.Size == 0 || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeGNUSparse {
			continue
		}
		if strings.HasSuffix(strings.ToLower(h.Name), digestsEnding) {
			if err := a.addDigests(h.Name, h.Size); err != nil {
				return nil, tarError(err)
			}
			continue
		}
		m := &member{name: h.Name, size: h.Size, off: -1, sparse: isSparse(h)}
		if c, ok := in.(countingReader); ok {
			m.off = c.offset()
		}
		m.head = make([]byte, min(h.Size, sampleSize))
		if _, err := io.ReadFull(a.tar, m.head); err != nil {
			return nil, tarError(err)
		}
		if m.mayBeImage() {
			return m, nil
		}
	}
}

const hintMember = "unpack it and give the image that was in it: tar -xf IN"

// tarError names the errors of the library. It returns other errors as they are.
func tarError(err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return transfer.Errorf(transfer.CodeInvalid, "get the archive again", "the tar archive is damaged: %w", err)
	}
	return err
}

// isSparse reports whether the holes of a file are not in the archive (GNU tar, "Storing Sparse
// Files").
func isSparse(h *tar.Header) bool {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

// mayBeImage tells an image from the files that accompany one, by its name and its first bytes.
func (m *member) mayBeImage() bool {
	base := strings.ToLower(path.Base(m.name))
	ending := path.Ext(base)
	switch {
	case slices.Contains(otherEndings, ending), strings.HasPrefix(base, "._"), base == ".ds_store":
		return false // the last two are of macOS
	case slices.Contains(imageEndings, ending), slices.Contains(diskEndings, ending):
		return true
	}
	return !isText(m.head)
}

// format is the archive as the packing of this file.
func (m *member) format() *format {
	return &format{name: "a tar archive", archive: true, convert: "tar -xOf IN " + quoteForShell(m.name) + " >OUT"}
}

// errNoImage is the error of an archive without an image.
func errNoImage() error {
	return transfer.Errorf(transfer.CodeInvalid, "tar -tf IN shows what is in it; give an image",
		"this is a tar archive without a disk image in it")
}

// errSeveral is the error of an archive with several images.
func errSeveral(names []string) error {
	more := ""
	if len(names) > maxNamed {
		names, more = names[:maxNamed], " and more"
	}
	var list []string
	for _, n := range names {
		list = append(list, fmt.Sprintf("%q", n))
	}
	return transfer.Errorf(transfer.CodeInvalid, "unpack them and give the one to copy: tar -xf IN",
		"this is a tar archive with several disk images in it: %s%s", strings.Join(list, ", "), more)
}

// quoteForShell makes one argument of a POSIX shell of text.
func quoteForShell(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// openMember opens the image in an archive on a medium with offsets: where it is stored, or in order
// if its holes are not in the archive.
func openMember(ctx context.Context, m medium, r reading, opts Options) (transfer.Source, error) {
	p, err := findPart(ctx, m)
	if err != nil {
		return nil, err
	}
	if p.bytes == nil {
		return openInOrder(ctx, m, r, opts)
	}
	switch {
	case p.digest != nil && opts.Measure:
		if err := p.checkDigest(ctx, p.digest); err != nil {
			return nil, err
		}
	case p.digest != nil:
		p.notes = append(p.notes, p.digest.unchecked(p.label))
	}
	if opts.StoredDigest {
		if p.storedSum, err = sumOf(ctx, m); err != nil {
			return nil, err
		}
	}
	return openPart(ctx, p, r, opts)
}

// findPart is the image in an archive on a medium with offsets, as a part of it, with an acceptable
// content; without bytes if it is not stored in one piece.
func findPart(ctx context.Context, m medium) (*part, error) {
	image, digest, err := findMember(ctx, m.random())
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = transfer.Errorf(transfer.CodeInvalid, "get the archive again", "the tar archive is truncated")
	}
	if err != nil {
		return nil, withOperation("open "+m.name(), err)
	}
	p := &part{medium: m, outer: image.format(), inside: &raw, label: image.name, digest: digest}
	if image.sparse {
		return p, nil
	}
	p.bytes = &window{RandomAccess: m.random(), off: image.off, size: image.size}
	s, err := readSample(ctx, p)
	if err != nil {
		return nil, err
	}
	p.inside, err = p.metadata().acceptPacked("open "+m.name(), p.outer, s)
	return p, err
}

// decodeTar reads the one image in an archive in order.
func decodeTar(in *input) (decoder, error) { return decodeTarFrom(in) }

func decodeTarFrom(in io.Reader) (decoder, error) {
	d := &tarDecoder{in: in, archive: archive{tar: tar.NewReader(in)}}
	var err error
	d.image, err = d.archive.next(in)
	if errors.Is(err, io.EOF) {
		err = errNoImage()
	}
	if err != nil {
		return decoder{}, err
	}
	d.body = io.MultiReader(bytes.NewReader(d.image.head), d.archive.tar)
	if d.digest = d.archive.digestOf(d.image); d.digest != nil {
		d.body = io.TeeReader(d.body, d.digest.sum)
	}
	return decoder{Reader: d, release: func() {}, member: d.image}, nil
}

// tarDecoder reads an image in an archive and, at its end, the rest of the archive, which has no
// other image.
type tarDecoder struct {
	in      io.Reader
	archive archive
	image   *member
	body    io.Reader
	digest  *listedDigest // of the image; nil: unknown before the image
}

// Read implements io.Reader.
func (d *tarDecoder) Read(p []byte) (int, error) {
	n, err := d.body.Read(p)
	if errors.Is(err, io.EOF) {
		err = d.finish()
	}
	return n, tarError(err)
}

func (d *tarDecoder) finish() error {
	if d.digest != nil {
		if err := d.digest.check(d.image.name); err != nil {
			return err
		}
	}
	names := []string{d.image.name}
	for len(names) <= maxNamed {
		other, err := d.archive.next(d.in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		names = append(names, other.name)
	}
	if len(names) > 1 {
		return errSeveral(names)
	}
	if _, err := io.Copy(io.Discard, d.in); err != nil { // a decoder below checks its checksum at its end
		return err
	}
	return io.EOF
}

var _ io.Reader = (*tarDecoder)(nil)

// findMember finds the one image in an archive on a medium with offsets, and its listed digest.
func findMember(ctx context.Context, m transfer.RandomAccess) (*member, *listedDigest, error) {
	in := &seeker{ctx: ctx, file: m}
	a := archive{tar: tar.NewReader(in)}
	var found []*member
	var names []string
	for len(names) <= maxNamed {
		image, err := a.next(in)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		found, names = append(found, image), append(names, image.name)
	}
	switch len(found) {
	case 0:
		return nil, nil, errNoImage()
	case 1:
		return found[0], a.digestOf(found[0]), found[0].checkEnd(m.Size())
	}
	return nil, nil, errSeveral(names)
}

// checkEnd refuses an image that ends behind the end of its archive, which has size bytes.
func (m *member) checkEnd(size int64) error {
	if m.off < 0 || m.sparse || m.size <= size-m.off {
		return nil
	}
	return io.ErrUnexpectedEOF
}

// seeker reads a medium with offsets for the tar library, which skips what it does not read.
type seeker struct {
	ctx  context.Context
	file transfer.RandomAccess
	off  int64
}

var (
	_ countingReader = (*seeker)(nil)
	_ io.Seeker      = (*seeker)(nil)
)

func (s *seeker) offset() int64 { return s.off }

// Read implements io.Reader.
func (s *seeker) Read(p []byte) (int, error) {
	n := min(int64(len(p)), s.file.Size()-s.off)
	if n <= 0 {
		return 0, io.EOF
	}
	if err := s.file.ReadChunk(s.ctx, transfer.Chunk{Off: s.off, Len: int(n)}, p[:n]); err != nil {
		return 0, err
	}
	s.off += n
	return int(n), nil
}

// Seek implements io.Seeker.
func (s *seeker) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += s.off
	case io.SeekEnd:
		off += s.file.Size()
	}
	if off < 0 {
		return 0, errors.New("seek before the beginning")
	}
	s.off = off
	return off, nil
}
