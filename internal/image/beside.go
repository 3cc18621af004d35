package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/transferd/transferd/internal/transfer"
)

// chooseStored is choose for a file. Where its content is not plainly a raw image, a manifest beside
// it may tell that it is one all the same, as the backup of a drive on which a gzip stream or a
// qcow2 image was stored. The manifest decides if it is that of the bytes in the file, or of what
// they unpack to. To know that, all of them are read; so it is done only where the manifest could
// change something, and its size is right. Else the copy shows whether it is of this image.
func chooseStored(ctx context.Context, f *File, opts Options) (reading, error) {
	r, refusal := choose(ctx, f, opts.Format)
	if opts.Format != "" || refusal != nil && !isInvalid(refusal) {
		return r, refusal
	}
	m, err := manifestBeside(opts.Roots, f.path)
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
		if refusal = lookInside(ctx, f, r); refusal != nil {
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
	m.Chunks = nil // they take memory, and the root will do
	r.beside = m
	return r, nil
}

func isInvalid(err error) bool { return transfer.CodeOf(err) == transfer.CodeInvalid }

// ignoring is the reading without its manifest: the note on that goes into the refusal or, if there
// is none, to the reading.
func (r reading) ignoring(refusal error, note string) (reading, error) {
	var e *transfer.Error
	if !errors.As(refusal, &e) {
		r.notes = append(r.notes, note)
		return r, refusal
	}
	return r, &transfer.Error{Op: e.Op, Code: e.Code, Hint: e.Hint, Err: fmt.Errorf("%w; %s", e.Err, note)}
}

// lookInside checks what is in a file that is read by unpacking it.
func lookInside(ctx context.Context, f *File, r reading) error {
	if r.format == &raw {
		return nil
	}
	image, err := decodeMedium(ctx, f, r, Options{})
	if err != nil {
		return err
	}
	return image.Close()
}

// manifestBeside is the manifest beside an image; nil if there is none.
func manifestBeside(roots Roots, path string) (*transfer.Manifest, error) {
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
