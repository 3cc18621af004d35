package main

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/cli"
	"github.com/transferd/transferd/internal/transfer"
)

// TestProgressIsPrintedEachHalfMinute follows a job without a terminal. A job without updates shows
// a rate of 0.
func TestProgressIsPrintedEachHalfMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out, err bytes.Buffer
		f := (&app{stdout: cli.NewResults(&out), stderr: &err, output: outputText}).follow()
		defer f.stop()
		j := transfer.Job{ID: "id", Kind: transfer.Upload, State: transfer.Running}
		// Three quarters of the image are holes, which do not count.
		j.Chunks = transfer.Chunks{Total: 4096, Done: 3072, Zero: 3072}
		j.Bytes.Total, j.Rate = 4<<30, 64<<20
		time.Sleep(500 * time.Millisecond)
		for second := range 60 {
			if second < 45 {
				j.Bytes.Done += 64 << 20
				if err := f.show(&j); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			if second == 20 && err.Len() > 0 {
				t.Errorf("after 20 s: %q", err.String())
			}
		}
		synctest.Wait()
		want := []string{
			"upload id: 1.88 GiB of 4 GiB (46%), 64 MiB/s, 34s left",
			"upload id: 2.81 GiB of 4 GiB (70%), 0 B/s",
		}
		got := strings.Split(strings.TrimSpace(err.String()), "\n")
		if strings.Join(got, "\n") != strings.Join(want, "\n") || out.Len() > 0 {
			t.Errorf("got %q and %q on stdout, want %q", got, out.String(), want)
		}
		j.State = transfer.Succeeded
		_ = f.show(&j)
		err.Reset()
		time.Sleep(time.Minute)
		if synctest.Wait(); err.Len() > 0 {
			t.Errorf("after the end: %q", err.String())
		}
	})
}

// TestSummary says what was moved, how fast, and how it was verified.
func TestSummary(t *testing.T) {
	j := transfer.Job{Kind: transfer.Upload, State: transfer.Succeeded, Verify: transfer.VerifyWritten, Seconds: 2}
	j.Size, j.Verified, j.Rate, j.Chunks.Total, j.Chunks.Sent = 8<<20, true, 4<<20, 2, 2
	j.Bytes = transfer.Bytes{Read: 8 << 20, WireOut: 4 << 20, WireIn: 2 << 20}
	for _, want := range []string{
		"upload: 8 MiB",
		"in 2.0 s, 8 MiB of data at 4 MiB/s, 4 MiB sent and 2 MiB received",
		"verified: what was written was read back",
	} {
		if s := summary(&j); !strings.Contains(s, want) {
			t.Errorf("%q lacks %q", s, want)
		}
	}
	if j.Verify = transfer.VerifyFull; !strings.Contains(summary(&j), "read once more") {
		t.Error(summary(&j))
	}
	if j.Verified = false; !strings.HasSuffix(summary(&j), "not verified") {
		t.Error(summary(&j))
	}
}
