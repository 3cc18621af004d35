package worker

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// oldDrive returns a drive that existed before the job, with data everywhere except in chunk 20.
func oldDrive(capacity int) *memImage {
	sink := newMemImage(randomBytes(capacity))
	if capacity > 21*chunkSize {
		clear(sink.data[20*chunkSize : 21*chunkSize])
	}
	sink.capacity = int64(capacity)
	return sink
}

// withTail returns the image followed by zeros up to the capacity.
func withTail(image []byte, capacity int) []byte {
	return append(bytes.Clone(image), make([]byte, capacity-len(image))...)
}

// TestOldTailBecomesZeros: in every verify mode, and a verify job succeeds afterwards.
func TestOldTailBecomesZeros(t *testing.T) {
	const capacity = 30*chunkSize + 512
	for _, size := range []int{
		1, chunkSize - 512, chunkSize, chunkSize + 512, 10*chunkSize + 1024, capacity - 512, capacity,
	} {
		for _, mode := range []transfer.VerifyMode{transfer.VerifyNone, transfer.VerifyWritten, transfer.VerifyFull} {
			for name, source := range map[string]func([]byte) transfer.Source{
				"file":   func(p []byte) transfer.Source { return newMemImage(p) },
				"stream": func(p []byte) transfer.Source { return newStream(p) },
			} {
				image, sink := randomBytes(size), oldDrive(capacity)
				j := newJob(t, source(image), sink)
				j.spec.Verify = mode
				p := j.mustRun()
				checkContent(t, sink, withTail(image, capacity))
				if c := p.Chunks; c.Done != c.Total || mode != transfer.VerifyNone && c.Verified != c.Total {
					t.Errorf("%s of %d bytes, %s: got %+v, want all chunks done and verified", name, size, mode, c)
				}
				if p.Tail.Bytes != int64(capacity-size) || p.Tail.Kept || size < 10*chunkSize && sink.writes[20] != 0 {
					t.Errorf("%s of %d bytes, %s: tail %+v, zeros written %d times",
						name, size, mode, p.Tail, sink.writes[20])
				}
				check := newJob(t, newMemImage(image), sink)
				check.spec.Kind = transfer.Verify
				check.mustRun()
			}
		}
	}
}

// TestKeepTailLeavesTheTail: and the progress says so.
func TestKeepTailLeavesTheTail(t *testing.T) {
	image, sink := randomBytes(5*chunkSize+512), oldDrive(30*chunkSize)
	old := bytes.Clone(sink.data)
	j := newJob(t, newMemImage(image), sink)
	j.spec.KeepTail, j.spec.Verify = true, transfer.VerifyFull
	p := j.mustRun()
	checkContent(t, sink, append(bytes.Clone(image), old[len(image):]...))
	if p.Tail.Bytes != 25*chunkSize-512 || !p.Tail.Kept || p.Tail.Cleared != 0 || p.Chunks.Total != 6 {
		t.Errorf("got tail %+v and %+v, want it kept and 6 chunks", p.Tail, p.Chunks)
	}
}

// TestTailOfANewDriveIsSampled: and written only if it does not read as zeros.
func TestTailOfANewDriveIsSampled(t *testing.T) {
	const capacity = 400 * chunkSize
	for _, mode := range []transfer.VerifyMode{transfer.VerifyWritten, transfer.VerifyFull} {
		for name, blank := range map[string]bool{"blank": true, "noise": false, "blank by mistake": true} {
			image, sink := randomBytes(5*chunkSize+512), newMemImage(make([]byte, capacity))
			if sink.blank, sink.capacity = blank, capacity; name != "blank" {
				copy(sink.data, randomBytes(capacity))
			}
			j := newJob(t, newMemImage(image), sink)
			j.spec.Verify, j.opener.drive = mode, "uuid"
			p := j.mustRun()
			checkContent(t, sink, withTail(image, capacity))
			read, written := sink.total(sink.reads), sink.total(sink.writes)
			sampled := mode != transfer.VerifyWritten || read >= 7 && read <= 6+2*zeroSamples
			if name == "blank" && (written != 6 || !sampled) {
				t.Errorf("%s, %s: got %d reads and %d writes, want a sample and 6 writes", name, mode, read, written)
			}
			if !p.Tail.IsZero() || !p.Verified {
				t.Errorf("%s, %s: got tail %+v, verified %v; want no tail, true", name, mode, p.Tail, p.Verified)
			}
		}
	}
}

