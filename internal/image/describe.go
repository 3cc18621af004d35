package image

import (
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// formatted is a source that knows the format in which its image is stored.
type formatted interface{ storedFormat() *format }

var (
	_ formatted = (*File)(nil)
	_ formatted = (*stream)(nil)
	_ formatted = (*disk)(nil)
)

func (s *File) storedFormat() *format   { return s.reading.format }
func (s *stream) storedFormat() *format { return s.reading.format }
func (d *disk) storedFormat() *format   { return d.reading.format }

// FormatOf is the format of an image that Open has opened, such as raw or gz; empty: not known.
func FormatOf(src transfer.Source) string {
	s, ok := src.(formatted)
	if !ok || s.storedFormat() == nil {
		return ""
	}
	f := s.storedFormat()
	if f.id != "" {
		return string(f.id)
	}
	name := strings.TrimPrefix(strings.TrimPrefix(f.name, "a "), "an ")
	return strings.TrimSuffix(name, " image")
}
