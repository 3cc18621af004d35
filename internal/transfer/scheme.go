package transfer

import (
	"fmt"
	"strings"
)

// Scheme is one form of address, and the limits of the places that it names. A new kind of place is one
// more Scheme in the list that a program uses.
type Scheme struct {
	Name string
	// Parse reads an address; ok is false if text does not have this form. An error has CodeInvalid and
	// shows no password.
	Parse func(text string) (r Ref, ok bool, err error)
	// Owns reports whether r is of this form.
	Owns func(r Ref) bool
	// Check finds what the kind of place cannot carry out of a spec that names one; nil: it takes all.
	// Its errors have CodeInvalid.
	Check func(s *Spec) error
}

// Schemes is a list of forms of address. The first whose Parse accepts a text reads it.
type Schemes []Scheme

// Parse reads an address as users type it. Relative paths stay relative; Abs settles them.
func (l Schemes) Parse(text string) (Ref, error) {
	for i := range l {
		r, ok, err := l[i].Parse(text)
		if ok || err != nil {
			return r, err
		}
	}
	return Ref{}, BadAddress(text, "use ENDPOINT:UUID, a path or a URL")
}

// Of is the scheme of r; ok is false if there is none.
func (l Schemes) Of(r Ref) (s Scheme, ok bool) {
	for i := range l {
		if l[i].Owns(r) {
			return l[i], true
		}
	}
	return Scheme{}, false
}

// Check is Spec.Validate and, for both ends, the limits of the places that they name.
func (l Schemes) Check(spec *Spec) error {
	if err := spec.Validate(); err != nil {
		return err
	}
	for _, r := range []Ref{spec.Source, spec.Target} {
		if s, ok := l.Of(r); ok && s.Check != nil {
			if err := s.Check(spec); err != nil {
				return err
			}
		}
	}
	return nil
}

// BadAddress is the error of a text that is no address. text is shown, so it holds no password.
func BadAddress(text, hint string) error {
	return &Error{Op: "read address", Code: CodeInvalid, Err: fmt.Errorf("%q is not an address", text), Hint: hint}
}

// The forms of address that need no config.
var (
	// Stdio is "-", standard input or output, which only a job in the caller's own process can use.
	Stdio = Scheme{
		Name:  "stdio",
		Parse: func(text string) (Ref, bool, error) { return Ref{Path: Std}, text == Std, nil },
		Owns:  Ref.IsStd,
	}
	// URLs are http://… and https://…. A text that begins with another scheme is refused, and not taken
	// for a path: as a path it would be kept and shown with the password that it may hold.
	URLs = Scheme{Name: "url", Parse: parseURL, Owns: Ref.IsURL}
	// Files are paths on the host that runs the job. Every text that is not empty has this form, so it
	// is the last of a list.
	Files = Scheme{
		Name: "file",
		Parse: func(text string) (Ref, bool, error) {
			if text == "" {
				return Ref{}, false, BadAddress(text, "an address cannot be empty")
			}
			return Ref{Path: text}, true, nil
		},
		Owns: Ref.IsFile,
	}
)

func parseURL(text string) (Ref, bool, error) {
	scheme := urlScheme.FindString(text)
	if scheme == "" {
		return Ref{}, false, nil
	}
	r := Ref{Path: strings.ToLower(scheme) + text[len(scheme):]}
	if !r.IsURL() {
		return Ref{}, false, BadAddress(r.Redacted(),
			"images come from http:// and https:// alone; for a file of this name write ./ before it")
	}
	if readURL(r.Path) == nil {
		return Ref{}, false, BadAddress(r.Redacted(),
			"write it as https://HOST/PATH; of a user or password, all but letters and digits as %2F and the like")
	}
	return r, true, nil
}
