package worker

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/transfer"
)

// TestDifferenceOnADriveInUse: the error says that a server uses the drive, and not that the data
// was stored wrong.
func TestDifferenceOnADriveInUse(t *testing.T) {
	old, origin := transfer.Ref{Endpoint: "e", Drive: "old"}, transfer.Ref{Endpoint: "e", Drive: "origin"}
	for name, used := range map[string]transfer.Ref{"target": old, "source": origin, "none": {}} {
		synctest.Test(t, func(t *testing.T) {
			j := newJob(t, newMemImage(randomBytes(3*chunkSize)), newMemImage(make([]byte, 3*chunkSize)))
			j.spec.Kind, j.spec.Source = transfer.Verify, origin
			j.opener.users = map[transfer.Ref][]string{used: {"server-1"}}
			f := j.mustFail(transfer.CodeMismatch)
			named := strings.Contains(f.Message, "drive "+used.Drive+" is in use by server-1: ")
			stored := strings.Contains(f.Hint, "do not use the drive")
			if named != (name != "none") || named == stored || f.Offset == nil {
				t.Errorf("%s: got %+v, want the server only for a drive in use, and an offset", name, f)
			}
		})
	}
}
