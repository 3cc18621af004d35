package status

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// fakeJobs is a queue of the given jobs.
type fakeJobs []transfer.Job

func (f fakeJobs) Job(_ context.Context, id string) (transfer.Job, error) {
	for _, j := range f {
		if j.ID == id {
			return j, nil
		}
	}
	return transfer.Job{}, transfer.Errorf(transfer.CodeNotFound, "look at the list", "there is no job %s", id)
}

func (f fakeJobs) Recent(_ context.Context, limit int) ([]transfer.Job, error) {
	if f == nil {
		return nil, transfer.Errorf(transfer.CodeUnreachable, "", "the queue is away")
	}
	return f[:min(limit, len(f))], nil
}

func (f fakeJobs) Ping(context.Context) error {
	if f == nil {
		return transfer.Errorf(transfer.CodeUnreachable, "", "dial tcp 10.0.0.7:6379: connection refused")
	}
	return nil
}

func TestHandler(t *testing.T) {
	two := fakeJobs{{ID: "a", State: transfer.Running}, {ID: "b", State: transfer.Queued}}
	for _, tc := range []struct {
		name, method, path string
		jobs               fakeJobs
		status             int
		want               string
	}{
		{"healthy", "GET", "/healthz", two, 200, `{"status":"ok"}`},
		{"queue away", "GET", "/healthz", nil, 502, `{"code":"unreachable","message":"the queue cannot be reached","hint":"transferd's log says more"}`},
		{"no list", "GET", "/jobs", nil, 502, `{"code":"unreachable","message":"the queue is away"}`},
		{"bad limit", "GET", "/jobs?limit=0", two, 400, `{"code":"invalid","message":"limit: \"0\" is not a number of jobs","hint":"use 1 to 10000"}`},
		{"no job", "GET", "/jobs/c", two, 404, `{"code":"not_found","message":"there is no job c","hint":"look at the list"}`},
		{"writing", "POST", "/jobs", two, 405, ""},
		{"elsewhere", "GET", "/", two, 404, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			NewHandler(tc.jobs).ServeHTTP(w, httptest.NewRequest(tc.method, tc.path, http.NoBody))
			if w.Code != tc.status {
				t.Errorf("status %d, not %d", w.Code, tc.status)
			}
			if tc.want != "" && w.Body.String() != tc.want+"\n" {
				t.Errorf("body %s, not %s", w.Body, tc.want)
			}
		})
	}
}

func TestJobsAreShownAsTheCommandLineShowsThem(t *testing.T) {
	h := NewHandler(fakeJobs{{ID: "a", State: transfer.Running}, {ID: "b", State: transfer.Queued}})
	for path, want := range map[string]int{"/jobs": 2, "/jobs?limit=1": 1} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, http.NoBody))
		var jobs []transfer.Job
		if err := json.Unmarshal(w.Body.Bytes(), &jobs); err != nil || len(jobs) != want || jobs[0].ID != "a" {
			t.Errorf("%s: %d jobs, %v: %s", path, len(jobs), err, w.Body)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/jobs/b", http.NoBody))
	var job transfer.Job
	if err := json.Unmarshal(w.Body.Bytes(), &job); err != nil || job.State != transfer.Queued {
		t.Errorf("one job: %v: %s", err, w.Body)
	}
}
