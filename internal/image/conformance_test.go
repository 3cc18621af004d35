package image

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/verify"
)

// TestEverySourceKeepsTheContract runs the conformance suite for every format on every medium.
func TestEverySourceKeepsTheContract(t *testing.T) {
	type opener func(t *testing.T, stored []byte, ending string) transfer.Source
	media := map[string]opener{
		"file": func(t *testing.T, stored []byte, ending string) transfer.Source {
			return open(t, tempFile(t, "x.img"+ending, stored), Options{DefaultSpool: tempDir(t)})
		},
		"file measured": func(t *testing.T, stored []byte, ending string) transfer.Source {
			return open(t, tempFile(t, "x.img"+ending, stored), Options{Measure: true, DefaultSpool: tempDir(t)})
		},
		"sparse file": func(t *testing.T, stored []byte, _ string) transfer.Source {
			return open(t, sparseFile(t, stored), Options{DefaultSpool: tempDir(t)})
		},
		"standard input": func(t *testing.T, stored []byte, _ string) transfer.Source {
			return open(t, "-", Options{Stdin: bytes.NewReader(stored), DefaultSpool: tempDir(t)})
		},
		"URL with ranges": func(t *testing.T, stored []byte, ending string) transfer.Source {
			return open(t, serve(t, stored, true)+"/x.img"+ending, Options{DefaultSpool: tempDir(t)})
		},
		"URL without ranges": func(t *testing.T, stored []byte, ending string) transfer.Source {
			return open(t, serve(t, stored, false)+"/x.img"+ending, Options{DefaultSpool: tempDir(t)})
		},
	}
	stores := storedAs()
	for medium, open := range media {
		for format, store := range stores {
			if store.ending == ".vhd" && medium == "standard input" {
				continue // TestOtherFormatsAreRefusedAtEveryDepth
			}
			t.Run(medium+" "+format, func(t *testing.T) {
				shape := transfertest.Shape{Unit: store.unit}
				transfertest.Source(t, shape, func(t *testing.T, content []byte) transfer.Source {
					return open(t, store.pack(t, content), store.ending)
				})
			})
		}
	}
	t.Run("manifest", func(t *testing.T) { transfertest.Source(t, transfertest.Shape{}, openManifest) })
}

// storage stores an image in one format.
type storage struct {
	ending string // of a file's name
	pack   func(t testing.TB, content []byte) []byte
	unit   int64 // sizes are multiples of it, in bytes; 0: any
}

// storedAs has a storage for each format that is read, and for each form of its files.
func storedAs() map[string]storage {
	return map[string]storage{
		"raw":  {pack: func(_ testing.TB, content []byte) []byte { return content }},
		"gzip": {ending: ".gz", pack: gzipped},
		"gzip of many members": {ending: ".gz", pack: func(t testing.TB, content []byte) []byte {
			third := len(content) / 3
			packed := append(gzipped(t, content[:third]), gzipped(t, content[third:])...)
			return append(packed, gzipped(t, nil)...)
		}},
		"Zstandard": {ending: ".zst", pack: zstded},
		"Zstandard of many frames": {ending: ".zst", pack: func(t testing.TB, content []byte) []byte {
			half := len(content) / 2
			return append(zstded(t, content[:half]), zstded(t, content[half:])...)
		}},
		"Zstandard after a skippable frame": {ending: ".zst", pack: func(t testing.TB, content []byte) []byte {
			return append([]byte("\x53\x2a\x4d\x18\x04\x00\x00\x00skip"), zstded(t, content)...)
		}},
		"xz": {ending: ".xz", pack: func(t testing.TB, content []byte) []byte {
			return packedBy(t, content, "xz", "-0", "-c")
		}},
		"tar": {ending: ".tar", pack: func(t testing.TB, content []byte) []byte {
			return tarred(t, "disk.raw", content)
		}},
		"tar in gzip": {ending: ".tgz", pack: func(t testing.TB, content []byte) []byte {
			return gzipped(t, tarred(t, "disk.raw", content))
		}},
		"qcow2 in gzip": {ending: ".gz", pack: func(t testing.TB, content []byte) []byte {
			return gzipped(t, transfertest.Qcow2(content, ""))
		}},
		"bzip2": {ending: ".bz2", pack: func(t testing.TB, content []byte) []byte {
			return packedBy(t, content, "bzip2", "-1", "-c")
		}},
		"qcow2": {pack: func(_ testing.TB, content []byte) []byte {
			return transfertest.Qcow2(content, "")
		}},
		"VMDK":                  byQemu("vmdk"),
		"stream-optimized VMDK": byQemu("vmdk", "-o", "subformat=streamOptimized"),
		"VDI":                   byQemu("vdi"),
		"VHD":                   byQemu("vpc", "-o", "force_size=on"),
		"fixed VHD":             fixedVHD(),
		"VHDX":                  byQemu("vhdx", "-o", "block_size=1M"),
		"fixed VHDX":            byQemu("vhdx", "-o", "subformat=fixed,block_size=1M"),
	}
}

