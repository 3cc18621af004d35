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
	"github.com/transferd/transferd/internal/transfer"
	"github.com/transferd/transferd/internal/worker"
)

// TestHangingPasswordCommandDelaysNoOther keeps nobody from another endpoint, and those who want this one no longer than they like.
func TestHangingPasswordCommandDelaysNoOther(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	if err := unix.Mkfifo(asked, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_PASSWORD", "p")
	o := endpoints.New(map[string]config.Endpoint{
		"hangs": {URL: "https://h", User: "u", PasswordCommand: "echo asked >" + asked + "; sleep 1000"},
		"works": {URL: "https://h", User: "u", PasswordEnv: "A_PASSWORD"},
	}, endpoints.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := o.Client(ctx, "hangs")
		first <- err
	}()
	if _, err := os.ReadFile(asked); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Client(t.Context(), "works"); err != nil {
		t.Error(err)
	}
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := o.Client(impatient, "hangs"); !errors.Is(err, context.Canceled) {
		t.Errorf("one who does not wait: %v", err)
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("one who waits no more: %v", err)
	}
}

// TestBothEndsShareTheJobsLimit has both ends of a job take what they move from its one limit.
func TestBothEndsShareTheJobsLimit(t *testing.T) {
	const n, burst = 64 << 10, 1 << 20
	b := newBench(t)
	up := b.mustRun(spec(transfer.Upload, file(b.image(n)), drive("here", "")))
	s := spec(transfer.Clone, drive("here", up.Drive), drive("there", ""))
	s.Compression = transfer.CompressionNone
	session := &worker.Session{Job: worker.Job{ID: "clone", Spec: s}, Limit: rate.NewLimiter(rate.Every(time.Hour), burst)}
	source, err := b.opener.Source(t.Context(), session)
	if err != nil {
		t.Fatal(err)
	}
	uuid, err := b.opener.Provision(t.Context(), session, n, false)
	if err != nil {
		t.Fatal(err)
	}
	sink, err := b.opener.Sink(t.Context(), session, worker.SinkRequest{Drive: uuid, Made: true, Size: n})
	if err != nil {
		t.Fatal(err)
	}
	before, chunk, buf := session.Limit.Tokens(), transfer.Chunk{Len: n}, make([]byte, n)
	if err := errors.Join(source.(transfer.RandomAccess).ReadChunk(t.Context(), chunk, buf), sink.WriteChunk(t.Context(), chunk, buf)); err != nil {
		t.Fatal(err)
	}
	if took := int(before - session.Limit.Tokens() + 0.5); took != 2*n {
		t.Errorf("a read and a write of %d bytes took %d", n, took)
	}
}

// TestBombUnpacksNoFurtherThanItsDrive unpacks a small file that would fill any disk no further than its drive is large.
func TestBombUnpacksNoFurtherThanItsDrive(t *testing.T) {
	b := newBench(t)
	up := b.mustRun(spec(transfer.Upload, file(b.image(64<<10)), drive("here", "")))
	path := b.path("bomb.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	_, err = z.Write(make([]byte, 64<<20))
	// It ends in the middle, which nobody comes to.
	if err = errors.Join(err, z.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	again := spec(transfer.Upload, file(path), drive("here", up.Drive))
	again.Overwrite = true
	_, err = b.run(again)
	if transfer.CodeOf(err) != transfer.CodeInvalid || !strings.Contains(err.Error(), "larger than 65536 bytes") {
		t.Errorf("%v", err)
	}
}

// TestClaimsOfOneAccountAreEqual: claims of one account are equal under every name in the config and on
// every host, and differ from those of another account.
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
		t.Errorf("%+v by one name, %+v by the other", one, two)
	}
	if one.Endpoint != far.Endpoint || one.Endpoint == other.Endpoint {
		t.Errorf("%q here, %q there, %q of another user", one.Endpoint, far.Endpoint, other.Endpoint)
	}
	if strings.ContainsAny(one.Endpoint, ":{}@") {
		t.Errorf("%q is not a hash: it contains the account's URL or user", one.Endpoint)
	}
}

// TestRotatedPasswordFileIsReadAgain: the password file is read again when the endpoint refuses the password,
// and by Reload.
func TestRotatedPasswordFileIsReadAgain(t *testing.T) {
	var asked atomic.Int64
	var password atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
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
		before := asked.Load()
		if _, err = c.Profile(t.Context()); transfer.CodeOf(err) != code || asked.Load()-before != calls {
			t.Errorf("got %v after %d calls, want %q after %d", err, asked.Load()-before, code, calls)
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
		t.Errorf("without the file: %v", err)
	}
	call("", 1)
}
