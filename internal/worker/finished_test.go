package worker

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// The ways in which a job has its target drive.
var driveJobs = map[string]func(j *job){
	"made":        func(j *job) { j.opener.drive = "uuid" },
	"overwritten": func(*job) {},
	"cloned": func(j *job) {
		j.opener.drive, j.spec.Kind, j.spec.Source = "uuid", transfer.Clone,
			transfer.Ref{Endpoint: "e2", Drive: "origin"}
	},
}

// finished returns a job that has ended after two attempts, with its record as it was between them,
// like after a restore from an older copy.
func finished(t *testing.T, image []byte, change func(j *job)) (*job, *memImage) {
	t.Helper()
	sink := newMemImage(make([]byte, len(image)))
	j := newJob(t, newMemImage(image), sink)
	change(j)
	j.takeOver(sink)
	older := j.store.saved
	older.Entries = slices.Clone(older.Entries)
	j.mustRun()
	j.store.saved = older
	j.store.lease = nil
	clear(sink.writes)
	clear(sink.reads)
	return j, sink
}

// TestFinishedDriveIsOnlyCompared: an attempt that finds its drive completed writes nothing,
// whatever a server has written since.
func TestFinishedDriveIsOnlyCompared(t *testing.T) {
	for name, change := range driveJobs {
		for _, mode := range []transfer.VerifyMode{transfer.VerifyWritten, transfer.VerifyFull, transfer.VerifyNone} {
			for _, changed := range []bool{false, true} {
				synctest.Test(t, func(t *testing.T) {
					image := randomBytes(6 * chunkSize)
					clear(image[4*chunkSize:])
					j, sink := finished(t, image, func(j *job) {
						change(j)
						j.spec.Verify = mode
					})
					want := slices.Clone(image)
					if changed { // where the image has zeros
						sink.data[5*chunkSize+7], want[5*chunkSize+7] = 1, 1
						f := j.mustFail(transfer.CodeExists)
						stays := !strings.Contains(f.Message, "incomplete") &&
							strings.Contains(f.Message, "changed since")
						if !stays || f.Hint == "" || f.Offset == nil || *f.Offset != 5*chunkSize+7 {
							t.Errorf("%s: got %+v, want \"changed since\" with hint and offset, and no leftover",
								name, f)
						}
					} else if p := j.mustRun(); !p.Verified || p.Chunks.Done != 6 {
						t.Errorf("%s: got %+v, want 6 chunks done and verified", name, p)
					}
					checkContent(t, sink, want)
					if w, d := sink.total(sink.writes), sink.discards; w > 0 || d > 0 || sink.total(sink.reads) < 6 {
						t.Errorf("%s: got %d writes, %d discards, %d reads; want 0, 0 and at least 6",
							name, w, d, sink.total(sink.reads))
					}
					if left := j.store.saved.Plan.Leftover("job", j.spec.Target); left != "" {
						t.Errorf("%s: got leftover %q, want none", name, left)
					}
				})
			}
		}
	}
}

// TestFinishedDriveIsFoundByTags: although the job's record has neither the drive nor its tags.
func TestFinishedDriveIsFoundByTags(t *testing.T) {
	for name, restored := range map[string]transfer.Plan{
		"requested":             {DriveRequested: true},
		"saved":                 {DriveRequested: true, Drive: "uuid", Created: time.Now()},
		"overwritten, no plan":  {},
		"overwritten, no write": {Drive: "old"},
	} {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(6 * chunkSize)
			j, sink := finished(t, image, func(j *job) {
				if restored.DriveRequested {
					j.opener.drive = "uuid"
				}
			})
			j.store.saved = transfer.Checkpoint{Plan: restored}
			sink.data[0]++
			j.mustFail(transfer.CodeExists)
			if n := sink.total(sink.writes); n > 0 {
				t.Errorf("%s: got %d writes, want none", name, n)
			}
		})
	}
}

