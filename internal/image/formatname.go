package image

import (
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// diskEndings are endings of file names of formats that are not written here, in addition to those
// in the table of formats.
var diskEndings = []string{".qcow", ".qcow2", ".qed", ".vmdk", ".vhd", ".vhdx", ".vdi", ".ova", ".dmg", ".zip", ".tar"}

// FormatOfName is the format for a new image of that name, by the ending of the name; without a
// known ending, it is raw. The ending of a format that is not written here is CodeInvalid, because
// programs would take a raw image of that name for that format.
func FormatOfName(name string) (transfer.Format, error) {
	ending := strings.ToLower(path.Ext(name))
	for i := range formats {
		if f := &formats[i]; slices.Contains(f.endings, ending) {
			if f.encode == nil {
				return "", notWritten(name, f.name)
			}
			return f.id, nil
		}
	}
	if slices.Contains(diskEndings, ending) {
		return "", notWritten(name, "an image of format "+ending[1:])
	}
	return transfer.FormatRaw, nil
}

// WithoutEndings is a file name without the endings of formats: disk for disk.qcow2.xz.
func WithoutEndings(name string) string {
	for {
		ending := path.Ext(name)
		lower := strings.ToLower(ending)
		known := slices.Contains(diskEndings, lower) || slices.Contains(imageEndings, lower) ||
			slices.ContainsFunc(formats, func(f format) bool { return slices.Contains(f.endings, lower) })
		if !known {
			return name
		}
		name = strings.TrimSuffix(name, ending)
	}
}

func notWritten(name, format string) error {
	return invalid("create "+name, "download to a name that ends in .img, .gz or .zst, and convert that; "+
		"--format raw writes a raw image of this name",
		"its name says that it is %s, which is not written here", format)
}
