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

// Options say how to open an image.
type Options struct {
	Roots Roots     // the folders that files may be in
	Stdin io.Reader // the source "-"; nil: none
	// Format is the format of the stored image, whatever its content looks like; empty: the content
	// decides.
	Format transfer.Format
	// Measure makes Open unpack a compressed file once, to learn its size, and to find damage
	// before anything is created. Without it the size is -1 until the end. Of a virtual disk Open
	// reads the tables. URLs and standard input are never measured.
	Measure bool
	// MaxSize is the largest unpacked size of a stream, in bytes; a read beyond it is CodeInvalid.
	// 0: no limit. With it, a small file that unpacks to more than any drive holds is not unpacked
	// to its end.
	MaxSize int64
	// MinSize is the smallest size, in bytes, of a stream without a mark at its end, such as
	// standard input; a shorter stream is CodeInvalid. 0: no limit.
	MinSize int64
	// StoredDigest also computes the SHA-256 of the stored form of a compressed image.
	StoredDigest bool
	// Credentials are the headers for the servers of URLs.
	Credentials []Credential
	// Limit is the rate limit for a URL, in bytes a second; nil: none.
	Limit *rate.Limiter
	// Retry repeats failed reads of a URL in order; nil: no read is repeated. The caller retries
	// reads by offset, and Open itself.
	Retry Retry
	// Follow opens the files that an image names, such as the backing file of a qcow2 image, if they
	// are in the image's own folder and below the roots. Without it such an image is CodeInvalid.
	Follow bool
	// Spool is the folder, below the roots, for the copy of a packed image that is read by offset;
	// empty: DefaultSpool.
	Spool string
	// DefaultSpool is the folder for such copies if the job names none. It may be anywhere, and is
	// made if it is missing. Empty: such images are CodeInvalid without Spool.
	DefaultSpool string
	// AllowMounted allows a block device or file with a file system on it that is mounted
	// read-write. Otherwise such an image is CodeInvalid.
	AllowMounted bool
	// InOrder reads a URL in order, even if its server supports ranges.
	InOrder bool

	transport http.RoundTripper  // nil: the default one
	timeouts  transport.Timeouts // zero: the default one
}

// Open opens an image: a regular file or block device, an http or https URL, or "-" for standard
// input. Unless the options name the format, the content decides. Images in gzip and Zstandard (of
// one or many members or frames), on standard input, and behind a URL whose server does not support
// ranges, are a transfer.Stream. All others can be read by offset: raw images, and virtual disks
// such as qcow2, whose format tells where data is. Open refuses content, compressed or on a virtual
// disk or neither, that is known to be no raw image. If the manifest of a file, PATH.manifest.json,
// describes its bytes, they are the image, whatever they look like.
//
// Errors: CodeNotFound; CodeForbidden (also outside of the roots); CodeInvalid if the content
// cannot be an image, is empty or does not unpack; CodeMismatch if its size is not that of the
// file's manifest; for URLs, the code for the server's response.
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
	opts.Measure = false // it would fetch a URL twice, and standard input can be read once only
	r, err := detect(ctx, m, opts.Format)
	src, err := openImage(ctx, m, r, opts, err)
	if errors.Is(err, transfer.ErrInOrder) && !opts.InOrder {
		opts.InOrder = true
		return Open(ctx, path, opts)
	}
	return src, err
}

// openMedium opens a URL or standard input.
func openMedium(ctx context.Context, path string, opts Options) (medium, error) {
	ref := transfer.Ref{Path: path}
	if ref.IsStd() {
		return openStdin(opts)
	}
	return openURL(ctx, ref, opts)
}

// openStored makes the source of the image in a file. The source owns the file.
func openStored(ctx context.Context, f *File, opts Options) (transfer.Source, error) {
	r, err := detectForFile(ctx, f, opts)
	f.reading = r
	src, err := openImage(ctx, f, r, opts, err)
	if err != nil {
		return nil, withNotes(err, r.notes)
	}
	if err := r.checkSize(f.path, src.Size()); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return src, nil
}

// openImage makes the source of the image on a medium. The source owns the medium. If refusal is
// set, or after an error, openImage closes the medium.
func openImage(ctx context.Context, m medium, r reading, opts Options, refusal error) (src transfer.Source, err error) {
	if refusal != nil {
		return nil, errors.Join(refusal, m.Close())
	}
	random := m.random()
	switch byOffset := random != nil; {
	case byOffset && r.format == &raw:
		src = random
	case byOffset && r.format.disk != nil:
		src, err = openDisk(ctx, m, r, opts)
	case byOffset && r.format.archive:
		src, err = openMember(ctx, m, r, opts)
	default:
		src, err = openInOrder(ctx, m, r, opts)
	}
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return src, nil
}

// Check finds errors in an image file that show without unpacking it. It takes all roots, so it is
// for a user's own files. It leaves a refusal that the file's manifest may overrule to Open. Its
// errors are those of Open.
func Check(path string, opts Options) error {
	opts.Roots = Roots{string(os.PathSeparator)}
	f, err := openFile(opts.Roots, path)
	if err != nil {
		return err
	}
	r, err := detect(context.Background(), f, opts.Format)
	if err == nil {
		_, err = checkInside(context.Background(), f, r, opts)
	}
	if _, none := os.Stat(path + manifestSuffix); none == nil && isInvalid(err) {
		err = nil
	}
	return errors.Join(err, f.Close())
}
