package worker

import (
	"context"
	"fmt"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// fetchSum fetches the SHA-256 that the source must have, if it is in a list. That is before
// anything is created, and again in each attempt.
func (a *attempt) fetchSum(ctx context.Context) error {
	if a.spec().SHA256URL == "" {
		return nil
	}
	return control(ctx, a.source, func(ctx context.Context) (err error) {
		a.published, err = a.opener.PublishedSum(ctx, a.session)
		return err
	})
}

// What may have the SHA-256 that a job expects.
const (
	ofImage = "image"
	ofFile  = "file"
)

// checkDigest compares the SHA-256 that the user gave, or a list has, with that of the image. That
// of the file, compressed or in the format of a virtual disk, is accepted too: it is the one that
// most publishers sign, and the file determines the image. checkDigest returns what has it.
func (a *attempt) checkDigest(m *transfer.Manifest) (of string, warnings []string, err error) {
	op, want, stored := "check --sha256", a.spec().SHA256, ""
	if a.published.SHA256 != "" {
		op, want = "check --sha256-url", a.published.SHA256
	}
	if a.ends.stored != nil {
		stored = a.ends.stored.StoredSHA256()
	}
	switch {
	case want == "":
		return "", nil, nil
	case strings.EqualFold(want, m.Image):
		return ofImage, a.notesOfSum(ofImage, m), nil
	case strings.EqualFold(want, stored):
		return ofFile, a.notesOfSum(ofFile, m), nil
	}
	found := "the image has SHA-256 " + m.Image
	if stored != "" {
		found += fmt.Sprintf(" (and the compressed file or virtual disk %s)", stored)
	}
	hint := "check that the source is the intended image, and that --sha256 is right"
	if a.published.Origin != "" {
		want += " as in " + a.published.Origin
		hint = "check that the source is the image that the list describes: it may be older or newer, or damaged"
	}
	return "", nil, &transfer.Error{
		Op: op, Code: transfer.CodeMismatch, Hint: hint,
		Err: fmt.Errorf("%s, not %s: %w", found, want, transfer.ErrWrongImage),
	}
}

// notesOfSum says what the expected SHA-256 is that of, where that is not what the user gave it as.
func (a *attempt) notesOfSum(of string, m *transfer.Manifest) []string {
	switch {
	case a.published.Origin != "" && of == ofImage:
		return []string{a.published.Origin + " has the SHA-256 of the image"}
	case a.published.Origin != "":
		return []string{a.published.Origin + " has the SHA-256 of the file as published; the image in it has SHA-256 " +
			m.Image}
	case of == ofFile:
		return []string{
			"--sha256 is that of the compressed file or virtual disk; the image in it has SHA-256 " + m.Image,
		}
	}
	return nil
}