// TestDriveWithoutItsTagIsNotWritten: a user removes the tag to use the drive. On an endpoint
// without tags its absence means nothing.
func TestDriveWithoutItsTagIsNotWritten(t *testing.T) {
	for _, untagged := range []bool{false, true} {
		for name, change := range driveJobs {
			synctest.Test(t, func(t *testing.T) {
				image, sink := randomBytes(6*chunkSize), newMemImage(make([]byte, 6*chunkSize))
				j := newJob(t, newMemImage(image), sink)
				change(j)
				j.opener.untagged = untagged
				j.takeOver(sink)
				if j.opener.tags = (transfer.TargetTags{}); untagged {
					j.mustRun()
					checkContent(t, sink, image)
					return
				}
				j.mustFail(transfer.CodeExists)
				if n := sink.total(sink.writes); n > 0 {
					t.Errorf("%s: got %d writes, want none", name, n)
				}
			})
		}
	}
}

// TestFinishedDriveIsNotDiscarded: when its source has changed since.
func TestFinishedDriveIsNotDiscarded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, sink := finished(t, randomBytes(6*chunkSize), driveJobs["made"])
		source := newMemImage(randomBytes(5 * chunkSize))
		source.identity = "another"
		j.opener.source = source
		j.mustFail(transfer.CodeSourceChanged)
		if sink.discards > 0 || j.store.saved.Plan.Drive != "uuid" {
			t.Errorf("got %d discards and plan %+v, want 0 and drive \"uuid\"", sink.discards, j.store.saved.Plan)
		}
	})
}

// TestFinishedDriveIsComparedAfterTheWait: bytes of a lost worker may arrive until then.
func TestFinishedDriveIsComparedAfterTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j, sink := finished(t, randomBytes(6*chunkSize), driveJobs["made"])
		j.store.Lease().TookOver(late)
		time.AfterFunc(late-1, func() {
			sink.mu.Lock()
			defer sink.mu.Unlock()
			sink.data[0]++
		})
		j.mustFail(transfer.CodeExists)
	})
}

// TestOverwrittenDriveIsTaggedBeforeItIsWritten: once, unless the endpoint cannot change tags.
func TestOverwrittenDriveIsTaggedBeforeItIsWritten(t *testing.T) {
	for _, code := range []transfer.Code{"", transfer.CodeRefused, transfer.CodeNotFound, transfer.CodeNoSpace} {
		synctest.Test(t, func(t *testing.T) {
			image, sink := randomBytes(6*chunkSize), newMemImage(make([]byte, 6*chunkSize))
			j := newJob(t, newMemImage(image), sink)
			j.opener.open = func(what string, _ int) error {
				if what != "tag incomplete" {
					return nil
				}
				if sink.total(sink.writes) > 0 {
					t.Error("tagged after a write, want before")
				}
				if code != "" {
					return failure(code)
				}
				return nil
			}
			j.takeOver(sink)
			if tagged := j.store.saved.Plan.Tagged; tagged != (code == "") {
				t.Errorf("%q: got Tagged %v in the plan, want %v", code, tagged, code == "")
			}
			j.mustRun()
			checkContent(t, sink, image)
		})
	}
}

// TestNewDriveIsOpenedInOneRoundTrip: its tags are read meanwhile. A sink that was opened when that
// failed is closed.
func TestNewDriveIsOpenedInOneRoundTrip(t *testing.T) {
	for _, fail := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			image, sink := randomBytes(chunkSize), newMemImage(make([]byte, chunkSize))
			j := newJob(t, newMemImage(image), sink)
			j.opener.drive = "new"
			var opened time.Time
			j.opener.open = func(what string, _ int) error {
				switch what {
				case "tags":
					time.Sleep(2 * time.Second)
					if fail {
						return failure(transfer.CodeRefused)
					}
				case "sink":
					time.Sleep(time.Second)
					opened = time.Now()
				}
				return nil
			}
			began := time.Now()
			if fail {
				j.mustFail(transfer.CodeRefused)
				if sink.closes != 1 || sink.total(sink.writes) > 0 {
					t.Errorf("got %d closes and %d writes, want 1 and 0", sink.closes, sink.total(sink.writes))
				}
				return
			}
			j.mustRun()
			if took := opened.Sub(began); took != time.Second {
				t.Errorf("opened after %s, want 1s", took)
			}
		})
	}
}
