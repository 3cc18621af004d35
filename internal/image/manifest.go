package image

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// detectForFile is detect for a file. Content that looks like another format may still be a raw
// image: the backup of a drive with a gzip stream or a qcow2 image on it. The file's manifest,
// PATH.manifest.json, decides if it describes the bytes in the file or the bytes that they unpack
// to. That check reads the whole file, so detectForFile makes it only if the manifest has the right
// size and could change the result. Otherwise the size, and then the copy, show whether the
// manifest describes this image; if it does not, the job fails.
func detectForFile(ctx context.Context, f *File, opts Options) (reading, error) {
	r, refusal := detect(ctx, f, opts.Format)
	if opts.Format != "" || refusal != nil && !isInvalid(refusal) {
		return r, refusal
	}
	m, err := manifestOf(opts.Roots, f.path)
	switch {
	case err != nil:
		r.notes = append(r.notes, fmt.Sprintf("%s is ignored: %v", f.path+manifestSuffix, err))
		return r, refusal
	case m == nil:
		return r, refusal
	}
	var candidates []*format
	if m.Size == f.size && r.format != &raw {
		candidates = append(candidates, &raw)
	}
	if refusal == nil {
		var inside *format
		if inside, refusal = checkInside(ctx, f, r, opts); inside != &raw {
			candidates = append(candidates, r.format)
		}
	}
	for _, c := range candidates {
		if equal, err := f.equals(ctx, c, m, opts); equal || err != nil {
			return reading{format: c, asIs: true}, err
		}
	}
	if refusal != nil {
		r.notes = append(r.notes, ignoredManifest(f.path))
		return r, refusal
	}
	m.Chunks = nil // to free memory: the root suffices
	r.manifest = m
	return r, nil
}

func isInvalid(err error) bool { return transfer.CodeOf(err) == transfer.CodeInvalid }

// withNotes adds notes about a reading to the refusal of the image.
func withNotes(refusal error, notes []string) error {
	var e *transfer.Error
	if len(notes) == 0 || !isInvalid(refusal) || !errors.As(refusal, &e) {
		return refusal
	}
	return &transfer.Error{
		Op: e.Op, Code: e.Code, Hint: e.Hint, Offset: e.Offset,
		Err: fmt.Errorf("%w; %s", e.Err, strings.Join(notes, "; ")),
	}
}

// checkInside is the format of what a compressed file, an archive or a virtual disk holds, as far as
// that shows without unpacking it; nil with the refusal of another one.
func checkInside(ctx context.Context, f *File, r reading, opts Options) (*format, error) {
	switch {
	case r.format == &raw:
		return &raw, nil
	case r.format.disk != nil:
		opts.Measure, opts.StoredDigest = false, false
		d, err := openDisk(ctx, f, r, opts)
		if err != nil {
			return nil, err
		}
		return &raw, d.others.Close()
	case r.format.archive:
		p, err := findPart(ctx, f)
		if err != nil {
			return nil, err
		}
		return p.inside, nil
	}
	image, err := decodeMedium(ctx, f, r, Options{})
	if err != nil {
		return nil, err
	}
	return image.inside, image.Close()
}

// manifestOf reads the manifest of the image at path; nil if there is none.
func manifestOf(roots Roots, path string) (*transfer.Manifest, error) {
	f, err := openFile(roots, path+manifestSuffix)
	if transfer.CodeOf(err) == transfer.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := f.manifest()
	return m, errors.Join(err, f.Close())
}

// equals reports whether the file holds, in this format, the image that a manifest describes.
func (s *File) equals(ctx context.Context, f *format, m *transfer.Manifest, opts Options) (equal bool, err error) {
	read := s.reader()
	if f.disk != nil {
		opts.Measure, opts.StoredDigest = false, false
		d, err := openDisk(ctx, s, reading{format: f, asIs: true}, opts)
		if err != nil {
			if isInvalid(err) {
				err = nil // it is not readable in this format
			}
			return false, err
		}
		defer func() { err = errors.Join(err, d.others.Close()) }()
		read, f = d.reader(), &raw
	}
	err = verifyStored(ctx, "compare with its manifest "+s.path, read, f, m)
	if transfer.CodeOf(err) == transfer.CodeMismatch {
		return false, nil
	}
	return err == nil, err
}
