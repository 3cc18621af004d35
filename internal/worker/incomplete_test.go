package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/transfer"
)

// TestMarkedCompleteAtTheEnd takes the mark of an incomplete drive off when all else is done, and
// not of one that failed.
func TestMarkedCompleteAtTheEnd(t *testing.T) {
	for _, kind := range []transfer.Kind{transfer.Upload, transfer.Clone} {
		synctest.Test(t, func(t *testing.T) {
			image := noise(3 * chunkSize)
			made := newChunked(image)
			j := newJob(t, newChunked(image), made)
			j.ends.drive = "uuid"
			if kind == transfer.Clone {
				j = newClone(t, image, made)
			}
			j.ends.open = func(what string, _ int) error {
				if what == "tag complete" && !j.store.saved.Progress.Verified {
					t.Errorf("%s: marked as complete before it was verified", kind)
				}
				return nil
			}
			j.mustRun()
			if j.ends.opened["tag complete"] != 1 {
				t.Errorf("%s: marked as complete %d times", kind, j.ends.opened["tag complete"])
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		differs := noise(3 * chunkSize)
		differs[chunkSize]++
		j := newClone(t, noise(3*chunkSize), newChunked(differs))
		j.mustFail(transfer.CodeMismatch)
		if j.ends.opened["tag complete"] != 0 {
			t.Error("a drive that differs is marked as complete")
		}
	})
}

// TestMarkStays is no failure on an endpoint that cannot change what it says of a drive.
func TestMarkStays(t *testing.T) {
	for code, want := range map[transfer.Code]transfer.Code{
		transfer.CodeRefused: "", transfer.CodeNotFound: "", transfer.CodeUnauthorized: transfer.CodeUnauthorized,
	} {
		synctest.Test(t, func(t *testing.T) {
			image := noise(3 * chunkSize)
			j := newJob(t, newChunked(image), newChunked(nil))
			j.ends.drive = "uuid"
			j.ends.open = func(what string, _ int) error {
				if what == "tag complete" {
					return failure(code)
				}
				return nil
			}
			if err := j.run(t.Context(), nil); transfer.CodeOf(err) != want {
				t.Errorf("%s: %v", code, err)
			}
		})
	}
}

// TestNothingLeft is a job whose drive was removed again: nothing that it asked for may still be
// there.
func TestNothingLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newChunked(noise(3 * chunkSize))
		j := newJob(t, &changesLater{source}, newChunked(nil))
		j.ends.drive = "uuid"
		j.mustFail(transfer.CodeSourceChanged)
		plan := j.store.saved.Plan
		if left := plan.Leftover("job", j.spec.Target); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}

// changesLater is a source that has changed when all of it was read.
type changesLater struct{ *chunked }

func (c *changesLater) Unchanged(context.Context) error { return failure(transfer.CodeSourceChanged) }

// TestMayHaveMade keeps looking for a drive only where a call may have made one: not where the
// endpoint refused it.
func TestMayHaveMade(t *testing.T) {
	for code, want := range map[transfer.Code]bool{
		transfer.CodeInvalid: false, transfer.CodeRefused: false,
		transfer.CodeUnauthorized: false, transfer.CodeUnreachable: false,
		transfer.CodeTimeout: true, transfer.CodeServer: true,
		transfer.CodeNetwork: true, transfer.CodeProtocol: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, newChunked(noise(chunkSize)), newChunked(nil))
			j.ends.drive = "uuid"
			j.ends.open = func(what string, n int) error {
				if what != "provision" {
					return nil
				}
				if n > 1 && want {
					return failure(transfer.CodeRefused) // that the last call was refused says nothing of the first one
				}
				return failure(code)
			}
			if err := j.run(t.Context(), nil); err == nil {
				t.Fatalf("%s: no error", code)
			}
			if requested := j.store.saved.Plan.DriveRequested; requested != want {
				t.Errorf("%s: may have made a drive: %v", code, requested)
			}
		})
	}
}

// TestRefusedCallMadeNothing whatever its code is: a page of a proxy with status 403, for example.
func TestRefusedCallMadeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(t, newChunked(noise(chunkSize)), newChunked(nil))
		j.ends.drive = "uuid"
		j.ends.open = func(what string, _ int) error {
			if what != "provision" {
				return nil
			}
			return transfer.Errorf(transfer.CodeProtocol, "", "%w", transfer.NotCarriedOut(errors.New("403")))
		}
		j.mustFail(transfer.CodeProtocol)
		plan := j.store.saved.Plan
		if left := plan.Leftover("job", j.spec.Target); left != "" {
			t.Errorf("left: %s", left)
		}
	})
}
