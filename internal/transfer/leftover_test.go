package transfer

import (
	"testing"
	"time"
)

// TestNoteLeftover names the drive that a job leaves, whatever ended it, and no drive that was
// there before.
func TestNoteLeftover(t *testing.T) {
	fresh, old := Ref{Endpoint: "zrh"}, Ref{Endpoint: "zrh", Drive: "u"}
	made := Plan{DriveRequested: true, Drive: "u", Created: time.Now()}
	for name, tc := range map[string]struct {
		state  State
		target Ref
		plan   Plan
		want   string
	}{
		"failed":   {Failed, fresh, made, "why; drive zrh:u stays, incomplete"},
		"canceled": {Canceled, fresh, made, "why; drive zrh:u stays, incomplete"},
		"no answer": {
			Failed, fresh, Plan{DriveRequested: true},
			"why; zrh may have made a drive, which then has the tag transferd:job",
		},
		"nothing made": {Failed, fresh, Plan{}, "why"},
		"an old drive": {Failed, old, Plan{Drive: "u"}, "why"},
		"overwritten": {
			Failed, old, Plan{Drive: "u", ChunkSize: 4096},
			"why; drive zrh:u may be overwritten in part",
		},
		"a file":              {Failed, Ref{Path: "/a"}, Plan{}, "why"},
		"will be tried again": {Running, fresh, made, "why"},
	} {
		failure := &Failure{Message: "why", Hint: "hint"}
		j := Job{ID: "job", State: tc.state, Error: failure}
		j.NoteLeftover(&Spec{Target: tc.target}, &tc.plan, "remedy")
		left := tc.want != "why" && tc.target == fresh
		if j.Error.Message != tc.want || j.DriveLeft != left || (j.Error.Hint == "hint; remedy") != left {
			t.Errorf("%s: %+v, left %v", name, j.Error, j.DriveLeft)
		}
		if failure.Message != "why" {
			t.Errorf("%s: the record's own error became %q", name, failure.Message)
		}
	}
}

func TestMakerOf(t *testing.T) {
	for _, tc := range []struct {
		tags []string
		want string
	}{
		{[]string{"a", "transferd:job", "transferd:incomplete"}, "job"},
		{[]string{"transferd:incomplete"}, ""},
		{[]string{"transferd:job", "transferd:overwriting:other"}, "job"},
		{nil, ""},
		{[]string{"transferd:"}, ""},
	} {
		if got := MakerOf(tc.tags); got != tc.want {
			t.Errorf("%q: %q", tc.tags, got)
		}
	}
}
