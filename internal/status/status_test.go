package status

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// fakeJobs is a queue of jobs; nil: one that cannot be reached.
type fakeJobs []transfer.Job

func (f fakeJobs) Job(_ context.Context, id string) (transfer.Job, error) {
	for _, j := range f {
		if j.ID == id {
			return j, nil
		}
	}
	return transfer.Job{}, transfer.Errorf(transfer.CodeNotFound, "look at the list", "there is no job %s", id)
}

func (f fakeJobs) Newest(_ context.Context, states []transfer.State, limit int) ([]transfer.Job, bool, error) {
	if f == nil {
		return nil, false, transfer.Errorf(transfer.CodeUnreachable, "", "the queue cannot be reached")
	}
	var found []transfer.Job
	for _, j := range f {
		if len(states) == 0 || slices.Contains(states, j.State) {
			found = append(found, j)
		}
	}
	return found[:min(limit, len(found))], len(found) > limit, nil
}

func (f fakeJobs) Ping(context.Context) error {
	if f == nil {
		return transfer.Errorf(transfer.CodeUnreachable, "", "dial tcp 10.0.0.7:6379: connection refused")
	}
	return nil
}

func TestResponsesHaveStatusAndJSON(t *testing.T) {
	two := fakeJobs{{ID: "a", State: transfer.Running}, {ID: "b", State: transfer.Queued}}
	for _, tc := range []struct {
		name, method, path string
		jobs               fakeJobs
		status             int
		want               string
	}{
		{"healthy", "GET", "/healthz", two, 200, `{"status":"ok"}`},
		{
			"queue unreachable", "GET", "/healthz", nil, 502,
			`{"code":"unreachable","message":"the queue cannot be reached","hint":"read transferd's log"}`,
		},
		{"no list", "GET", "/jobs", nil, 502, `{"code":"unreachable","message":"the queue cannot be reached"}`},
		{
			"bad limit", "GET", "/jobs?limit=0", two, 400,
			`{"code":"invalid","message":"limit: \"0\" is not a number of jobs","hint":"use 1 to 10000"}`,
		},
		{
			"an unknown parameter", "GET", "/jobs?limits=1", two, 400,
			`{"code":"invalid","message":"unknown parameter \"limits\"","hint":"use limit or state"}`,
		},
		{
			"a parameter of one job", "GET", "/jobs/a?limit=1", two, 400,
			`{"code":"invalid","message":"unknown parameter \"limit\"","hint":"leave it out"}`,
		},
		{
			"a parameter twice", "GET", "/jobs?state=queued&state=failed", two, 400,
			`{"code":"invalid","message":"the parameter \"state\" is given 2 times","hint":"give it once"}`,
		},
		{
			"a malformed query", "GET", "/jobs?limit=%zz", two, 400,
			`{"code":"invalid","message":"the query is malformed","hint":"write ?name=value\u0026name=value"}`,
		},
		{
			"an unknown state", "GET", "/jobs?state=paused", two, 400,
			`{"code":"invalid","message":"state: \"paused\" is not a state",` +
				`"hint":"use queued, running, succeeded, failed or canceled"}`,
		},
		{
			"no job", "GET", "/jobs/c", two, 404,
			`{"code":"not_found","message":"there is no job c","hint":"look at the list"}`,
		},
		{"writing", "POST", "/jobs", two, 405, ""},
		{"elsewhere", "GET", "/", two, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			NewHandler(tc.jobs).ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, http.NoBody))
			if w.Code != tc.status {
				t.Errorf("got status %d, want %d", w.Code, tc.status)
			}
			if tc.want != "" && w.Body.String() != tc.want+"\n" {
				t.Errorf("got body %s, want %s", w.Body, tc.want)
			}
		})
	}
}

func TestJobsAreShownAsTheCommandLineShowsThem(t *testing.T) {
	h := NewHandler(fakeJobs{{ID: "a", State: transfer.Running}, {ID: "b", State: transfer.Queued}})
	for path, want := range map[string]int{
		"/jobs": 2, "/jobs?limit=1": 1, "/jobs?limit=2": 2, "/jobs?state=running,failed": 1,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, http.NoBody))
		var jobs []transfer.Job
		if err := json.Unmarshal(w.Body.Bytes(), &jobs); err != nil || len(jobs) != want || jobs[0].ID != "a" {
			t.Errorf("%s: got %d jobs, %v, want %d: %s", path, len(jobs), err, want, w.Body)
		}
		if truncated := w.Header().Get("X-Truncated"); (truncated == "true") != (path == "/jobs?limit=1") {
			t.Errorf("%s: got X-Truncated %q", path, truncated)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/jobs/b", http.NoBody))
	var job transfer.Job
	if err := json.Unmarshal(w.Body.Bytes(), &job); err != nil || job.State != transfer.Queued {
		t.Errorf("one job: got %v: %s, want a queued one", err, w.Body)
	}
}
