package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// madeFile is the file of a library that names the generated images that were made, one a line:
// those that the operator deletes do not come back.
const madeFile = "made"

// generatedImage is a standard drive that the first start makes, in the form of a library that was
// captured from the service: the operator may delete it.
type generatedImage struct {
	medium medium
	file   string // its name in the medium's folder; operators' files have other names
	info   object // the keys of its .info file
	write  func(f *os.File, workspace string) error
}

// generatedImages are all generated images. A name never changes: the drive's UUID depends on it.
func generatedImages() []generatedImage {
	const boots = "Boots, prints that it has no operating system, and halts."
	return []generatedImage{
		{mediumImage, "sandbox-linux-64.img", object{
			{"name", "Sandbox Linux 64bit Preinstalled"},
			{"description", boots + " Stands for a preinstalled Linux."},
			{"install_notes", `Clone it and boot a server from the clone.\nThere is no user to log in as.`},
			{"os", "linux"}, {"bits", "64"}, {"drive_type", "preinstalled"},
			{"use", "dbserver,webserver,email,general"},
			{"free", "true"}, {"favourite", "none"}, {"autoexpanding", "false"}, {"url", "https://www.kernel.org/"},
		}, writeBootableDisk},
		{mediumImage, "sandbox-windows-64.img", object{
			{"name", "Sandbox Windows Server 64bit Preinstalled"},
			{"description", boots + " Stands for a preinstalled Windows, whose licences are paid for."},
			{"install_notes", `Clone it and boot a server from the clone.\nThere is no C:\Program Files.`},
			{"os", "windows"}, {"bits", "64"}, {"drive_type", "preinstalled"}, {"use", "general"},
			{"licenses", "msft_p73_04837 msft_tfa_00009"},
			{"free", "false"}, {"favourite", "none"}, {"autoexpanding", "false"}, {"url", "https://www.microsoft.com/"},
		}, writeBootableDisk},
		{mediumCD, "sandbox-install.iso", object{
			{"name", "Sandbox Linux 64bit Install CD"},
			{"description", boots + " Stands for an installation CD."},
			{"os", "linux"}, {"bits", "64"}, {"drive_type", "installcd"}, {"use", "general"},
			{"free", "true"}, {"favourite", "none"}, {"url", "https://www.kernel.org/"},
		}, writeBootableCD},
		{mediumCD, "sandbox-live.iso", object{
			{"name", "Sandbox Rescue 32bit Live CD"},
			{"description", boots + " Stands for a rescue system, which can be installed, too."},
			{"os", "other"}, {"bits", "32"}, {"drive_type", "installcd,livecd"}, {"use", "general"},
			{"free", "true"}, {"favourite", "none"}, {"url", "https://www.kernel.org/"},
		}, writeBootableCD},
	}
}

// makeImages makes the generated images that no earlier start has made. It leaves a folder that
// cannot be written as it is: it may be a read-only folder of the operator.
func (l *library) makeImages() error {
	path := filepath.Join(l.dir, madeFile)
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made := strings.Fields(string(text))
	before := len(made)
	for _, g := range generatedImages() {
		name := string(g.medium) + "/" + g.file
		if slices.Contains(made, name) {
			continue
		}
		switch err := l.makeImage(g); {
		case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
			continue
		case err != nil:
			return fmt.Errorf("make standard drive %s: %w", name, err)
		}
		made = append(made, name)
	}
	if len(made) == before {
		return nil
	}
	return replaceFile(path, []byte(strings.Join(made, "\n")+"\n"))
}

// makeImage makes one generated image, whose file appears complete, and after its .info file. A
// file that exists stays.
func (l *library) makeImage(g generatedImage) error {
	dir := filepath.Join(l.dir, string(g.medium))
	path, unfinished := filepath.Join(dir, g.file), filepath.Join(dir, temporary+g.file)
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	if err := l.writeImage(g, unfinished); err != nil {
		_ = os.Remove(unfinished)
		return err
	}
	if err := replaceFile(path+infoSuffix, encode(g.info)); err != nil {
		return err
	}
	return os.Rename(unfinished, path)
}

func (l *library) writeImage(g generatedImage, path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	workspace := filepath.Join(l.dir, temporary+"workspace")
	if err := os.RemoveAll(workspace); err != nil { // of an interrupted start
		return err
	}
	defer os.RemoveAll(workspace)
	if err := g.write(f, workspace); err != nil {
		return err
	}
	return f.Truncate(generatedSize)
}