// TestTailIsResumed: with the ledger, and read again if another job may have written the drive.
func TestTailIsResumed(t *testing.T) {
	const capacity = 150 * chunkSize
	for _, doubted := range []bool{false, true} {
		image, sink := randomBytes(20*chunkSize+512), oldDrive(capacity)
		j := newJob(t, newMemImage(image), sink)
		j.spec.Concurrency = 1
		s := &claimStore{fail: func(int) error { return nil }}
		sink.onWrite = func(context.Context, transfer.Chunk, int) error {
			if sink.total(sink.writes) > 100 {
				return failure(transfer.CodeRefused)
			}
			return nil
		}
		if err := runWithClaims(t, j, s); transfer.CodeOf(err) != transfer.CodeRefused {
			t.Fatal(err)
		}
		done := j.store.saved.Progress.Chunks.Done
		sink.onWrite = nil
		clear(sink.reads)
		clear(sink.writes)
		if doubted {
			s.marks["old"] = "another"
			sink.data[70*chunkSize] = 1
		}
		if err := runWithClaims(t, j, s); err != nil {
			t.Fatal(err)
		}
		checkContent(t, sink, withTail(image, capacity))
		p := j.store.saved.Progress
		if p.Chunks.Done != p.Chunks.Total || p.Chunks.Total != 151 || done < 90 {
			t.Errorf("doubted %v: got %+v after %d, want all 151 chunks done after 90 or more", doubted, p.Chunks, done)
		}
		if n := sink.reads[70]; (n > 0) != doubted {
			t.Errorf("doubted %v: got %d reads of a done chunk of the tail, want some only in doubt", doubted, n)
		}
	}
}

// TestTailOfAShorterStreamIsCleared: where an earlier attempt wrote the end of a longer stream.
func TestTailOfAShorterStreamIsCleared(t *testing.T) {
	const capacity = 30 * chunkSize
	for _, blank := range []bool{false, true} {
		sink := newMemImage(make([]byte, capacity))
		sink.capacity, sink.blank = capacity, blank
		j := newJob(t, newStream(randomBytes(20*chunkSize+512)), sink)
		sink.onRead = func(_ context.Context, c transfer.Chunk, _ int) error {
			if c.Index == 25 { // the image is written
				return failure(transfer.CodeRefused)
			}
			return nil
		}
		j.opener.open = func(what string, _ int) error { // a blank tail may not be read there
			if what == "tag complete" {
				return failure(transfer.CodeUnauthorized)
			}
			return nil
		}
		s := &claimStore{fail: func(int) error { return nil }}
		if err := runWithClaims(t, j, s); err == nil {
			t.Fatal("the first attempt succeeded, want an error")
		}
		sink.onRead, j.opener.open = nil, nil
		image := randomBytes(10*chunkSize + 512)
		j.opener.source = newStream(image)
		if err := runWithClaims(t, j, s); err != nil {
			t.Fatal(err)
		}
		checkContent(t, sink, withTail(image, capacity))
	}
}

// TestTailIsReportedBeforeTheFirstWrite: its size, and the former content of the drive.
func TestTailIsReportedBeforeTheFirstWrite(t *testing.T) {
	image, sink := randomBytes(5*chunkSize), oldDrive(2<<20)
	copy(sink.data, mbr())
	copy(sink.data[1<<20+0x438:], "\x53\xef")
	copy(sink.data[2<<20-512:], "EFI PART")
	j := newJob(t, newMemImage(image), sink)
	var before transfer.Tail
	sink.onWrite = func(context.Context, transfer.Chunk, int) error {
		j.store.mu.Lock()
		defer j.store.mu.Unlock()
		if before.IsZero() {
			before = j.store.saved.Progress.Tail
		}
		return nil
	}
	p := j.mustRun()
	if before.Bytes != 2<<20-5*chunkSize || p.Tail.Cleared == 0 || !slices.Equal(before.Found, p.Tail.Found) {
		t.Errorf("got tail %+v at the first write and %+v at the end, want the same content and cleared bytes",
			before, p.Tail)
	}
	for _, want := range []string{
		"MBR partition table", "partition 1 of 512k at 1048576 (ext2/3/4)", "backup of a GPT partition table",
	} {
		if !slices.ContainsFunc(before.Found, func(s string) bool { return strings.Contains(s, want) }) {
			t.Errorf("%q lacks %q", before.Found, want)
		}
	}
}

// mbr has one partition, of 512 KiB at 1 MiB.
func mbr() []byte {
	p := make([]byte, 512)
	p[446+4], p[510], p[511] = 0x83, 0x55, 0xaa
	p[446+9], p[446+13] = 2048>>8, 1024>>8
	return p
}
