package transfer

import (
	"fmt"
	"strings"
)

// Scheme is one form of address, with the limits of the places that it names. A new kind of place
// is one more Scheme in a program's list.
type Scheme struct {
	Name string
	// Parse parses an address; ok is false if text does not have this form. An error has
	// CodeInvalid and shows no password.
	Parse func(text string) (r Ref, ok bool, err error)
	// Owns reports whether r is of this form.
	Owns func(r Ref) bool
	// Check rejects a spec that this kind of place cannot carry out; nil: it can carry out every
	// spec. Its errors have CodeInvalid.
	Check func(s *Spec) error
}

// Schemes is a list of forms of address, in the order in which Parse tries them.
type Schemes []Scheme

// Parse parses an address as users type it. Relative paths stay relative; see Ref.Abs.
func (l Schemes) Parse(text string) (Ref, error) {
	for i := range l {
		r, ok, err := l[i].Parse(text)
		if ok || err != nil {
			return r, err
		}
	}
	return Ref{}, BadAddress(text, "use ENDPOINT:UUID, a path or a URL")
}

// Of returns the scheme of r; ok is false if none owns r.
func (l Schemes) Of(r Ref) (s Scheme, ok bool) {
	for i := range l {
		if l[i].Owns(r) {
			return l[i], true
		}
	}
	return Scheme{}, false
}

// Check is Spec.Validate followed by the Check of the source's and the target's schemes.
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

// BadAddress returns the error for a text that is not an address. The error shows text, so the
// caller redacts it first.
func BadAddress(text, hint string) error {
	return &Error{Op: "read address", Code: CodeInvalid, Err: fmt.Errorf("%q is not an address", text), Hint: hint}
}

// The forms of address that need no config.
var (
	// Stdio is "-", standard input or output. Only a job in the caller's process can use it.
	Stdio = Scheme{
		Name:  "stdio",
		Parse: func(text string) (Ref, bool, error) { return Ref{Path: Std}, text == Std, nil },
		Owns:  Ref.IsStd,
	}
	// URLs are http://… and https://…. A text with another scheme is an error and not a path,
	// because a path is stored and shown, with any password in it.
	URLs = Scheme{Name: "url", Parse: parseURL, Owns: Ref.IsURL}
	// Files are paths on the host that runs the job. Every non-empty text has this form, so Files
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
			"use http:// or https://; for a file with this name write ./ before it")
	}
	if readURL(r.Path) == nil {
		return Ref{}, false, BadAddress(r.Redacted(),
			"write https://HOST/PATH; escape special characters in a user or password, such as / as %2F")
	}
	return r, true, nil
}
