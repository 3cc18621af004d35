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
	// Measure unpacks a compressed file once when it is opened, so that its size is known and a
	// damaged one is found before anything is created. Without it the size is -1 until the end.
	// URLs and standard input are never measured.
	Measure bool
	// MaxSize is the largest size in bytes of a stream, unpacked; beyond it reading fails with
	// CodeInvalid. 0: no limit. It keeps a small file that unpacks to more than any drive holds
	// from being unpacked to its end.
	MaxSize int64
	// Limit is what a URL takes, bytes; nil: as much as it can.
	Limit *rate.Limiter

	transport http.RoundTripper  // nil: the default one
	patience  transport.Patience // zero: the default one
}

// Open opens an image: a regular file or block device, an http or https URL, or "-" for standard
// input. Its content decides its format: gzip and Zstandard (of one member or frame, or many) make
// a transfer.Stream, as do standard input and a URL whose server does not support ranges;
// everything else can be read by offset. The disk formats of virtual machines are refused.
//
// Errors: CodeNotFound, CodeForbidden (also outside of the roots), CodeInvalid for what cannot be
// an image, is empty or does not unpack, and for URLs the codes of package transfer that fit the
// server's response.
func Open(ctx context.Context, path string, opts Options) (transfer.Source, error) {
	m, err := openMedium(ctx, path, opts)
	if err != nil {
		return nil, err
	}
	opts.Measure = opts.Measure && (transfer.Ref{Path: path}).IsFile() // a URL would be fetched twice, and standard input is read once
	src, err := openImage(ctx, m, opts)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return src, nil
}

func openMedium(ctx context.Context, path string, opts Options) (medium, error) {
	switch ref := (transfer.Ref{Path: path}); {
	case ref.IsURL():
		return openURL(ctx, ref, opts)
	case ref.IsStd():
		return openStdin(opts)
	}
	return openFile(opts.Roots, path)
}

// openImage finds the format of what is on a medium, and reads it as such. The medium belongs to
// the source from then on if there is no error.
func openImage(ctx context.Context, m medium, opts Options) (transfer.Source, error) {
	f, err := findFormat(ctx, m)
	if err != nil {
		return nil, err
	}
	if r := m.random(); r != nil && f.open != nil {
		return f.open(r)
	}
	return openStream(ctx, m, f, opts)
}

func findFormat(ctx context.Context, m medium) (*format, error) {
	head, err := m.head(ctx, headSize)
	if err != nil {
		return nil, err
	}
	return formatOf("open "+m.name(), m.fileName(), head)
}

// Check finds what can be wrong with an image file at first glance, without unpacking it. It looks
// anywhere, whatever the roots, so it is for a user's own files. Its errors are those of Open.
func Check(path string) error {
	f, err := openFile(Roots{string(os.PathSeparator)}, path)
	if err != nil {
		return err
	}
	_, err = findFormat(context.Background(), f)
	return errors.Join(err, f.Close())
}
