// Package status is the daemon's HTTP face: its health, and the jobs of the queue as JSON. It only reads.
package status

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/transferd/transferd/internal/transfer"
)

// Jobs is what the face shows. It is used concurrently.
type Jobs interface {
	// Job is one job; CodeNotFound if there is none.
	Job(ctx context.Context, id string) (transfer.Job, error)
	// Recent is up to limit jobs, the newest first.
	Recent(ctx context.Context, limit int) ([]transfer.Job, error)
	// Ping reaches the queue, at no cost to it.
	Ping(ctx context.Context) error
}

const (
	defaultLimit = 100
	maxLimit     = 10_000
)

// NewHandler serves GET /healthz, GET /jobs?limit=N and GET /jobs/ID. An error is an object with code, message and hint.
func NewHandler(jobs Jobs) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		err := jobs.Ping(r.Context())
		if err != nil { // whose text has addresses, and anybody may ask
			err = transfer.Errorf(transfer.CodeUnreachable, "transferd's log says more", "the queue cannot be reached")
		}
		answer(w, map[string]string{"status": "ok"}, err)
	})
	mux.HandleFunc("GET /jobs", func(w http.ResponseWriter, r *http.Request) {
		limit, err := parseLimit(r.FormValue("limit"))
		if err != nil {
			answer(w, nil, err)
			return
		}
		list, err := jobs.Recent(r.Context(), limit)
		if list == nil {
			list = []transfer.Job{}
		}
		answer(w, list, err)
	})
	mux.HandleFunc("GET /jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		job, err := jobs.Job(r.Context(), r.PathValue("id"))
		answer(w, job, err)
	})
	return mux
}

func parseLimit(s string) (int, error) {
	if s == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit {
		return 0, transfer.Errorf(transfer.CodeInvalid, "use 1 to "+strconv.Itoa(maxLimit), "limit: %q is not a number of jobs", s)
	}
	return n, nil
}

func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(transfer.CodeOf(err).HTTPStatus())
		v = transfer.FailureOf(err)
	}
	// The client has gone if this fails; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(v)
}
