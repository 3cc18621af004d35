package endpoints_test

import (
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/transferd/transferd/internal/config"
	"github.com/transferd/transferd/internal/endpoints"
	"github.com/transferd/transferd/internal/jobtest"
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/transfertest"
	"github.com/transferd/transferd/internal/worker"
)

// TestHangingPasswordCommandDelaysNoOther: while a password command hangs, other endpoints are
// usable, and callers of this endpoint can give up.
func TestHangingPasswordCommandDelaysNoOther(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_PASSWORD", "p")
	o := endpoints.New(map[string]config.Endpoint{
		"hangs": {URL: "https://h", User: "u", PasswordCommand: "echo started >" + started + "; sleep 1000"},
		"works": {URL: "https://h", User: "u", PasswordEnv: "A_PASSWORD"},
	}, endpoints.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := o.Client(ctx, "hangs")
		first <- err
	}()
	opened := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(started) // waits for the command
		opened <- err
	}()
	if err := transfertest.Receive(t, opened, "start of the command"); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Client(t.Context(), "works"); err != nil {
		t.Errorf("another endpoint: got %v, want success", err)
	}
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := o.Client(impatient, "hangs"); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled caller: got %v, want %v", err, context.Canceled)
	}
	cancel()
	if err := transfertest.Receive(t, first, "end of the command"); !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller: got %v, want %v", err, context.Canceled)
	}
}

// TestBothEndsShareTheJobsLimit: the bytes of source and target count for one limit.
func TestBothEndsShareTheJobsLimit(t *testing.T) {
	const n, burst = 64 << 10, 1 << 20
	h := newHarness(t)
	source := jobtest.Drive(jobtest.Here, h.upload(n))
	s := spec(transfer.Clone, source, jobtest.Drive(jobtest.There, ""))
	s.Compression = transfer.CompressionNone
	limit := rate.NewLimiter(rate.Every(time.Hour), burst)
	session := &worker.Session{Job: worker.Job{ID: "clone", Spec: s}, Limit: limit}
	src, err := h.Opener.Source(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	made, err := h.Opener.Provision(t.Context(), session, n, false)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := h.Opener.Sink(t.Context(), session, worker.SinkRequest{Drive: made.UUID, Made: true, Size: n})
	if err != nil {
		t.Fatal(err)
	}
	before, chunk, buf := limit.Tokens(), transfer.Chunk{Len: n}, make([]byte, n)
	err = src.(transfer.RandomAccess).ReadChunk(t.Context(), chunk, buf)
	if err := errors.Join(err, sink.WriteChunk(t.Context(), chunk, buf)); err != nil {
		t.Fatal(err)
	}
	if got := int(before - limit.Tokens() + 0.5); got != 2*n {
		t.Errorf("got %d bytes from the limiter, want %d", got, 2*n)
	}
}

// TestBombUnpacksNoFurtherThanItsDrive: a small file that unpacks to a huge image is unpacked up to
// the size of its drive only.
func TestBombUnpacksNoFurtherThanItsDrive(t *testing.T) {
	h := newHarness(t)
	drive := jobtest.Drive(jobtest.Here, h.upload(64<<10))
	path := h.Path("bomb.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	_, err = z.Write(make([]byte, 64<<20))
	// The stream is truncated, but no one reads so far.
	if err = errors.Join(err, z.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	again := spec(transfer.Upload, jobtest.File(path), drive)
	again.Overwrite = true
	_, err = h.Run(again)
	if transfer.CodeOf(err) != transfer.CodeInvalid || !strings.Contains(err.Error(), "larger than 65536 bytes") {
		t.Errorf("got %v, want %s and the size of the drive", err, transfer.CodeInvalid)
	}
}

// TestClaimsOfOneAccountAreEqual: claims of one account are equal under every name in the config
// and on every host, and differ from those of another account.
func TestClaimsOfOneAccountAreEqual(t *testing.T) {
	here := endpoints.New(map[string]config.Endpoint{
		"zrh":    {URL: "https://api.zrh.example.com", User: "ops"},
		"zurich": {URL: "HTTPS://API.zrh.example.com:443/", User: "ops"},
		"dev":    {URL: "https://api.zrh.example.com", User: "dev"},
	}, endpoints.Options{})
	there := endpoints.New(map[string]config.Endpoint{
		"z": {URL: "https://api.zrh.example.com/", User: "ops"},
	}, endpoints.Options{})
	one, two := here.Claim("zrh", "d"), here.Claim("zurich", "d")
	far, other := there.Claim("z", "d"), here.Claim("dev", "d")
	if !reflect.DeepEqual(one, two) || !slices.Equal(one.Names, []string{"zrh", "zurich"}) {
		t.Errorf("got %+v by one name, %+v by the other; want equal claims with both names", one, two)
	}
	if one.Endpoint != far.Endpoint || one.Endpoint == other.Endpoint {
		t.Errorf("got %q here, %q there, %q of another user; want the first two equal",
			one.Endpoint, far.Endpoint, other.Endpoint)
	}
	if strings.ContainsAny(one.Endpoint, ":{}@") {
		t.Errorf("got %q, want a hash without the account's URL and user", one.Endpoint)
	}
}

// TestRotatedPasswordFileIsReadAgain: the password file is read again when the endpoint refuses the
// password, and by Reload.
func TestRotatedPasswordFileIsReadAgain(t *testing.T) {
	var requests atomic.Int64
	var password atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if _, got, _ := r.BasicAuth(); got != password.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("uuid 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f\n"))
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	password.Store("one")
	o := endpoints.New(map[string]config.Endpoint{
		"zrh": {URL: server.URL, User: "u", PasswordFile: file},
	}, endpoints.Options{})
	call := func(code transfer.Code, calls int64) {
		t.Helper()
		c, err := o.Client(t.Context(), "zrh")
		if err != nil {
			t.Fatal(err)
		}
		before := requests.Load()
		if _, err = c.Profile(t.Context()); transfer.CodeOf(err) != code || requests.Load()-before != calls {
			t.Errorf("got %v after %d calls, want %q after %d", err, requests.Load()-before, code, calls)
		}
	}
	call("", 1)
	password.Store("two")
	call(transfer.CodeUnauthorized, 1)
	write("two")
	call("", 2)
	password.Store("three")
	write("three")
	if err := o.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	call("", 1)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	err := o.Reload(t.Context())
	if transfer.CodeOf(err) != transfer.CodeInvalid || !strings.Contains(err.Error(), "zrh") {
		t.Errorf("without the file: got %v, want %s and the endpoint's name", err, transfer.CodeInvalid)
	}
	call("", 1)
}
