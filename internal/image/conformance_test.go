package image

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/verify"
)

// TestSources holds every kind of source to the contract.
func TestSources(t *testing.T) {
	kinds := map[string]func(t *testing.T, content []byte) transfer.Source{
		"file": func(t *testing.T, content []byte) transfer.Source {
			return open(t, tempFile(t, "x.img", content), Options{})
		},
		"sparse file": func(t *testing.T, content []byte) transfer.Source {
			return open(t, sparseFile(t, content), Options{})
		},
		"gzip": func(t *testing.T, content []byte) transfer.Source {
			return open(t, tempFile(t, "x.img.gz", gzipped(t, content)), Options{})
		},
		"gzip measured": func(t *testing.T, content []byte) transfer.Source {
			return open(t, tempFile(t, "x.img.gz", gzipped(t, content)), Options{Measure: true})
		},
		"gzip of many members": func(t *testing.T, content []byte) transfer.Source {
			third := len(content) / 3
			packed := append(gzipped(t, content[:third]), gzipped(t, content[third:])...)
			return open(t, tempFile(t, "x.img.gz", append(packed, gzipped(t, nil)...)), Options{Measure: true})
		},
		"zstd": func(t *testing.T, content []byte) transfer.Source {
			return open(t, tempFile(t, "x.img.zst", zstded(t, content)), Options{})
		},
		"zstd of many frames": func(t *testing.T, content []byte) transfer.Source {
			half := len(content) / 2
			return open(t, tempFile(t, "x.img.zst", append(zstded(t, content[:half]), zstded(t, content[half:])...)), Options{Measure: true})
		},
		"standard input": func(t *testing.T, content []byte) transfer.Source {
			return open(t, "-", Options{Stdin: bytes.NewReader(content)})
		},
		"standard input gzip": func(t *testing.T, content []byte) transfer.Source {
			return open(t, "-", Options{Stdin: bytes.NewReader(gzipped(t, content))})
		},
		"URL with ranges": func(t *testing.T, content []byte) transfer.Source {
			return open(t, serve(t, content, true)+"/x.img", Options{})
		},
		"URL without ranges": func(t *testing.T, content []byte) transfer.Source {
			return open(t, serve(t, content, false)+"/x.img", Options{})
		},
		"URL gzip": func(t *testing.T, content []byte) transfer.Source {
			return open(t, serve(t, gzipped(t, content), true)+"/x.img.gz", Options{})
		},
		"manifest": func(t *testing.T, content []byte) transfer.Source {
			path := filepath.Join(tempDir(t), "x.json")
			var text bytes.Buffer
			if err := verify.WriteManifest(&text, transfertest.Manifest(content, transfer.MinChunkSize)); err != nil {
				t.Fatal(err)
			}
			writeFile(t, path, text.Bytes())
			src, err := OpenReference(t.Context(), path, Options{Roots: everywhere})
			if err != nil {
				t.Fatal(err)
			}
			return src
		},
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) { transfertest.Source(t, transfertest.Shape{}, kind) })
	}
}

// serve serves content, by ranges or only as a whole.
func serve(t testing.TB, content []byte, ranges bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ranges {
			_, _ = w.Write(content)
			return
		}
		w.Header().Set("ETag", `"v1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// sparseFile writes only what is not zeros, in blocks of 4 KiB.
func sparseFile(t testing.TB, content []byte) string {
	t.Helper()
	f, err := os.Create(filepath.Join(tempDir(t), "sparse.img"))
	if err != nil {
		t.Fatal(err)
	}
	err = f.Truncate(int64(len(content)))
	for off := 0; off < len(content); off += 4096 {
		if p := content[off:min(off+4096, len(content))]; !bytes.Equal(p, make([]byte, len(p))) {
			_, werr := f.WriteAt(p, int64(off))
			err = errors.Join(err, werr)
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestSinks holds every kind of sink to the contract.
func TestSinks(t *testing.T) {
	for name, format := range map[string]transfer.Format{"raw": transfer.FormatRaw, "gzip": transfer.FormatGzip, "zstd": transfer.FormatZstd} {
		t.Run(name, func(t *testing.T) {
			transfertest.Sink(t, transfertest.Shape{Empty: true}, func(t *testing.T, size int64) transfertest.Target {
				return fileTarget(t, CreateOptions{Format: format, Size: size, Roots: everywhere})
			})
		})
		t.Run(name+" over another file", func(t *testing.T) {
			transfertest.Sink(t, transfertest.Shape{}, func(t *testing.T, size int64) transfertest.Target {
				target := fileTarget(t, CreateOptions{Format: format, Size: size, Roots: everywhere, Overwrite: true})
				target.InPlace = true
				return target
			})
		})
		t.Run(name+" to standard output", func(t *testing.T) {
			transfertest.Sink(t, transfertest.Shape{Empty: true}, func(t *testing.T, size int64) transfertest.Target {
				return streamTarget(CreateOptions{Format: format, Size: size})
			})
		})
	}
	t.Run("device", func(t *testing.T) {
		transfertest.Sink(t, transfertest.Shape{}, deviceTarget)
	})
}

func fileTarget(t *testing.T, opts CreateOptions) transfertest.Target {
	path := filepath.Join(tempDir(t), "x.img")
	if opts.Overwrite {
		writeFile(t, path, []byte("what was there before"))
	}
	return transfertest.Target{
		Open: func(t *testing.T, resume bool) transfer.Sink {
			opts := opts
			opts.Resume = resume
			return create(t, path, opts)
		},
		Stored: func(t *testing.T) ([]byte, bool) {
			b, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				return nil, false
			}
			if err != nil {
				t.Fatal(err)
			}
			return unpack(t, b), true
		},
	}
}

// streamTarget stores what the last opened sink wrote.
func streamTarget(opts CreateOptions) transfertest.Target {
	var out bytes.Buffer
	return transfertest.Target{
		Open: func(t *testing.T, _ bool) transfer.Sink {
			out.Reset()
			opts.Stdout = &out
			return create(t, "-", opts)
		},
		Stored:  func(t *testing.T) ([]byte, bool) { return unpack(t, out.Bytes()), true },
		InPlace: true,
	}
}

// deviceTarget is a regular file in the role of a block device, which only root can make.
func deviceTarget(t *testing.T, size int64) transfertest.Target {
	path := tempFile(t, "device", bytes.Repeat([]byte{0xee}, int(size)+512))
	return transfertest.Target{
		Open: func(t *testing.T, _ bool) transfer.Sink {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			d, err := newDeviceSink(target{op: "create " + path, resolved: path}, f, size)
			if err != nil {
				t.Fatal(err)
			}
			return d
		},
		Stored: func(t *testing.T) ([]byte, bool) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			return b[:size], true
		},
		InPlace: true,
	}
}

func create(t testing.TB, path string, opts CreateOptions) transfer.Sink {
	t.Helper()
	dst, err := Create(t.Context(), path, opts)
	if err != nil {
		t.Fatal(err)
	}
	return dst
}

// unpack is what a stream or raw image holds, or as much of it as there is.
func unpack(t testing.TB, b []byte) []byte {
	t.Helper()
	src, err := Open(t.Context(), "-", Options{Stdin: bytes.NewReader(b)})
	if err != nil {
		return b
	}
	defer closed(t, src)
	var out []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := src.(transfer.Stream).Next(t.Context(), buf)
		out = append(out, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			return out
		}
	}
}
