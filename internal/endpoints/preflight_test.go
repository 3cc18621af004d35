package endpoints_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/api"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/sandbox"
	"github.com/transferd/transferd/internal/transfer"
)

// billingCalls are the calls about the account.
var billingCalls = []string{"balance/info", "subscriptions/list", "usage/info"}

// account is a billing system in front of a sandbox: what it responds to its calls, by path. Calls
// that it does not have reach the sandbox.
type account map[string]http.HandlerFunc

// says is a response of keys and values.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
}

// fails is a response without success.
func fails(status int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

func (a account) intercept(w http.ResponseWriter, r *http.Request) bool {
	respond, ok := a[strings.TrimPrefix(r.URL.Path, "/")]
	if ok {
		respond(w, r)
	}
	return ok
}

// each is an account whose calls all have the same response.
func each(respond http.HandlerFunc) account {
	a := make(account)
	for _, path := range billingCalls {
		a[path] = respond
	}
	return a
}

// limited is an account that may use left bytes more, which the endpoint states.
func limited(left int64) account {
	return account{"usage/info": says(fmt.Sprintf("disk 1048576\ndisk:burst 1048576\ndisk:limit %d\n", 1048576+left))}
}

// broke is an account without money that is subscribed to left bytes more than it uses.
func broke(left int64) account {
	return account{
		"usage/info":   says(fmt.Sprintf("disk 8388608\ndisk:sub %d\n", 8388608+left)),
		"balance/info": says("balance 0.00\ncurrency EUR\n"),
	}
}

// newDriveSpecs is a job of each kind that makes a drive, for an image of size bytes.
func (h *harness) newDriveSpecs(size int64) map[string]transfer.Spec {
	h.t.Helper()
	origin := jobtest.Drive(jobtest.Here, h.upload(size))
	return map[string]transfer.Spec{
		"upload":                    spec(transfer.Upload, jobtest.File(h.image(size)), newDrive),
		"clone":                     spec(transfer.Clone, origin, newDrive),
		"clone to another endpoint": spec(transfer.Clone, origin, jobtest.Drive(jobtest.There, "")),
	}
}

// drives is the number of drives on the endpoint.
func (h *harness) drives() int {
	h.t.Helper()
	c, err := h.Opener.Client(h.t.Context(), jobtest.Here)
	if err != nil {
		h.t.Fatal(err)
	}
	drives, err := c.ListDrives(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return len(drives)
}

// TestDriveThatDoesNotFitIsNotMade: nor requested, nor tried again. One that just fits is made.
func TestDriveThatDoesNotFitIsNotMade(t *testing.T) {
	const size = 1 << 20
	for name, withLeft := range map[string]func(left int64) account{"limit": limited, "no money": broke} {
		h := newHarness(t)
		for kind, s := range h.newDriveSpecs(size) {
			t.Run(name+" "+kind, func(t *testing.T) {
				before := h.drives()
				var changes atomic.Int64
				refuse := func(a account) {
					h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
						if r.Method == http.MethodPost {
							changes.Add(1)
						}
						return a.intercept(w, r)
					})
				}
				refuse(withLeft(size - 1))
				_, err := h.Run(s)
				f := transfer.FailureOf(err)
				if f == nil || f.Code != transfer.CodeNoSpace || f.Hint == "" ||
					!strings.Contains(f.Message, "needs 1048576 bytes") ||
					!strings.Contains(f.Message, "1048575 bytes left") {
					t.Errorf("got %+v, want %s with what is needed and left", f, transfer.CodeNoSpace)
				}
				if changes.Load() > 0 || h.drives() != before {
					t.Errorf("got %d calls that change something, want none", changes.Load())
				}
				if s.Size = size + 512; s.Kind == transfer.Upload {
					refuse(withLeft(size))
					if _, err := h.Run(s); transfer.CodeOf(err) != transfer.CodeNoSpace {
						t.Errorf("--size %d: got %v, want %s", s.Size, err, transfer.CodeNoSpace)
					}
				}
				s.Size = 0
				refuse(withLeft(size))
				if _, err := h.Run(s); err != nil {
					t.Errorf("got %v, want success where it just fits", err)
				}
			})
		}
	}
}

