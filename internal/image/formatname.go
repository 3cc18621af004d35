package image

import (
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// diskEndings are endings of file names of formats that are not written here, in addition to those
// in the table of formats.
var diskEndings = []string{".qcow", ".qed", ".vmdk", ".vhd", ".vhdx", ".vdi", ".dmg", ".zip"}

// FormatOfName is the format for a new image of that name: the requested one or, if none is
// requested, that of the name's ending; without a known ending it is raw. Programs take a file for
// what its name says, so CodeInvalid is an ending that contradicts the requested format, is that of
// a format that is not written here, or says that another format is in a compressed file.
func FormatOfName(name string, requested transfer.Format) (transfer.Format, error) {
	ending := strings.ToLower(path.Ext(name))
	if slices.Contains(diskEndings, ending) {
		return "", notWritten(name, "an image of format "+ending[1:])
	}
	f := formatOfEnding(ending)
	switch {
	case f == nil && requested == "":
		return transfer.FormatRaw, nil
	case f == nil:
		return requested, nil
	case !f.writable():
		return "", notWritten(name, f.name)
	case requested != "" && requested != f.id:
		return "", contradicts(name, f, requested)
	case f != &raw && f.disk == nil:
		inside := strings.TrimSuffix(name, path.Ext(name))
		if in, err := FormatOfName(inside, transfer.FormatRaw); err != nil || in != transfer.FormatRaw {
			return "", notWritten(name, f.name+" with another format in it")
		}
	}
	return f.id, nil
}

// formatOfEnding is the format whose files have names with this ending; nil: there is none.
func formatOfEnding(ending string) *format {
	i := slices.IndexFunc(formats, func(f format) bool { return slices.Contains(f.endings, ending) })
	if i >= 0 {
		return &formats[i]
	}
	return formatNamed(transfer.Format(strings.TrimPrefix(ending, ".")))
}

// WithoutEndings is a file name without the endings of formats: disk for disk.qcow2.xz.
func WithoutEndings(name string) string {
	for {
		ending := path.Ext(name)
		lower := strings.ToLower(ending)
		known := slices.Contains(diskEndings, lower) || slices.Contains(imageEndings, lower) ||
			formatOfEnding(lower) != nil
		if !known {
			return name
		}
		name = strings.TrimSuffix(name, ending)
	}
}

func notWritten(name, format string) error {
	return invalid("create "+name, "download to a name that ends in .img, .gz, .zst or .qcow2, and convert that",
		"its name says that it is %s, which is not written here", format)
}

func contradicts(name string, f *format, requested transfer.Format) error {
	return invalid("create "+name, "leave --format out, or give a name that ends in ."+string(requested),
		"its name says that it is %s, and --format says %s", f.name, requested)
}
