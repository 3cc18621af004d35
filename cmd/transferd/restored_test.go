package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// restored is a job that has finished while Redis was at work, and that a Redis restored from an
// older copy has as running.
func restored(t *testing.T, overwrite bool, between func(h *host, drive string)) (*host, transfer.Job, []byte) {
	t.Helper()
	h := newHost(t)
	path, content := h.image("image.img")
	drive := ""
	if overwrite {
		first, _ := h.image("first.img")
		d := h.start("first", testLease, nil)
		drive = h.await(h.upload(first, "")).Drive
		d.end()
	}
	d := h.start("state", testLease, slowly())
	id := h.upload(path, drive)
	<-d.endpoint.under
	older := filepath.Join(h.dir, "older")
	if err := os.CopyFS(older, os.DirFS(filepath.Join(h.dir, "appendonlydir"))); err != nil {
		t.Fatal(err)
	}
	job := h.await(id)
	between(h, job.Drive)
	h.killRedis()
	if err := os.RemoveAll(filepath.Join(h.dir, "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(older, filepath.Join(h.dir, "appendonlydir")); err != nil {
		t.Fatal(err)
	}
	h.startRedis()
	return h, h.end(id), content
}

// TestRestoredRedisKeepsAFinishedDrive boots a server, in effect, from the drive of a finished job,
// and then restores Redis from a copy that has the job as running.
func TestRestoredRedisKeepsAFinishedDrive(t *testing.T) {
	t.Parallel()
	for name, overwrite := range map[string]bool{"made": false, "overwritten": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := bytes.Repeat([]byte("a server's own"), 1000)
			h, job, want := restored(t, overwrite, func(h *host, drive string) { h.write(drive, 5<<20, own) })
			copy(want[5<<20:], own)
			if job.State != transfer.Failed || job.Error.Code != transfer.CodeExists || job.DriveLeft {
				t.Errorf("the job is %s: %+v, drive left: %v", job.State, job.Error, job.DriveLeft)
			}
			if got := h.drive(job.Drive); !bytes.Equal(got, want) {
				t.Error("what the server wrote is lost")
			}
		})
	}
}

// TestRestoredRedisFinishesAgain restores Redis without any change of the drive: the job succeeds,
// and writes nothing.
func TestRestoredRedisFinishesAgain(t *testing.T) {
	t.Parallel()
	writes := 0
	h, job, want := restored(t, false, func(h *host, _ string) { writes = h.allWrites() })
	if job.State != transfer.Succeeded || h.allWrites() != writes {
		t.Errorf("the job is %s: %+v, after %d more writes", job.State, job.Error, h.allWrites()-writes)
	}
	if got := h.drive(job.Drive); !bytes.Equal(got, want) {
		t.Error("the drive differs")
	}
}
