package worker

import (
	"context"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// claimStore is a Claimer. It calls fail with the number of the claim, from 1.
type claimStore struct {
	*memoryStore
	claims []transfer.Claim
	marks  map[string]string // by drive
	fail   func(n int) error
}

func (s *claimStore) Claim(_ context.Context, c transfer.Claim) (last string, err error) {
	if s.marks == nil {
		s.marks = make(map[string]string)
	}
	last = s.marks[c.Drive]
	if err := s.fail(len(s.claims) + 1); err != nil {
		s.claims = append(s.claims, c)
		return "", err
	}
	if c.Writes() {
		s.marks[c.Drive], c.Mark = c.Mark, "mark" // the real one is random
	}
	s.claims = append(s.claims, c)
	return last, nil
}

func runWithClaims(t *testing.T, j *job, s *claimStore) error {
	t.Helper()
	s.memoryStore = j.store
	return j.runWith(t.Context(), nil, j.opener, s)
}

// TestDrivesAreClaimedBeforeTheyAreUsed: an existing drive before it is opened, a new one before it
// is written.
func TestDrivesAreClaimedBeforeTheyAreUsed(t *testing.T) {
	from, to := transfer.Ref{Endpoint: "a", Drive: "one"}, transfer.Ref{Endpoint: "b", Drive: "two"}
	read, write := transfer.Claim{Endpoint: "a", Drive: "one"},
		transfer.Claim{Endpoint: "b", Drive: "two", Mark: "mark"}
	for name, tc := range map[string]struct {
		kind           transfer.Kind
		source, target transfer.Ref
		want           []transfer.Claim
	}{
		"upload": {transfer.Upload, transfer.Ref{Path: "/x"}, to, []transfer.Claim{write}},
		"upload to new": {transfer.Upload, transfer.Ref{Path: "/x"}, transfer.Ref{Endpoint: "b"},
			[]transfer.Claim{write}},
		"download": {transfer.Download, from, transfer.Ref{Path: "/x"}, []transfer.Claim{read}},
		"verify":   {transfer.Verify, transfer.Ref{Path: "/x"}, from, []transfer.Claim{read}},
		"clone":    {transfer.Clone, from, transfer.Ref{Endpoint: "b"}, []transfer.Claim{read, write}},
		"clone in place": {transfer.Clone, transfer.Ref{Endpoint: "b", Drive: "one"}, transfer.Ref{Endpoint: "b"},
			[]transfer.Claim{{Endpoint: "b", Drive: "one"}, write}},
	} {
		t.Run(name, func(t *testing.T) {
			data := randomBytes(10)
			sink := newMemImage(slices.Clone(data))
			j := newJob(t, newMemImage(data), sink)
			j.spec.Kind, j.spec.Source, j.spec.Target = tc.kind, tc.source, tc.target
			if tc.target.Endpoint != "" && tc.target.Drive == "" {
				j.opener.drive = "two"
			}
			s := &claimStore{fail: func(int) error { return nil }}
			sink.onWrite = func(context.Context, transfer.Chunk, int) error {
				if !reflect.DeepEqual(s.claims, tc.want) {
					t.Errorf("at the first write: got claims %v, want %v", s.claims, tc.want)
				}
				return nil
			}
			if err := runWithClaims(t, j, s); err != nil || !reflect.DeepEqual(s.claims, tc.want) {
				t.Errorf("got claims %v and error %v, want claims %v", s.claims, err, tc.want)
			}
		})
	}
}

// TestClaimWaitsForAnotherJob: as long as the policy allows for a busy drive.
func TestClaimWaitsForAnotherJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJob(t, newMemImage(randomBytes(10)), newMemImage(make([]byte, 10)))
		j.spec.Target.Drive = "two"
		free := time.Now().Add(5 * time.Minute)
		busy := func(int) error {
			if time.Now().Before(free) {
				return failure(transfer.CodeConflict)
			}
			return nil
		}
		if err := runWithClaims(t, j, &claimStore{fail: busy}); err != nil {
			t.Errorf("busy for 5m: got %v, want no error", err)
		}
		free = time.Now().Add(time.Hour)
		if err := runWithClaims(t, j, &claimStore{fail: busy}); transfer.CodeOf(err) != transfer.CodeConflict {
			t.Errorf("busy for 1h: got %v, want code %s", err, transfer.CodeConflict)
		}
	})
}
