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
	// Format is how the image is stored, whatever its content looks like; empty: the content
	// decides.
	Format transfer.Format
	// Measure unpacks a compressed file once when it is opened, so that its size is known and a
	// damaged one is found before anything is created. Without it the size is -1 until the end.
	// URLs and standard input are never measured.
	Measure bool
	// MaxSize is the largest size in bytes of a stream, unpacked; beyond it reading fails with
	// CodeInvalid. 0: no limit. It keeps a small file that unpacks to more than any drive holds
	// from being unpacked to its end.
	MaxSize int64
	// MinSize is the least size in bytes of a stream that does not mark its end, such as standard
	// input; one that ends before it is CodeInvalid. 0: none.
	MinSize int64
	// StoredDigest computes the SHA-256 of a compressed image as it is stored, too.
	StoredDigest bool
	// Limit is what a URL takes, bytes; nil: as much as it can.
	Limit *rate.Limiter
	// Retry repeats failed reads of a URL in order; nil: none is repeated. Reads by offset, and
	// Open itself, are the caller's to retry.
	Retry Retry
	// AllowMounted reads a block device or file also while a file system on it is mounted
	// read-write, which is CodeInvalid otherwise.
	AllowMounted bool
	// InOrder reads a URL in order, whatever ranges its server promises.
	InOrder bool

	transport http.RoundTripper  // nil: the default one
	patience  transport.Patience // zero: the default one
}

// Open opens an image: a regular file or block device, an http or https URL, or "-" for standard
// input. Its content decides its format, unless the options do: gzip and Zstandard (of one member
// or frame, or many) make a transfer.Stream, as do standard input and a URL whose server does not
// support ranges; everything else can be read by offset. Content that is known to be no raw image,
// stored as it is or compressed, is refused. If the manifest of a file, PATH.manifest.json,
// describes its bytes, they are the image, whatever they look like.
//
// Errors: CodeNotFound, CodeForbidden (also outside of the roots), CodeInvalid for what cannot be
// an image, is empty or does not unpack, and for URLs the codes of package transfer that fit the
// server's response.
func Open(ctx context.Context, path string, opts Options) (transfer.Source, error) {
	if (transfer.Ref{Path: path}).IsFile() {
		f, err := openSource(path, opts)
		if err != nil {
			return nil, err
		}
		return openStored(ctx, f, opts)
	}
	m, err := openMedium(ctx, path, opts)
	if err != nil {
		return nil, err
	}
	opts.Measure = false // a URL would be fetched twice, and standard input is read once
	r, err := choose(ctx, m, opts.Format)
	if errors.Is(err, transfer.ErrInOrder) && !opts.InOrder {
		opts.InOrder = true
		return reopen(ctx, m, path, opts)
	}
	return openImage(ctx, m, r, opts, err)
}

// reopen opens a URL that cannot be read as it was opened.
func reopen(ctx context.Context, m medium, path string, opts Options) (transfer.Source, error) {
	if err := m.Close(); err != nil {
		return nil, err
	}
	return Open(ctx, path, opts)
}

// openMedium opens a URL or standard input.
func openMedium(ctx context.Context, path string, opts Options) (medium, error) {
	ref := transfer.Ref{Path: path}
	if ref.IsStd() {
		return openStdin(opts)
	}
	return openURL(ctx, ref, opts)
}

// openStored reads the image in a file, which belongs to the source from then on.
func openStored(ctx context.Context, f *File, opts Options) (transfer.Source, error) {
	r, err := chooseForFile(ctx, f, opts)
	f.reading = r
	return openImage(ctx, f, r, opts, err)
}

// openImage makes the source of the image on a medium. The medium belongs to the source from then
// on; with an error, one before it or refusal, it is closed.
func openImage(ctx context.Context, m medium, r reading, opts Options, refusal error) (src transfer.Source, err error) {
	if refusal != nil {
		return nil, errors.Join(refusal, m.Close())
	}
	if random := m.random(); random != nil && r.format.open != nil {
		src, err = r.format.open(random)
	} else {
		src, err = openStream(ctx, m, r, opts)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return src, nil
}

// Check finds what can be wrong with an image file at first glance, without unpacking it. It looks
// anywhere, whatever the roots, so it is for a user's own files. A refusal that the file's manifest
// may overrule is left to Open. Its errors are those of Open.
func Check(path string, format transfer.Format) error {
	f, err := openFile(Roots{string(os.PathSeparator)}, path)
	if err != nil {
		return err
	}
	r, err := choose(context.Background(), f, format)
	if err == nil {
		err = lookInside(context.Background(), f, r)
	}
	if _, none := os.Stat(path + manifestSuffix); none == nil && isInvalid(err) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
