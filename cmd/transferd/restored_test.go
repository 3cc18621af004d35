package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// restoredJob finishes a job, calls between, and restores Redis from an older copy, in which the
// job is running. It returns the job when that has ended again.
func restoredJob(t *testing.T, overwrite bool, between func(h *host, drive string)) (*host, transfer.Job, []byte) {
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
	d := h.start("state", testLease, slowLink())
	id := h.upload(path, drive)
	d.endpoint.awaitSome(t)
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

// TestRestoredRedisKeepsAFinishedDrive writes to the drive of a finished job, as a server does that
// boots from it, and then restores Redis from a copy in which the job is running.
func TestRestoredRedisKeepsAFinishedDrive(t *testing.T) {
	t.Parallel()
	for name, overwrite := range map[string]bool{"made": false, "overwritten": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := bytes.Repeat([]byte("a server's own"), 1000)
			h, job, want := restoredJob(t, overwrite, func(h *host, drive string) { h.write(drive, 5<<20, own) })
			copy(want[5<<20:], own)
			if job.State != transfer.Failed || job.Error.Code != transfer.CodeExists || job.DriveLeft {
				t.Errorf("got a job that is %s: %+v, drive left: %v; want failed, %q, false",
					job.State, job.Error, job.DriveLeft, transfer.CodeExists)
			}
			if got := h.drive(job.Drive); !bytes.Equal(got, want) {
				t.Error("got a drive without what the server wrote, want it kept")
			}
		})
	}
}

// TestRestoredRedisFinishesAgain restores Redis while the drive is unchanged: the job succeeds and
// writes nothing.
func TestRestoredRedisFinishesAgain(t *testing.T) {
	t.Parallel()
	writes := 0
	h, job, want := restoredJob(t, false, func(h *host, _ string) { writes = h.allWrites() })
	if job.State != transfer.Succeeded || h.allWrites() != writes {
		t.Errorf("got a job that is %s: %+v, after %d more writes; want succeeded, none",
			job.State, job.Error, h.allWrites()-writes)
	}
	if got := h.drive(job.Drive); !bytes.Equal(got, want) {
		t.Error("got a drive that differs from the image")
	}
}
