package api

import (
	"strings"
	"unicode"
)

// maxName is the longest name of a drive, in bytes.
const maxName = 255

// AllReaders is the reader that stands for all accounts.
const AllReaders = "ffffffff-ffff-ffff-ffff-ffffffffffff"

// Check refuses a name, tags and readers that no drive can have: CodeInvalid. An empty name passes,
// because a job finds one itself.
func (o CreateOptions) Check() error {
	blank := o.Name != "" && strings.TrimSpace(o.Name) == ""
	if blank || len(o.Name) > maxName || strings.ContainsFunc(o.Name, notPrintable) {
		return invalid("use at most 255 bytes of printable text on one line", "%q cannot be a drive's name", o.Name)
	}
	for _, t := range o.Tags {
		if t == "" || strings.ContainsFunc(t, unicode.IsSpace) || strings.ContainsFunc(t, notPrintable) {
			return invalid("give --tag once for each tag, without blanks", "%q cannot be a tag", t)
		}
	}
	for _, r := range o.Readers {
		if !ValidUUID(r) {
			return invalid("give account UUIDs, separated by commas, or all", "%q is not a UUID", r)
		}
	}
	return nil
}

// notPrintable reports whether a name must not have r: control characters, such as line breaks,
// and characters that change what a terminal shows around them. Joiners are part of words.
func notPrintable(r rune) bool {
	const zeroWidthNonJoiner, zeroWidthJoiner = '\u200c', '\u200d'
	return !unicode.IsGraphic(r) && r != zeroWidthNonJoiner && r != zeroWidthJoiner
}

// DriveName makes a name for a drive from any text, such as that of a file: what a name must not
// have becomes an underscore. The name is empty if nothing else is left.
func DriveName(text string) string {
	name := strings.Map(func(r rune) rune {
		if notPrintable(r) {
			return '_'
		}
		return r
	}, text)
	return strings.TrimSpace(name)
}

// ParseReaders reads what users write as the readers of a drive: UUIDs in either case, and all for
// every account. CreateOptions.Check refuses the rest.
func ParseReaders(texts []string) []string {
	var readers []string
	for _, text := range texts {
		reader := strings.ToLower(strings.TrimSpace(text))
		if reader == "all" {
			reader = AllReaders
		}
		readers = append(readers, reader)
	}
	return readers
}
