package transfer

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSetTimesSetsSecondsAndRate: a worker's rate stays only while the job runs.
func TestSetTimesSetsSecondsAndRate(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	end := start.Add(4 * time.Second)
	for name, tc := range map[string]struct {
		job           Job
		now           time.Time
		seconds, rate float64
	}{
		"not started":  {Job{}, end, 0, 0},
		"running":      {Job{State: Running, StartedAt: &start}, start.Add(2 * time.Second), 2, 7},
		"queued again": {Job{State: Queued, StartedAt: &start}, start.Add(2 * time.Second), 2, 0},
		"finished":     {Job{StartedAt: &start, FinishedAt: &end}, end.Add(time.Hour), 4, 200},
	} {
		j := tc.job
		j.Bytes.Read, j.Rate = 800, 7 // as measured by the worker
		if j.SetTimes(tc.now); j.Seconds != tc.seconds || j.Rate != tc.rate {
			t.Errorf("%s: got %v s and %v B/s, want %v and %v", name, j.Seconds, j.Rate, tc.seconds, tc.rate)
		}
	}
}

// TestNewJobIsQueuedAndShowsNoSecret: it has the target's endpoint, or else the source's.
func TestNewJobIsQueuedAndShowsNoSecret(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 678_901_234, time.FixedZone("", 3600))
	for _, tc := range []struct {
		spec            Spec
		endpoint, drive string
	}{
		{NewSpec(Upload, web, newDrive), "zrh", ""},
		{NewSpec(Upload, image, drive), "zrh", uuidA},
		{NewSpec(Download, drive, image), "zrh", uuidA},
		{NewSpec(Clone, drive, Ref{Endpoint: "lvs"}), "lvs", ""},
		{NewSpec(Verify, drive, image), "zrh", uuidA},
	} {
		j := NewJob("id", &tc.spec, now)
		if j.ID != "id" || j.Kind != tc.spec.Kind || j.State != Queued || j.Endpoint != tc.endpoint ||
			j.Drive != tc.drive || j.Queue != DefaultQueue || j.Priority != PriorityDefault {
			t.Errorf("got %+v, want a queued %s of drive %q on %s", j, tc.spec.Kind, tc.drive, tc.endpoint)
		}
		if strings.Contains(j.Source+j.Target, "secret") {
			t.Errorf("got %s → %s, want no secret", j.Source, j.Target)
		}
		if got, _ := j.CreatedAt.MarshalText(); string(got) != "2026-01-02T02:04:05.678Z" {
			t.Errorf("created at %s, want 2026-01-02T02:04:05.678Z", got)
		}
	}
}

// TestEndedJobsAreTerminal, and no others.
func TestEndedJobsAreTerminal(t *testing.T) {
	for state, want := range map[State]bool{
		Queued: false, Running: false, Succeeded: true, Failed: true, Canceled: true, "": false,
	} {
		if state.Terminal() != want {
			t.Errorf("%q: got %t, want %t", state, !want, want)
		}
	}
}

// TestJobJSONHasItsFields: scripts rely on them.
func TestJobJSONHasItsFields(t *testing.T) {
	at := time.Unix(0, 0).UTC()
	off := int64(1)
	full := Job{
		Progress: Progress{
			Drive: uuidA, Warnings: []string{"w"},
			Digest: JobDigest{Algorithm: "blake3", Image: "i", ChunksRoot: "r"},
		},
		Worker: "w", StartedAt: &at, FinishedAt: &at, Error: &Failure{Offset: &off},
	}
	b, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	for at, fields := range map[string]string{
		"": "id kind state source target endpoint drive size chunks bytes retries digest verified attempts worker " +
			"created_at started_at finished_at seconds rate error warnings",
		"chunks":  "total done zero sent verified",
		"bytes":   "read wire_out wire_in",
		"retries": "conflict timeout server network mismatch",
		"digest":  "algorithm image_sha256 chunks_root",
		"error":   "code message offset",
	} {
		object := got
		if at != "" {
			object, _ = got[at].(map[string]any)
		}
		for _, f := range strings.Fields(fields) {
			if _, ok := object[f]; !ok {
				t.Errorf("%s: got fields %v, want %q too", at, slices.Sorted(maps.Keys(object)), f)
			}
		}
	}
	if s, ok := got["created_at"].(string); !ok || !strings.HasSuffix(s, "Z") {
		t.Errorf("got created_at %v, want it in UTC", got["created_at"])
	}
}

func TestRetriesSumHasAllCauses(t *testing.T) {
	if n := (Retries{Conflict: 1, Timeout: 20, Server: 300, Network: 4000, Mismatch: 50000}).Sum(); n != 54321 {
		t.Errorf("got %d, want 54321", n)
	}
}
