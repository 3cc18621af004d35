package status

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestGuard lets through only requests that may come.
func TestGuard(t *testing.T) {
	const token = "0123456789abcdef"
	open, kept := Guard{}, Guard{Token: token, Hosts: []string{"jobs.example.com"}}
	for name, tc := range map[string]struct {
		guard  Guard
		path   string
		host   string
		header http.Header
		status int
	}{
		"near":                    {open, "/jobs", "127.0.0.1:7410", nil, 200},
		"near, by name":           {open, "/jobs", "localhost:7410", nil, 200},
		"near, IPv6":              {open, "/jobs", "[::1]:7410", nil, 200},
		"near, IPv6, no port":     {open, "/jobs", "[::1]", nil, 200},
		"another name":            {open, "/jobs", "evil.example.com:7410", nil, 403},
		"another name, health":    {open, "/healthz", "evil.example.com", nil, 403},
		"no name":                 {open, "/jobs", "", nil, 403},
		"own page":                {open, "/jobs", "127.0.0.1:7410", http.Header{"Origin": {"http://127.0.0.1:7410"}, "Sec-Fetch-Site": {"same-origin"}}, 200},
		"another page":            {open, "/jobs", "127.0.0.1:7410", http.Header{"Origin": {"http://evil.example.com"}}, 403},
		"another port's page":     {open, "/jobs", "127.0.0.1:7410", http.Header{"Origin": {"http://127.0.0.1:80"}}, 403},
		"a page without a name":   {open, "/jobs", "127.0.0.1:7410", http.Header{"Origin": {"null"}}, 403},
		"an image of a page":      {open, "/jobs", "127.0.0.1:7410", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		"typed by hand":           {open, "/jobs", "127.0.0.1:7410", http.Header{"Sec-Fetch-Site": {"none"}}, 200},
		"no token":                {kept, "/jobs", "jobs.example.com", nil, 401},
		"no token, no job":        {kept, "/nothing", "jobs.example.com", nil, 401},
		"health without a token":  {kept, "/healthz", "10.0.0.1:7410", nil, 200},
		"token":                   {kept, "/jobs", "JOBS.example.com:7410", http.Header{"Authorization": {"bearer " + token}}, 200},
		"wrong token":             {kept, "/jobs", "jobs.example.com", http.Header{"Authorization": {"Bearer " + token + "0"}}, 401},
		"half a token":            {kept, "/jobs", "jobs.example.com", http.Header{"Authorization": {"Bearer " + token[:8]}}, 401},
		"empty token":             {kept, "/jobs", "jobs.example.com", http.Header{"Authorization": {"Bearer "}}, 401},
		"token as password":       {kept, "/jobs", "jobs.example.com", http.Header{"Authorization": {"Basic " + token}}, 401},
		"token for another name":  {kept, "/jobs", "evil.example.com", http.Header{"Authorization": {"Bearer " + token}}, 403},
		"token, but another page": {kept, "/jobs", "jobs.example.com", http.Header{"Authorization": {"Bearer " + token}, "Origin": {"https://evil.example.com"}}, 403},
	} {
		r := httptest.NewRequest(http.MethodGet, tc.path, http.NoBody)
		r.Host = tc.host
		for key, values := range tc.header {
			r.Header[key] = values
		}
		w := httptest.NewRecorder()
		tc.guard.Wrap(NewHandler(fakeJobs{{ID: "a", State: transfer.Queued}})).ServeHTTP(w, r)
		if w.Code != tc.status {
			t.Errorf("%s: %d %s, not %d", name, w.Code, w.Body, tc.status)
		}
		if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %d with WWW-Authenticate: %q", name, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
}
