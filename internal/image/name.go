package image

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// diskEndings is the endings of names of disk images that are written by nothing here, beside those in
// the table of formats.
var diskEndings = []string{".qcow", ".qcow2", ".qed", ".vmdk", ".vhd", ".vhdx", ".vdi", ".ova", ".dmg", ".zip", ".tar"}

// FormatOfName is the format in which an image of that name is to be written: the one that the ending
// of its name says, else raw. One that is not written here is CodeInvalid: a raw image of such a name
// would pass for what it is not.
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
	return invalid("create "+name, "download to a name that ends in .img, .gz or .zst, and convert that; --format raw writes a "+
		"raw image of this name", "%s", fmt.Sprintf("its name says that it is %s, which is not written here", format))
}