// TestExistingDriveNeedsNothing: writing to it, and comparing or reading it, is not limited.
func TestExistingDriveNeedsNothing(t *testing.T) {
	h := newHarness(t)
	drive := jobtest.Drive(jobtest.Here, h.upload(1<<20))
	h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
		if slices.Contains(billingCalls, strings.TrimPrefix(r.URL.Path, "/")) {
			t.Errorf("got the call %s, want none about the account", r.URL.Path)
		}
		return limited(0).intercept(w, r)
	})
	over := spec(transfer.Upload, jobtest.File(h.image(1<<20)), drive)
	over.Overwrite = true
	h.MustRun(over)
	h.MustRun(spec(transfer.Verify, jobtest.File(h.image(1<<20)), drive))
	h.MustRun(spec(transfer.Download, drive, jobtest.File(h.Path("copy.img"))))
}

// TestUnknownAccountIsNoError: whatever an endpoint responds that does not have the calls, and
// whichever of them it lacks.
func TestUnknownAccountIsNoError(t *testing.T) {
	h := newHarness(t)
	s := spec(transfer.Upload, jobtest.File(h.image(64<<10)), newDrive)
	page := "<html><body>proxy</body></html>"
	for name, respond := range map[string]http.HandlerFunc{
		"404": fails(404, "errors:system Unknown command."), "404 page": fails(404, page), "405": fails(405, ""),
		"400": fails(400, "errors:system Unknown command."), "page": says(page), "JSON": says("{}"), "empty": says(""),
		"401": fails(401, ""), "403": fails(403, page), "500": fails(500, ""), "502": fails(502, page),
		"503": fails(503, "billing is down"), "504": fails(504, ""), "429": fails(429, ""),
		"no amounts": says("disk \n"),
		"malformed":  says("disk many\nbalance much\n"),
		"redirect":   http.RedirectHandler("/login", http.StatusFound).ServeHTTP,
		"cut":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"spam":       says(strings.Repeat("x", 1<<20)),
		"units":      says("disk 3\ndisk:sub 2\nbalance 0\ncurrency EUR\n"),
	} {
		t.Run(name, func(t *testing.T) {
			h.setIntercept(each(respond).intercept)
			if _, err := h.Run(s); err != nil {
				t.Errorf("all calls: got %v, want success", err)
			}
			for _, path := range billingCalls {
				a := broke(1 << 30)
				a["subscriptions/list"] = says("type disk\nquantity 1\nunit GB\n")
				a[path] = respond
				h.setIntercept(a.intercept)
				if _, err := h.Run(s); err != nil {
					t.Errorf("%s: got %v, want success", path, err)
				}
			}
		})
	}
}

// TestSlowBillingDelaysAJobForSecondsOnly: a billing system that never responds is given up.
func TestSlowBillingDelaysAJobForSecondsOnly(t *testing.T) {
	h := newHarness(t)
	s := spec(transfer.Upload, jobtest.File(h.image(64<<10)), newDrive)
	hangs := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	h.setIntercept(each(hangs).intercept)
	began := time.Now()
	h.MustRun(s)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("got a job of %s, want one of a few seconds", took)
	}
	// What the rest says still counts.
	a := limited(0)
	a["balance/info"], a["subscriptions/list"] = hangs, hangs
	h.setIntercept(a.intercept)
	if _, err := h.Run(s); transfer.CodeOf(err) != transfer.CodeNoSpace {
		t.Errorf("got %v, want %s", err, transfer.CodeNoSpace)
	}
}

