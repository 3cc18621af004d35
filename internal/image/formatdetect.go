package image

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// reading says how to read the content of a medium.
type reading struct {
	format *format
	asIs   bool // the content is the image, even if it looks like another format
	// manifest is the file's manifest, without its chunks; nil: none.
	manifest *transfer.Manifest
	notes    []string // warnings to users about the choice
}

// warnings are the warnings about a file after its image has been read; m is the manifest of that
// image.
func (r *reading) warnings(path string, m *transfer.Manifest) []string {
	own, notes := r.manifest, slices.Clone(r.notes)
	if own != nil && own.ChunkSize != m.ChunkSize {
		notes = append(notes, fmt.Sprintf("of %s only the size was compared, because the job has other chunks; "+
			"--chunk-size %dk compares its digests", path+manifestSuffix, own.ChunkSize>>10))
	}
	return notes
}

func ignoredManifest(path string) string {
	return path + manifestSuffix + " is ignored: it describes another image"
}

// checkImage implements transfer.Described for the image of the file at path.
func (r *reading) checkImage(path string, m *transfer.Manifest) error {
	own := r.manifest
	switch {
	case own == nil:
		return nil
	case own.Size != m.Size:
		return r.errSize(path, m.Size)
	case own.ChunkSize == m.ChunkSize && own.ChunksRoot != m.ChunksRoot:
		return errOtherImage(path, "the digest of the image (chunks_root) is %s, and the manifest has %s",
			m.ChunksRoot, own.ChunksRoot)
	}
	return nil
}

// checkSize fails if the manifest of the file at path has another size than its image; -1: the
// image's is not known.
func (r *reading) checkSize(path string, size int64) error {
	if r.manifest == nil || size < 0 || size == r.manifest.Size {
		return nil
	}
	return r.errSize(path, size)
}

func (r *reading) errSize(path string, size int64) error {
	return errOtherImage(path,
		"the image has %s, and the manifest has %d", transfer.Count(size, "byte"), r.manifest.Size)
}

// errOtherImage is the error of an image that differs from its manifest. Times do not count: a copy
// of the two files may have any.
func errOtherImage(path, format string, args ...any) error {
	return &transfer.Error{
		Op: "compare " + path + " with " + path + manifestSuffix, Code: transfer.CodeMismatch,
		Hint: "if the image was changed on purpose, remove the manifest, or give --format, which leaves it out; " +
			"otherwise the image is damaged: get it again",
		Err: fmt.Errorf("%w: %w", transfer.ErrWrongImage, fmt.Errorf(format, args...)),
	}
}

const hintFormats = "use raw, gz, zst or qcow2"

// detect finds how to read a medium: in the requested format or, if none is requested, by its
// content.
func detect(ctx context.Context, m medium, requested transfer.Format) (reading, error) {
	op, meta := "open "+m.name(), m.metadata()
	if requested != "" {
		f := formatNamed(requested)
		if f == nil || !f.readable() {
			return reading{}, invalid(op, hintFormats, "%q is not a format", requested)
		}
		if meta.contentEncoding != "" {
			return reading{}, meta.errEncoded(op)
		}
		return reading{format: f, asIs: true}, nil
	}
	s, err := readSample(ctx, m)
	if err != nil {
		return reading{}, err
	}
	f, err := meta.accept(op, s)
	return reading{format: f}, err
}

// readSample reads the first bytes of a medium. If they have no signature of a format, and the
// medium can be read by offset, it also reads the last bytes.
func readSample(ctx context.Context, m medium) (s sample, err error) {
	if s.head, err = m.head(ctx, sampleSize); err != nil {
		return s, err
	}
	r := m.random()
	if r == nil || formatOf(s) != &raw {
		return s, nil
	}
	n := min(r.Size(), sampleSize)
	s.tail = make([]byte, n)
	return s, r.ReadChunk(ctx, transfer.Chunk{Off: r.Size() - n, Len: int(n)}, s.tail)
}

// pageTypes are the content types of pages that servers send with status 200 in place of an image.
var pageTypes = []string{
	"text/html", "application/xhtml+xml", "text/xml", "application/xml", "application/json", "application/problem+json",
}

// detectableCodings are the content codings whose output begins with the signature of a format: the
// content shows whether the server used them. Other codings cannot be detected.
var detectableCodings = []string{"", "identity", "gzip", "x-gzip", "zstd"}

// accept is the format of a file with this content. A format that is not read here is CodeInvalid.
// So is a file whose name and content have different formats: it is damaged, or a saved error page.
func (m metadata) accept(op string, s sample) (*format, error) {
	f := formatOf(s)
	if !f.readable() {
		return nil, f.refused(op, nil)
	}
	if err := m.check(op, s.head); err != nil {
		return nil, err
	}
	ending := strings.ToLower(path.Ext(m.fileName))
	named := slices.IndexFunc(formats, func(f format) bool { return slices.Contains(f.endings, ending) })
	if named >= 0 && f != &formats[named] {
		return nil, invalid(op, "it may be damaged; --format raw takes the bytes as they are",
			"its name ends in %s, and its content is not %s", ending, formats[named].name)
	}
	return f, nil
}

// acceptPacked is the format of what a file of format outer packs: a raw image or a virtual disk.
// Other formats are CodeInvalid.
func (m metadata) acceptPacked(op string, outer *format, s sample) (*format, error) {
	if f := formatOf(s); f.disk != nil {
		return f, m.check(op, s.head)
	}
	return &raw, m.acceptInside(op, outer, s)
}

// acceptInside checks the content of a file of format outer, compressed or a virtual disk: only a
// raw image is accepted.
func (m metadata) acceptInside(op string, outer *format, s sample) error {
	f := formatOf(s)
	if f == &raw {
		return m.check(op, s.head)
	}
	refusal := f.refused(op, outer)
	if m.contentEncoding == "" || outer == &raw || f.advice != "" {
		return refusal
	}
	hint := curlDecoded + ", and give FILE"
	if !f.readable() {
		hint = f.remedy(curlDecoded)
	}
	return invalid(op, hint, "%w; the server has compressed it for the transfer (Content-Encoding: %s)",
		errors.Unwrap(refusal), m.contentEncoding)
}

// check refuses content, at any depth, that is no image by the server's headers. The content type
// alone does not count, because servers send images with any type.
func (m metadata) check(op string, head []byte) error {
	if m.isPage() && isText(head) {
		return invalid(op, adviceOnPages+"; or copy it as it is by --format raw",
			"the server sends a page (Content-Type: %s), not an image", m.contentType)
	}
	if !slices.Contains(detectableCodings, strings.ToLower(m.contentEncoding)) {
		return m.errEncoded(op)
	}
	return nil
}

// isPage reports whether the content type is that of a page.
func (m metadata) isPage() bool {
	kind, _, err := mime.ParseMediaType(m.contentType)
	return err == nil && slices.Contains(pageTypes, kind)
}

// curlDecoded is the command that fetches a file and undoes the encoding of the server.
const curlDecoded = "curl --compressed -o FILE URL"

// errEncoded refuses a body that the server has encoded although the request forbids it.
func (m metadata) errEncoded(op string) error {
	return invalid(op, curlDecoded+", and give FILE",
		"the server has compressed the file for the transfer (Content-Encoding: %s)", m.contentEncoding)
}
