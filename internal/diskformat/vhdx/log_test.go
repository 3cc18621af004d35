package vhdx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/diskformat/disktest"
	"github.com/transferd/transferd/internal/transfertest"
)

// TestTheCommandInTheHintMendsAnImageWithALog makes the log of a program that has crashed: a page
// of the disk's data is in the log, and not in its place.
func TestTheCommandInTheHintMendsAnImageWithALog(t *testing.T) {
	transfertest.RequireProgram(t, "qemu-img", "qemu-utils")
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	disk := random(mib)
	if err := os.WriteFile(filepath.Join(dir, "disk"), disk, 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.Run(t, dir, "qemu-img", "convert", "-f", "raw", "-O", "vhdx", "-o", "subformat=fixed", "disk", "image")
	addLog(t, path, disk)
	expectRefused(t, disktest.Open(t, path), "log of the VHDX image is not empty", "qemu-img check -r all IN")

	disktest.Run(t, dir, "sh", "-c", strings.ReplaceAll("qemu-img check -r all IN", "IN", "image"))
	expectDisk(t, disktest.Open(t, path), disk)
}

// addLog moves the first page of the first block to the log.
func addLog(t *testing.T, path string, disk []byte) {
	t.Helper()
	const page, sequence = 4096, 77
	p, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	place := bytes.Index(p, disk)
	clear(p[place:][:page])

	current, other := p[header1:][:headerLen], p[header2:][:headerLen]
	if le.Uint64(current[headerSequence:]) < le.Uint64(other[headerSequence:]) {
		current, other = other, current
	}
	copy(other, current)
	le.PutUint64(other[headerSequence:], le.Uint64(current[headerSequence:])+1)
	guid := random(guidLen)
	copy(other[headerLog:], guid)
	seal(other)

	// The entry: its header, a descriptor, and the page without its first 8 and last 4 bytes.
	entry := p[le.Uint64(other[72:]):][:2*page]
	copy(entry, "loge")
	le.PutUint32(entry[8:], uint32(len(entry)))
	le.PutUint64(entry[16:], sequence)
	le.PutUint32(entry[24:], 1)
	copy(entry[32:], guid)
	le.PutUint64(entry[48:], uint64(len(p)))
	le.PutUint64(entry[56:], uint64(len(p)))
	descriptor := entry[64:]
	copy(descriptor, "desc")
	copy(descriptor[4:], disk[page-4:page])
	copy(descriptor[8:], disk[:8])
	le.PutUint64(descriptor[16:], uint64(place))
	le.PutUint64(descriptor[24:], sequence)
	copy(entry[page:], "data")
	copy(entry[page+8:], disk[8:page-4])
	le.PutUint32(entry[2*page-4:], sequence)
	seal(entry)
	if err := os.WriteFile(path, p, 0o600); err != nil {
		t.Fatal(err)
	}
}
