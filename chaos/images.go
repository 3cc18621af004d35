package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
)

// image is a file with random runs of noise, text and zeros, some of them holes.
type image struct {
	path string
	data []byte
}

const (
	imageCount = 6
	sector     = 512
	maxSectors = 48 << 20 / sector
)

func (l *lab) makeImages() error {
	for i := range imageCount {
		dice := l.dice(uint64(i))
		im := image{path: l.path(fmt.Sprintf("image-%d.img", i)), data: make([]byte, sector*(1+dice.IntN(maxSectors)))}
		f, err := os.Create(im.path)
		if err != nil {
			return err
		}
		for off := 0; off < len(im.data); {
			n := min(len(im.data)-off, 1+dice.IntN(6<<20))
			run := im.data[off : off+n]
			if fill(dice, run) {
				if _, err := f.WriteAt(run, int64(off)); err != nil {
					return err
				}
			}
			off += n
		}
		if err := f.Truncate(int64(len(im.data))); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		l.images = append(l.images, im)
	}
	return nil
}

// fill fills a run with noise, text or zeros. stored is false if the run shall be a hole.
func fill(dice *rand.Rand, run []byte) (stored bool) {
	switch dice.IntN(4) {
	case 0:
		return false
	case 1:
		return true // zeros that are stored
	case 2:
		for i := range run {
			run[i] = "all work and no play "[i%21] + byte(i>>12)
		}
	default:
		for i := range run {
			run[i] = byte(dice.Uint32())
		}
	}
	return true
}

// fileEquals compares an image with a file, which it decompresses if its name ends in .gz.
func fileEquals(path string, im image) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var r io.Reader = f
	if bytes.HasSuffix([]byte(path), []byte(".gz")) {
		if r, err = gzip.NewReader(f); err != nil {
			return err
		}
	}
	return readerEquals(r, im)
}

func readerEquals(r io.Reader, im image) error {
	got, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if len(got) != len(im.data) {
		return fmt.Errorf("got %d bytes, want the %d of %s", len(got), len(im.data), im.path)
	}
	if !bytes.Equal(got, im.data) {
		return fmt.Errorf("of %d bytes, %s", len(got), differences(got, im))
	}
	return nil
}

// differences describes where bytes differ from an image, with the first bytes of both.
func differences(got []byte, im image) string {
	first, last, n := -1, 0, 0
	for i := range got {
		if got[i] != im.data[i] {
			if first < 0 {
				first = i
			}
			last = i
			n++
		}
	}
	end := min(first+8, len(got))
	return fmt.Sprintf("%d differ from %s, from %d to %d: got %x, want %x",
		n, im.path, first, last, got[first:end], im.data[first:end])
}

// plain makes a call to the endpoint without faults.
func (e *endpoint) plain(method, path string) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	e.server.Plain().ServeHTTP(w, httptest.NewRequest(method, path, http.NoBody))
	if w.Code >= 300 {
		return w, fmt.Errorf("%s %s: got status %d: %s", method, path, w.Code, w.Body)
	}
	return w, nil
}

// driveEquals compares a drive's bytes with an image.
func (e *endpoint) driveEquals(drive string, im image) error {
	var got bytes.Buffer
	const part = 4 << 20
	for off := 0; off < len(im.data); off += part {
		w, err := e.plain(http.MethodGet, fmt.Sprintf("/drives/%s/read/%d/%d", drive, off, min(part, len(im.data)-off)))
		if err != nil {
			return err
		}
		got.Write(w.Body.Bytes())
	}
	return readerEquals(&got, im)
}