// TestRefusalByTheEndpointIsAsClear: if others use what was left after the preflight, or if the
// endpoint did not say what is left.
func TestRefusalByTheEndpointIsAsClear(t *testing.T) {
	const size = 1 << 20
	const text = "The account uses 9 of 10 bytes of disk, the limit of its quota"
	for _, words := range [][]string{
		{"needs 1048576 bytes", "4096 bytes (4kiB) left", text},
		{"needs 1048576 bytes", text},
	} {
		h := newHarness(t)
		for kind, s := range h.newDriveSpecs(size) {
			var requested atomic.Bool
			h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/create") || strings.HasSuffix(r.URL.Path, "/clone") {
					requested.Store(true)
					fails(400, "name x\nsize 1048576\nerrors:size "+text+"\n")(w, r)
					return true
				}
				if len(words) == 2 {
					return each(fails(404, "")).intercept(w, r)
				}
				left := int64(size)
				if requested.Load() {
					left = 4096
				}
				return limited(left).intercept(w, r)
			})
			_, err := h.Run(s)
			f := transfer.FailureOf(err)
			if f == nil || f.Code != transfer.CodeNoSpace || !strings.Contains(f.Hint, "destroy") || !requested.Load() {
				t.Errorf("%s: got %+v, want %s with a hint", kind, f, transfer.CodeNoSpace)
				continue
			}
			for _, word := range words {
				if !strings.Contains(f.Message, word) {
					t.Errorf("%s: got %q, want %q in it", kind, f.Message, word)
				}
			}
		}
	}
}

// rounds checks the order of calls: each round is calls that are made at the same time. A call is
// held until the last of its round arrives, so a job that makes one after the other does not go on.
type rounds struct {
	t    *testing.T
	next account // has the responses

	mu      sync.Mutex
	waiting [][]string    // of the rounds: the calls that have not arrived, as suffixes of paths
	arrived chan struct{} // closed when the current round is complete
}

func (r *rounds) intercept(w http.ResponseWriter, req *http.Request) bool {
	r.hold(req.URL.Path)
	return r.next.intercept(w, req)
}

// hold returns when all calls of the round have arrived.
func (r *rounds) hold(path string) {
	r.mu.Lock()
	if len(r.waiting) == 0 {
		r.mu.Unlock()
		return
	}
	i := slices.IndexFunc(r.waiting[0], func(suffix string) bool { return strings.HasSuffix(path, suffix) })
	if i < 0 {
		r.t.Errorf("got the call %s, want one of %q first", path, r.waiting[0])
		r.waiting = [][]string{{}}
	} else {
		r.waiting[0] = slices.Delete(r.waiting[0], i, i+1)
	}
	arrived := r.arrived
	if len(r.waiting[0]) == 0 {
		close(arrived)
		r.waiting, r.arrived = r.waiting[1:], make(chan struct{})
	}
	r.mu.Unlock()
	select {
	case <-arrived:
	case <-time.After(20 * time.Second):
		r.t.Errorf("%s: got no other call at the same time, want all of its round", path)
	}
}

// TestPreflightTakesNoRoundTripOfAClone, and one of an upload: its calls are made at the same time,
// and with those that a clone makes anyway. Without the preflight, the first write of an upload
// came after two round trips, and that of a clone to another endpoint after four, as with it.
func TestPreflightTakesNoRoundTripOfAClone(t *testing.T) {
	account := append(slices.Clone(billingCalls), "/info") // the info is that of the source
	opening := []string{"/info", "/info"}                  // the new drive's tags, and its size
	for kind, want := range map[string][][]string{
		"upload":                    {billingCalls, {"/create"}, opening},
		"clone":                     {account, {"/clone"}, {"/info"}},
		"clone to another endpoint": {{"/info"}, account, {"/create"}, opening},
	} {
		h := newHarness(t)
		s := h.newDriveSpecs(1 << 20)[kind]
		r := &rounds{t: t, next: limited(1 << 30), arrived: make(chan struct{})}
		for _, calls := range want {
			r.waiting = append(r.waiting, slices.Clone(calls))
		}
		h.setIntercept(r.intercept)
		h.MustRun(s)
		if len(r.waiting) > 0 {
			t.Errorf("%s: got no calls %q, want them", kind, r.waiting)
		}
	}
}

// withoutLimits is an account that states no limits, as the manual has it.
func (h *harness) withoutLimits() account {
	return account{"usage/info": func(w http.ResponseWriter, r *http.Request) {
		stated := httptest.NewRecorder()
		h.Sandbox.Plain().ServeHTTP(stated, r)
		for line := range strings.Lines(stated.Body.String()) {
			if !strings.Contains(line, ":limit") {
				_, _ = io.WriteString(w, line)
			}
		}
	}}
}

