package image

import (
	"context"
	"errors"
	"mime"
	"path"
	"slices"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// reading is how the content of a medium is read.
type reading struct {
	format *format
	asIs   bool // the content is the image, whatever it looks like
	// manifest is the file's manifest, without its chunks; nil: none.
	manifest *transfer.Manifest
	notes    []string // warnings to users about the choice
}

// warnings are those of an image that has been read from a file; m is the manifest of what was
// read.
func (r *reading) warnings(path string, m *transfer.Manifest) []string {
	own, notes := r.manifest, slices.Clone(r.notes)
	if own != nil && (own.Size != m.Size || own.ChunkSize == m.ChunkSize && own.ChunksRoot != m.ChunksRoot) {
		notes = append(notes, ignoredManifest(path))
	}
	return notes
}

func ignoredManifest(path string) string {
	return path + manifestSuffix + " is ignored: it describes another image"
}

const hintFormats = "use raw, gz or zst"

// choose finds how to read a medium: as the job asks, or else by its content.
func choose(ctx context.Context, m medium, asked transfer.Format) (reading, error) {
	op, said := "open "+m.name(), m.labels()
	if asked != "" {
		f := formatNamed(asked)
		if f == nil || f.decode == nil {
			return reading{}, invalid(op, hintFormats, "%q is not a format", asked)
		}
		if said.contentEncoding != "" {
			return reading{}, said.errEncoded(op)
		}
		return reading{format: f, asIs: true}, nil
	}
	s, err := takeSample(ctx, m)
	if err != nil {
		return reading{}, err
	}
	f, err := said.accept(op, s)
	return reading{format: f}, err
}

// takeSample reads the first bytes of a medium and, where they have no format's mark, the last
// ones, if it is read by offset.
func takeSample(ctx context.Context, m medium) (s sample, err error) {
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

// pages are the types of content that servers send in place of an image, with status 200.
var pages = []string{
	"text/html", "application/xhtml+xml", "text/xml", "application/xml", "application/json", "application/problem+json",
}

// codings are the content codings that begin a body with the mark of a format, so that the content
// shows whether it was encoded. Others leave no trace.
var codings = []string{"", "identity", "gzip", "x-gzip", "zstd"}

// accept is the format of a file with this content if it is read here. One that is not is
// CodeInvalid, and so is a file whose name says another format than its content: it is damaged, or
// an error page that was saved.
func (l labels) accept(op string, s sample) (*format, error) {
	f := formatOf(s)
	if f.decode == nil {
		return nil, f.refused(op, nil)
	}
	if err := l.check(op, s.head); err != nil {
		return nil, err
	}
	ending := strings.ToLower(path.Ext(l.fileName))
	named := slices.IndexFunc(formats, func(f format) bool { return slices.Contains(f.endings, ending) })
	if named >= 0 && f != &formats[named] {
		return nil, invalid(op, "it may be damaged; --format raw takes the bytes as they are",
			"its name ends in %s, and its content is not %s", ending, formats[named].name)
	}
	return f, nil
}

// acceptInside checks the content of a file of format outer: only a raw image is accepted.
func (l labels) acceptInside(op string, outer *format, s sample) error {
	f := formatOf(s)
	if f == &raw {
		return l.check(op, s.head)
	}
	refusal := f.refused(op, outer)
	if l.contentEncoding == "" || outer == &raw || f.advice != "" {
		return refusal
	}
	hint := fetchDecoded + ", and give FILE"
	if f.decode == nil {
		hint = f.remedy(fetchDecoded)
	}
	return invalid(op, hint, "%w; the server has packed it for the transfer (Content-Encoding: %s)",
		errors.Unwrap(refusal), l.contentEncoding)
}

// check refuses content, at any depth, that is not an image by what the server says of it. The type
// alone does not count, for servers send images with any type.
func (l labels) check(op string, head []byte) error {
	if l.page() && isText(head) {
		return invalid(op, adviceOnPages+"; or copy it as it is by --format raw",
			"the server sends a page (Content-Type: %s), not an image", l.contentType)
	}
	if !slices.Contains(codings, strings.ToLower(l.contentEncoding)) {
		return l.errEncoded(op)
	}
	return nil
}

// page reports whether the server says that it sends a page.
func (l labels) page() bool {
	kind, _, err := mime.ParseMediaType(l.contentType)
	return err == nil && slices.Contains(pages, kind)
}

// fetchDecoded undoes the encoding of a server.
const fetchDecoded = "curl --compressed -o FILE URL"

// errEncoded refuses a body that the server has encoded although it was asked not to.
func (l labels) errEncoded(op string) error {
	return invalid(op, fetchDecoded+", and give FILE",
		"the server has packed the file for the transfer (Content-Encoding: %s)", l.contentEncoding)
}
