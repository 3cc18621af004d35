// Package status is the daemon's status API over HTTP: its health, and the jobs of the queue as
// JSON. It only reads.
package status

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/transferd/transferd/internal/transfer"
)

// Jobs is the queue that the status API shows. It is used concurrently.
type Jobs interface {
	// Job is one job; CodeNotFound if there is none.
	Job(ctx context.Context, id string) (transfer.Job, error)
	// Newest are up to limit jobs in the given states, or in any state if none are given, newest
	// first. truncated: there are more.
	Newest(ctx context.Context, states []transfer.State, limit int) (jobs []transfer.Job, truncated bool, err error)
	// Ping checks that the queue can be reached.
	Ping(ctx context.Context) error
}

const (
	defaultLimit = 100
	maxLimit     = 10_000
)

// truncatedHeader marks a list that is not complete.
const truncatedHeader = "X-Truncated"

// NewHandler serves GET /healthz, GET /jobs?limit=N&state=S and GET /jobs/ID. A list that is not
// complete has the header X-Truncated: true. An error is an object with code, message and hint.
func NewHandler(jobs Jobs) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		err := jobs.Ping(r.Context())
		if err != nil { // its text has addresses, and /healthz needs no token
			err = transfer.Errorf(transfer.CodeUnreachable, "read transferd's log", "the queue cannot be reached")
		}
		respond(w, map[string]string{"status": "ok"}, err)
	})
	mux.HandleFunc("GET /jobs", func(w http.ResponseWriter, r *http.Request) {
		query, err := readQuery(r, "limit", "state")
		var limit int
		if err == nil {
			limit, err = parseLimit(query.Get("limit"))
		}
		var states []transfer.State
		if err == nil {
			states, err = transfer.ParseStates(query["state"])
		}
		if err != nil {
			respond(w, nil, err)
			return
		}
		list, truncated, err := jobs.Newest(r.Context(), states, limit)
		if truncated {
			w.Header().Set(truncatedHeader, "true")
		}
		if list == nil {
			list = []transfer.Job{}
		}
		respond(w, list, err)
	})
	mux.HandleFunc("GET /jobs/{id}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := readQuery(r); err != nil {
			respond(w, nil, err)
			return
		}
		job, err := jobs.Job(r.Context(), r.PathValue("id"))
		respond(w, job, err)
	})
	return mux
}

// readQuery parses the query, and refuses unknown parameters: a mistyped one would give the
// response to another request.
func readQuery(r *http.Request, known ...string) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, transfer.Errorf(transfer.CodeInvalid, "write ?name=value&name=value", "the query is malformed")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		switch n := len(query[name]); {
		case n > 1:
			return nil, transfer.Errorf(transfer.CodeInvalid, "give it once",
				"the parameter %q is given %d times", name, n)
		case slices.Contains(known, name):
			continue
		}
		hint := "leave it out"
		if len(known) > 0 {
			hint = "use " + strings.Join(known, " or ")
		}
		return nil, transfer.Errorf(transfer.CodeInvalid, hint, "unknown parameter %q", name)
	}
	return query, nil
}

func parseLimit(s string) (int, error) {
	if s == "" {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxLimit {
		return 0, transfer.Errorf(transfer.CodeInvalid, "use 1 to "+strconv.Itoa(maxLimit),
			"limit: %q is not a number of jobs", s)
	}
	return n, nil
}

func respond(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(transfer.CodeOf(err).HTTPStatus())
		v = transfer.FailureOf(err)
	}
	// An error means that the client is gone.
	_ = json.NewEncoder(w).Encode(v)
}
