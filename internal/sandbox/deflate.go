package sandbox

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const (
	// minCompress is the shortest response worth a gzip header, in bytes.
	minCompress = 512
	// A compressed response is sent if it saves at least one part in worthwhile.
	worthwhile = 16
)

// deflater has the buffers that compress one response; they are reused.
type deflater struct {
	out bytes.Buffer
	gz  *gzip.Writer
}

var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.gz, _ = gzip.NewWriterLevel(&d.out, gzip.BestSpeed) // the level is a valid one
	return d
}}

// compress returns p as a gzip stream, valid until the next call; nil if it is hardly shorter.
func (d *deflater) compress(p []byte) []byte {
	if len(p) < minCompress {
		return nil
	}
	d.out.Reset()
	d.gz.Reset(&d.out)
	if _, err := d.gz.Write(p); err != nil || d.gz.Close() != nil {
		return nil
	}
	if d.out.Len() > len(p)-len(p)/worthwhile {
		return nil
	}
	return d.out.Bytes()
}

// acceptsGzip reports whether the client accepts gzip, with a weight other than 0 (RFC 9110,
// 12.5.3). A bare * does not count: a client that cannot inflate may send it.
func acceptsGzip(h http.Header) bool {
	for _, line := range h.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name == "gzip" || name == "x-gzip" {
				return weight(params) > 0
			}
		}
	}
	return false
}

// weight is the q of an item's parameters: 1 if there is none, 0 if it is malformed.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return 0
		}
		return q
	}
	return 1
}
