package image

import (
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// diskEndings are the file name endings of image formats that are not written here, in addition to
// those in the table of formats.
var diskEndings = []string{".qcow", ".qcow2", ".qed", ".vmdk", ".vhd", ".vhdx", ".vdi", ".ova", ".dmg", ".zip", ".tar"}

// FormatOfName is the format for writing an image of that name: the one that the ending of the name
// says, otherwise raw. A format that is not written here is CodeInvalid, because a raw image with
// such a name would be taken for that format.
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

func notWritten(name, format string) error {
	return invalid("create "+name, "download to a name that ends in .img, .gz or .zst, and convert that; "+
		"--format raw writes a raw image of this name",
		"its name says that it is %s, which is not written here", format)
}
