package image

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"

	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transport"
)

// Options says how images are opened.
type Options struct {
	Roots Roots     // the folders that files may be in
	Stdin io.Reader // what "-" reads; nil: nothing
	// Measure unpacks a compressed file once when it is opened, so that its size is known and a damaged one is found
	// before anything is created. Without it the size is -1 until the end. URLs and standard input are never measured.
	Measure bool
	// MaxSize is the largest size in bytes of a stream, unpacked; beyond it reading fails with CodeInvalid. 0: no limit.
	// It keeps a small file that unpacks to more than any drive holds from being unpacked to its end.
	MaxSize int64
	// Limit is what a URL takes, bytes; nil: as much as it can.
	Limit *rate.Limiter

	transport http.RoundTripper  // nil: the default one
	patience  transport.Patience // zero: the default one
}

// Open opens an image: a regular file or block device, an http or https URL, or "-" for standard input. Content decides
// what it is: gzip and Zstandard (of one member or frame, or many) make a transfer.Stream, as do standard input and a URL whose server cannot
// hand out ranges; everything else can be read anywhere. The formats of virtual machines, which are no raw images, are
// refused.
//
// Errors: CodeNotFound, CodeForbidden (also outside of the roots), CodeInvalid for what cannot be an image, is empty or
// does not unpack, and for URLs the codes of package transfer that fit the server's answer.
func Open(ctx context.Context, path string, opts Options) (transfer.Source, error) {
	switch ref := (transfer.Ref{Path: path}); {
	case ref.IsURL():
		return openURL(ctx, ref, opts)
	case ref.IsStd():
		return openStdin(ctx, opts)
	}
	return openLocal(ctx, path, opts)
}

func openLocal(ctx context.Context, path string, opts Options) (transfer.Source, error) {
	f, err := openFile(opts.Roots, path)
	if err != nil {
		return nil, err
	}
	format, err := f.format()
	if err == nil && format.id == transfer.FormatRaw {
		return f, nil
	}
	if err == nil {
		var s *fileStream
		if s, err = openPacked(ctx, f, opts.Measure, opts.MaxSize); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

// Check finds what can be wrong with an image file at first glance, without unpacking it. It looks anywhere, whatever the
// roots, so it is for a user's own files. Its errors are those of Open.
func Check(path string) error {
	f, err := openFile(Roots{string(os.PathSeparator)}, path)
	if err != nil {
		return err
	}
	_, err = f.format()
	return errors.Join(err, f.Close())
}

// format finds the file's format by its first bytes.
func (s *File) format() (*format, error) {
	head := make([]byte, min(headSize, s.size))
	if _, err := s.f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fileError("read "+s.path, err)
	}
	return formatOf("open "+s.path, s.path, head)
}