// TestPreflightAgreesWithTheSandbox: it refuses what the sandbox refuses, and nothing else.
func TestPreflightAgreesWithTheSandbox(t *testing.T) {
	const unlimited = 1 << 40
	quota, gib := []sandbox.Quota{{Resource: "disk", Amount: 1 << 20}}, api.ResourceAmounts{Disk: 1 << 30}
	for name, tc := range map[string]struct {
		cfg   sandbox.Config
		buy   api.ResourceAmounts
		left  int64
		infer bool // the preflight needs no stated limit
	}{
		"quota":            {cfg: sandbox.Config{Quotas: quota}, left: 1 << 20},
		"no money":         {cfg: sandbox.Config{Balance: "0.00"}},
		"only subscribed":  {cfg: sandbox.Config{Balance: "0.12"}, buy: gib, left: 1 << 30, infer: true},
		"quota, no money":  {cfg: sandbox.Config{Balance: "0.00", Quotas: quota}},
		"quota, and money": {cfg: sandbox.Config{Balance: "0.13", Quotas: quota}, buy: gib, left: 1<<30 + 1<<20},
		"money":            {cfg: sandbox.Config{Balance: "0.01"}, left: unlimited},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarnessWith(t, tc.cfg)
			c, err := h.Opener.Client(t.Context(), jobtest.Here)
			if err != nil {
				t.Fatal(err)
			}
			if tc.buy != (api.ResourceAmounts{}) {
				term := api.Term{Start: time.Now().Add(-time.Hour), Months: 1}
				if _, err := c.SubscribeResources(tc.buy, term).Do(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			saying := map[string]account{"nothing": each(fails(404, "")), "all": nil}
			if tc.infer {
				saying["no limits"] = h.withoutLimits()
			}
			s := spec(transfer.Upload, jobtest.File(h.image(512)), newDrive)
			for _, s.Size = range []int64{max(512, tc.left), tc.left + 512} {
				for said, a := range saying {
					h.setIntercept(a.intercept)
					p, err := h.Run(s)
					if fits := s.Size <= tc.left || tc.left == unlimited; fits != (err == nil) {
						t.Errorf("%d bytes, saying %s: got %v, want success: %t", s.Size, said, err, fits)
					}
					if err == nil {
						h.Destroy(p.Drive)
						continue
					}
					requested := strings.Contains(err.Error(), "answered")
					if transfer.CodeOf(err) != transfer.CodeNoSpace || requested != (said == "nothing") {
						t.Errorf("%d bytes, saying %s: got %v, want %s before the drive is requested",
							s.Size, said, err, transfer.CodeNoSpace)
					}
				}
			}
		})
	}
}

// TestUnusableSourceDriveMakesNothing: one that does not exist or that the account may not read,
// and one that the endpoint could not complete.
func TestUnusableSourceDriveMakesNothing(t *testing.T) {
	for name, tc := range map[string]struct {
		respond http.HandlerFunc
		code    transfer.Code
	}{
		"missing":  {fails(404, "errors:system Drive could not be found."), transfer.CodeNotFound},
		"foreign":  {fails(403, "errors:system Forbidden"), transfer.CodeRefused},
		"inactive": {nil, transfer.CodeRefused},
	} {
		h := newHarness(t)
		specs := h.newDriveSpecs(64 << 10)
		for _, kind := range []string{"clone", "clone to another endpoint"} {
			s := specs[kind]
			h.setIntercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPost {
					t.Errorf("%s %s: got the call %s, want none that changes something", name, kind, r.URL.Path)
				}
				if !strings.HasSuffix(r.URL.Path, s.Source.Drive+"/info") {
					return false
				}
				if tc.respond == nil {
					says(fmt.Sprintf("drive %s\nname x\nsize 65536\nstatus inactive\n", s.Source.Drive))(w, r)
				} else {
					tc.respond(w, r)
				}
				return true
			})
			if _, err := h.Run(s); transfer.CodeOf(err) != tc.code {
				t.Errorf("%s %s: got %v, want %s", name, kind, err, tc.code)
			}
		}
	}
}
