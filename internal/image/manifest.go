package image

import (
	"context"
	"errors"
	"fmt"

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
		return r.ignoring(refusal, fmt.Sprintf("%s is ignored: %v", f.path+manifestSuffix, err))
	case m == nil:
		return r, refusal
	}
	var candidates []*format
	if m.Size == f.size && r.format != &raw {
		candidates = append(candidates, &raw)
	}
	if refusal == nil {
		if refusal = checkInside(ctx, f, r); refusal != nil {
			candidates = append(candidates, r.format)
		}
	}
	for _, c := range candidates {
		if equal, err := f.equals(ctx, c, m); equal || err != nil {
			return reading{format: c, asIs: true}, err
		}
	}
	if refusal != nil {
		return r.ignoring(refusal, ignoredManifest(f.path))
	}
	m.Chunks = nil // to free memory: the root suffices
	r.manifest = m
	return r, nil
}

func isInvalid(err error) bool { return transfer.CodeOf(err) == transfer.CodeInvalid }

// ignoring is the reading without its manifest. It adds the note that says so to the refusal or, if
// there is none, to the reading.
func (r reading) ignoring(refusal error, note string) (reading, error) {
	var e *transfer.Error
	if !errors.As(refusal, &e) {
		r.notes = append(r.notes, note)
		return r, refusal
	}
	return r, &transfer.Error{Op: e.Op, Code: e.Code, Hint: e.Hint, Err: fmt.Errorf("%w; %s", e.Err, note)}
}

// checkInside checks the content of a compressed file. It returns nil for a raw image.
func checkInside(ctx context.Context, f *File, r reading) error {
	if r.format == &raw {
		return nil
	}
	image, err := decodeMedium(ctx, f, r, Options{})
	if err != nil {
		return err
	}
	return image.Close()
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
func (s *File) equals(ctx context.Context, f *format, m *transfer.Manifest) (bool, error) {
	err := verifyStored(ctx, "compare with its manifest "+s.path, s.reader(), f, m)
	if transfer.CodeOf(err) == transfer.CodeMismatch {
		return false, nil
	}
	return err == nil, err
}
