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

// TestProgressIsPrintedEachHalfMinute: without a terminal, progress is a line each 30 seconds. A
// job without updates shows a rate of 0.
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
				t.Errorf("after 20 s: got %q, want nothing", err.String())
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
			t.Errorf("after the end: got %q, want nothing", err.String())
		}
	})
}

// TestSummary: the summary of a job says what it read, sent and received, how fast, and how the
// result was verified.
func TestSummary(t *testing.T) {
	j := transfer.Job{Kind: transfer.Upload, State: transfer.Succeeded, Verify: transfer.VerifyWritten, Seconds: 2}
	j.Size, j.Verified, j.Rate = 16<<20, true, 4<<20
	j.Chunks = transfer.Chunks{Total: 4, Zero: 2, Sent: 2, Verified: 2}
	j.Bytes = transfer.Bytes{Read: 8 << 20, WireOut: 4 << 20, WireIn: 2 << 20}
	want := "upload: 16 MiB image in 2.0 s, 8 MiB read (the rest is holes) at 4 MiB/s, " +
		"network: 4 MiB sent, 2 MiB received\n" +
		"verified: what was written was read back, zeros were sampled (4 chunks: 2 zero, 2 written, 2 read back)"
	if got := summary(&j); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	j.Verify = transfer.VerifyFull
	if got, want := summary(&j), "\nverified: all of it was read once more ("; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
	j.Verified = false
	if got, want := summary(&j), "\nnot verified ("; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}

// TestTargetNamesTheNewDrive: the list of jobs shows the drive that a job made, once it is known.
func TestTargetNamesTheNewDrive(t *testing.T) {
	for _, tc := range []struct{ kind, target, endpoint, drive, want string }{
		{"upload", "zrh:", "zrh", "", "zrh:"},
		{"upload", "zrh:", "zrh", "d1", "zrh:d1"},
		{"clone", "lvs:", "lvs", "d2", "lvs:d2"},
		{"upload", "zrh:d3", "zrh", "d3", "zrh:d3"},
		{"download", "/copy.img", "zrh", "d4", "/copy.img"},
		{"verify", "zrh:d5", "zrh", "d5", "zrh:d5"},
	} {
		j := transfer.Job{Kind: transfer.Kind(tc.kind), Target: tc.target, Endpoint: tc.endpoint}
		j.Drive = tc.drive
		if got := targetOf(&j); got != tc.want {
			t.Errorf("%s to %s, drive %q: got %q, want %q", tc.kind, tc.target, tc.drive, got, tc.want)
		}
	}
}

func TestAgesHaveTwoUnits(t *testing.T) {
	const day = 24 * time.Hour
	for age, want := range map[time.Duration]string{
		-time.Second: "0s", 400 * time.Millisecond: "0s", 45 * time.Second: "45s", 90 * time.Second: "1m30s",
		5 * time.Minute: "5m", time.Hour + 5*time.Minute + time.Second: "1h5m", 7 * day: "7d",
		7*day + 3*time.Hour + time.Minute: "7d3h", 400 * day: "400d",
	} {
		if got := ageText(age); got != want {
			t.Errorf("%s: got %q, want %q", age, got, want)
		}
	}
}
