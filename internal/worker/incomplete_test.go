package worker

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/transfer"
)

// TestDriveIsTaggedCompleteAtTheEnd: when everything else is done, and never after a failure.
func TestDriveIsTaggedCompleteAtTheEnd(t *testing.T) {
	for _, kind := range []transfer.Kind{transfer.Upload, transfer.Clone} {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(3 * chunkSize)
			made := newMemImage(image)
			j := newJob(t, newMemImage(image), made)
			j.opener.drive = "uuid"
			if kind == transfer.Clone {
				j = newClone(t, image, made)
			}
			j.opener.open = func(what string, _ int) error {
				if what == "tag complete" && !j.store.saved.Progress.Verified {
					t.Errorf("%s: tagged as complete before it was verified, want after", kind)
				}
				return nil
			}
			j.mustRun()
			if j.opener.opened["tag complete"] != 1 {
				t.Errorf("%s: tagged as complete %d times, want once", kind, j.opener.opened["tag complete"])
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		differs := randomBytes(3 * chunkSize)
		differs[chunkSize]++
		j := newClone(t, randomBytes(3*chunkSize), newMemImage(differs))
		j.mustFail(transfer.CodeMismatch)
		if j.opener.opened["tag complete"] != 0 {
			t.Error("a drive that differs was tagged as complete, want that it is not")
		}
	})
}

// TestTagsThatCannotChangeAreNoFailure: on an endpoint that rejects the change.
func TestTagsThatCannotChangeAreNoFailure(t *testing.T) {
	for code, want := range map[transfer.Code]transfer.Code{
		transfer.CodeRefused: "", transfer.CodeNotFound: "", transfer.CodeUnauthorized: transfer.CodeUnauthorized,
	} {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(3 * chunkSize)
			j := newJob(t, newMemImage(image), newMemImage(nil))
			j.opener.drive = "uuid"
			j.opener.open = func(what string, _ int) error {
				if what == "tag complete" {
					return failure(code)
				}
				return nil
			}
			if err := j.run(t.Context(), nil); transfer.CodeOf(err) != want {
				t.Errorf("%s: got %v, want code %q", code, err, want)
			}
		})
	}
}

// TestRemovedDriveIsNoLeftover: a job whose drive was removed leaves nothing.
func TestRemovedDriveIsNoLeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := newMemImage(randomBytes(3 * chunkSize))
		j := newJob(t, changing{source}, newMemImage(nil))
		j.opener.drive = "uuid"
		j.mustFail(transfer.CodeSourceChanged)
		plan := j.store.saved.Plan
		if left := plan.Leftover("job", j.spec.Target); left != "" {
			t.Errorf("got leftover %q, want none", left)
		}
	})
}

// TestDriveIsSearchedOnlyIfACallMayHaveMadeIt: not after a call that the endpoint rejected.
func TestDriveIsSearchedOnlyIfACallMayHaveMadeIt(t *testing.T) {
	for code, want := range map[transfer.Code]bool{
		transfer.CodeInvalid: false, transfer.CodeRefused: false,
		transfer.CodeUnauthorized: false, transfer.CodeUnreachable: false,
		transfer.CodeTimeout: true, transfer.CodeServer: true,
		transfer.CodeNetwork: true, transfer.CodeProtocol: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, newMemImage(randomBytes(chunkSize)), newMemImage(nil))
			j.opener.drive = "uuid"
			j.opener.open = func(what string, n int) error {
				if what != "provision" {
					return nil
				}
				if n > 1 && want {
					// The last call was rejected, but the first one may have made a drive.
					return failure(transfer.CodeRefused)
				}
				return failure(code)
			}
			if err := j.run(t.Context(), nil); err == nil {
				t.Fatalf("%s: got no error, want one", code)
			}
			if requested := j.store.saved.Plan.DriveRequested; requested != want {
				t.Errorf("%s: got DriveRequested %v, want %v", code, requested, want)
			}
		})
	}
}

// TestRejectedCallMadeNothing: whatever its code, such as that of a proxy's page with status 403.
func TestRejectedCallMadeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(t, newMemImage(randomBytes(chunkSize)), newMemImage(nil))
		j.opener.drive = "uuid"
		j.opener.open = func(what string, _ int) error {
			if what != "provision" {
				return nil
			}
			return transfer.Errorf(transfer.CodeProtocol, "", "%w", transfer.NotCarriedOut(errors.New("403")))
		}
		j.mustFail(transfer.CodeProtocol)
		plan := j.store.saved.Plan
		if left := plan.Leftover("job", j.spec.Target); left != "" {
			t.Errorf("got leftover %q, want none", left)
		}
	})
}
