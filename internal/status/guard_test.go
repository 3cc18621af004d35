package status

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestGuardPassesOnlyAllowedRequests: a wrong host, another site's page and a wrong token are
// refused.
func TestGuardPassesOnlyAllowedRequests(t *testing.T) {
	const token = "0123456789abcdef"
	open, guarded := Guard{}, Guard{Token: token, Hosts: []string{"jobs.example.com"}}
	const (
		self  = "127.0.0.1:7410"
		other = "evil.example.com"
		named = "jobs.example.com"
	)
	header := func(pairs ...string) http.Header {
		h := make(http.Header)
		for pair := range slices.Chunk(pairs, 2) {
			h.Set(pair[0], pair[1])
		}
		return h
	}
	for name, tc := range map[string]struct {
		guard  Guard
		path   string
		host   string
		header http.Header
		status int
	}{
		"loopback":                {open, "/jobs", self, nil, 200},
		"loopback, by name":       {open, "/jobs", "localhost:7410", nil, 200},
		"loopback, IPv6":          {open, "/jobs", "[::1]:7410", nil, 200},
		"loopback, IPv6, no port": {open, "/jobs", "[::1]", nil, 200},
		"another name":            {open, "/jobs", other + ":7410", nil, 403},
		"another name, health":    {open, "/healthz", other, nil, 403},
		"no name":                 {open, "/jobs", "", nil, 403},
		"own page": {
			open, "/jobs", self,
			header("Origin", "http://"+self, "Sec-Fetch-Site", "same-origin"), 200,
		},
		"another page":           {open, "/jobs", self, header("Origin", "http://"+other), 403},
		"another port's page":    {open, "/jobs", self, header("Origin", "http://127.0.0.1:80"), 403},
		"a page without a name":  {open, "/jobs", self, header("Origin", "null"), 403},
		"an image of a page":     {open, "/jobs", self, header("Sec-Fetch-Site", "cross-site"), 403},
		"typed by hand":          {open, "/jobs", self, header("Sec-Fetch-Site", "none"), 200},
		"no token":               {guarded, "/jobs", named, nil, 401},
		"no token, no job":       {guarded, "/nothing", named, nil, 401},
		"health without a token": {guarded, "/healthz", "10.0.0.1:7410", nil, 200},
		"token":                  {guarded, "/jobs", "JOBS.example.com", header("Authorization", "bearer "+token), 200},
		"wrong token":            {guarded, "/jobs", named, header("Authorization", "Bearer "+token+"0"), 401},
		"half a token":           {guarded, "/jobs", named, header("Authorization", "Bearer "+token[:8]), 401},
		"empty token":            {guarded, "/jobs", named, header("Authorization", "Bearer "), 401},
		"token as password":      {guarded, "/jobs", named, header("Authorization", "Basic "+token), 401},
		"token for another name": {guarded, "/jobs", other, header("Authorization", "Bearer "+token), 403},
		"token, but another page": {
			guarded, "/jobs", named,
			header("Authorization", "Bearer "+token, "Origin", "https://"+other), 403,
		},
	} {
		r := httptest.NewRequest(http.MethodGet, tc.path, http.NoBody)
		r.Host = tc.host
		for key, values := range tc.header {
			r.Header[key] = values
		}
		w := httptest.NewRecorder()
		tc.guard.Wrap(NewHandler(fakeJobs{{ID: "a", State: transfer.Queued}})).ServeHTTP(w, r)
		if w.Code != tc.status {
			t.Errorf("%s: got %d %s, want %d", name, w.Code, w.Body, tc.status)
		}
		if (w.Code == http.StatusUnauthorized) != (w.Header().Get("WWW-Authenticate") != "") {
			t.Errorf("%s: got %d with WWW-Authenticate %q", name, w.Code, w.Header().Get("WWW-Authenticate"))
		}
	}
}