// byQemu stores disks, whose sizes are sectors, as qemu-img does in a format. It keeps what it has
// stored, because a test stores the same content for each medium.
func byQemu(format string, flags ...string) storage {
	kept := map[string][]byte{}
	return storage{unit: sectorSize, pack: func(t testing.TB, content []byte) []byte {
		t.Helper()
		if kept[string(content)] == nil {
			in := tempFile(t, "disk", content)
			out := in + ".image"
			qemu(t, slices.Concat([]string{"convert", "-f", "raw", "-O", format}, flags, []string{in, out})...)
			kept[string(content)] = readFile(t, out)
		}
		return bytes.Clone(kept[string(content)])
	}}
}

// qemu runs qemu-img.
func qemu(t testing.TB, args ...string) {
	t.Helper()
	transfertest.RequireProgram(t, qemuImg, debian[qemuImg])
	if out, err := exec.CommandContext(t.Context(), qemuImg, args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %q: %v\n%s", args, err, out)
	}
}

func openManifest(t *testing.T, content []byte) transfer.Source {
	var text bytes.Buffer
	if err := verify.WriteManifest(&text, transfertest.Manifest(content, transfer.MinChunkSize)); err != nil {
		t.Fatal(err)
	}
	src, err := OpenImageOrManifest(t.Context(), tempFile(t, "x.json", text.Bytes()), Options{Roots: anywhere})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// TestConformanceCoversEveryFormat: the conformance suite runs for each format that is read.
func TestConformanceCoversEveryFormat(t *testing.T) {
	tested := map[string]bool{}
	for _, store := range storedAs() {
		packed := store.pack(t, []byte("content"))
		tested[formatOf(sample{head: packed, tail: packed}).name] = true
	}
	for _, f := range formats {
		if f.readable() && !tested[f.name] {
			t.Errorf("%s is not tested", f.name)
		}
	}
}

// serve is the URL of a server of content, with or without ranges.
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

// sparseFile writes only the blocks of 4 KiB that are not zeros.
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

// TestEverySinkKeepsTheContract runs the conformance suite for every kind of sink.
func TestEverySinkKeepsTheContract(t *testing.T) {
	for name, format := range map[string]transfer.Format{
		"raw": transfer.FormatRaw, "gzip": transfer.FormatGzip, "zstd": transfer.FormatZstd,
	} {
		t.Run(name, func(t *testing.T) {
			transfertest.Sink(t, transfertest.Shape{Empty: true}, func(t *testing.T, size int64) transfertest.Target {
				return fileTarget(t, CreateOptions{Format: format, Size: size, Roots: anywhere})
			})
		})
		t.Run(name+" over another file", func(t *testing.T) {
			transfertest.Sink(t, transfertest.Shape{}, func(t *testing.T, size int64) transfertest.Target {
				target := fileTarget(t, CreateOptions{Format: format, Size: size, Roots: anywhere, Overwrite: true})
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
	t.Run("qcow2", func(t *testing.T) {
		transfertest.Sink(t, transfertest.Shape{Unit: sectorSize}, qcow2Target)
	})
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

// qcow2Target is read by qemu-img.
func qcow2Target(t *testing.T, size int64) transfertest.Target {
	target := fileTarget(t, CreateOptions{Format: transfer.FormatQcow2, Size: size, Roots: anywhere})
	stored := target.Stored
	target.Stored = func(t *testing.T) ([]byte, bool) {
		b, ok := stored(t)
		if !ok {
			return nil, false
		}
		return qemuRead(t, tempFile(t, "x.qcow2", b)), true
	}
	return target
}

// qemuRead is the content of a qcow2 image, as qemu-img reads it.
func qemuRead(t *testing.T, path string) []byte {
	t.Helper()
	plain := path + ".plain"
	qemu(t, "convert", "-f", "qcow2", "-O", "raw", path, plain)
	return readFile(t, plain)
}

// streamTarget stores the output of the sink that was opened last.
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

// deviceTarget is a regular file in place of a block device, which only root can make.
func deviceTarget(t *testing.T, size int64) transfertest.Target {
	path := tempFile(t, "device", bytes.Repeat([]byte{0xee}, int(size)+512))
	return transfertest.Target{
		Open: func(t *testing.T, _ bool) transfer.Sink {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			device := target{op: "create " + path, resolved: path, sys: fsx.Kernel()}
			d, err := newDeviceSink(device, f, CreateOptions{Size: size})
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

// unpack is the image in b, compressed or raw; if b is incomplete, the image as far as it can be
// read.
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
