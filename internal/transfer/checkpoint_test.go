package transfer

import (
	"math"
	"testing"
)

// TestValidateAcceptsWhatAttemptsSave, and rejects impossible sizes and chunks.
func TestValidateAcceptsWhatAttemptsSave(t *testing.T) {
	for name, tc := range map[string]struct {
		at Checkpoint
		ok bool
	}{
		"of a new job":         {Checkpoint{}, true},
		"of a requested drive": {Checkpoint{Plan: Plan{DriveRequested: true}}, true},
		"after the first chunks": {
			Checkpoint{Plan: Plan{ChunkSize: 4 << 20, Size: 10 << 40}, Entries: []Entry{{Index: 0}, {Index: 9}}},
			true,
		},
		"of a stream": {Checkpoint{Plan: Plan{ChunkSize: 4096}, Entries: []Entry{{Index: 1 << 40}}}, true},
		"of a tail": {
			Checkpoint{Plan: Plan{ChunkSize: 4096}, Entries: []Entry{{Index: TailIndex + 9}}},
			true,
		},
		"negative chunks": {Checkpoint{Plan: Plan{ChunkSize: -4096}}, false},
		"odd chunks":      {Checkpoint{Plan: Plan{ChunkSize: 4097}}, false},
		"huge chunks":     {Checkpoint{Plan: Plan{ChunkSize: 1 << 30}}, false},
		"negative size":   {Checkpoint{Plan: Plan{ChunkSize: 4096, Size: -1}}, false},
		"huge size":       {Checkpoint{Plan: Plan{ChunkSize: 4096, Size: math.MaxInt64}}, false},
		"negative index":  {Checkpoint{Plan: Plan{ChunkSize: 4096}, Entries: []Entry{{Index: -1}}}, false},
		"huge index": {
			Checkpoint{Plan: Plan{ChunkSize: 4 << 20}, Entries: []Entry{{Index: math.MaxInt64 / 4096}}},
			false,
		},
		"huge index, no plan": {Checkpoint{Entries: []Entry{{Index: math.MaxInt64}}}, false},
	} {
		if err := tc.at.Validate(); (err == nil) != tc.ok || !tc.ok && CodeOf(err) != CodeInvalid {
			t.Errorf("%s: got %v, want valid %t", name, err, tc.ok)
		}
	}
}
