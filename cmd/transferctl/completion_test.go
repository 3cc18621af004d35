package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"
)

// completionBound is how long a user may wait for a completion.
const completionBound = 300 * time.Millisecond

// hanging is an endpoint that receives calls, counts them, and never responds.
func hanging(calls *atomic.Int32) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		<-r.Context().Done() // the client has gone
	}
}

// TestCompletionIsBounded: with an endpoint that does not respond, the program completes nothing,
// and ends in time. The fastest of several runs counts, because other tests may keep the host busy.
func TestCompletionIsBounded(t *testing.T) {
	home := t.TempDir()
	var calls atomic.Int32
	endpoint := httptest.NewServer(hanging(&calls))
	t.Cleanup(endpoint.Close)
	text := "endpoints:\n  zrh: {url: " + endpoint.URL + ", user: u, password_env: SANDBOX_PASSWORD}\n"
	path := filepath.Join(home, "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	fastest := time.Hour
	for range 5 {
		cmd := exec.Command(filepath.Join(programs, "transferctl"), cobra.ShellCompRequestCmd, "drives", "info", "zrh:")
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "TRANSFERD_CONFIG="+path, "SANDBOX_PASSWORD=p")
		started := time.Now()
		out, err := cmd.Output()
		fastest = min(fastest, time.Since(started))
		if err != nil || string(out) != ":4\n" {
			t.Fatalf("got %q and %v, want no completion", out, err)
		}
	}
	if n := calls.Load(); fastest > completionBound || n == 0 {
		t.Errorf("got %d calls and the fastest in %s, want some, and at most %s", n, fastest, completionBound)
	}
}

// TestCallThatIgnoresItsContextIsLeft: opening a file on a server that is down may hang for hours.
func TestCallThatIgnoresItsContextIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		started := time.Now()
		_, ok := within(t.Context(), completionTime, func(context.Context) (int, error) {
			<-release
			return 1, nil
		})
		if took := time.Since(started); ok || took != completionTime {
			t.Errorf("got a value: %t, after %s; want none after %s", ok, took, completionTime)
		}
	})
}

// listed is a listing that is some time old.
func (a *app) listed(t *testing.T, age time.Duration, objects ...object) {
	t.Helper()
	a.remember(&driveObjects, "zrh:", objects)
	path := a.listingPath(&driveObjects, "zrh")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), `,"objects"`)
	at := time.Now().Add(-age).Format(time.RFC3339)
	if err := os.WriteFile(path, []byte(`{"listed_at":"`+at+`","objects"`+rest), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCacheServesWhileTheEndpointHangs: a fresh listing without a call, one of some minutes after a
// call in vain, and an older one, or one of the future, not at all.
func TestCacheServesWhileTheEndpointHangs(t *testing.T) {
	for name, tc := range map[string]struct {
		age   time.Duration
		want  bool
		calls bool
	}{
		"fresh":         {freshAge / 2, true, false},
		"stale":         {freshAge + time.Second, true, true},
		"too old":       {staleAge + time.Second, false, true},
		"of the future": {-time.Hour, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			a, _, _ := newTestApp(t, hanging(&calls))
			a.listed(t, tc.age, object{UUID: someUUID, Name: "web"})
			got := a.objects(t.Context(), &driveObjects, "zrh")
			if called := calls.Load() > 0; (len(got) == 1) != tc.want || called != tc.calls {
				t.Errorf("got %v, after a call: %t; want the listing: %t, after a call: %t",
					got, called, tc.want, tc.calls)
			}
		})
	}
}

// TestCompletionRunsNoPasswordCommand: it could ask for a passphrase.
func TestCompletionRunsNoPasswordCommand(t *testing.T) {
	ran := filepath.Join(t.TempDir(), "ran")
	a, _, _ := newTestApp(t, hanging(new(atomic.Int32)))
	e := a.cfg.Endpoints["zrh"]
	e.PasswordEnv, e.PasswordCommand = "", "touch "+ran
	a.cfg.Endpoints["zrh"] = e
	a.listed(t, 5*time.Minute, object{UUID: someUUID, Name: "web"})
	if got := a.objects(t.Context(), &driveObjects, "zrh"); len(got) != 1 {
		t.Errorf("got %v, want the listing", got)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("the command ran, want no run")
	}
}

// TestCompletedNamesAreUniqueAndPlain: other objects are completed by UUID.
func TestCompletedNamesAreUniqueAndPlain(t *testing.T) {
	uuids := make([]string, 5)
	for i := range uuids {
		uuids[i] = someUUID[:35] + string(rune('0'+i))
	}
	objects := []object{
		{uuids[0], "wéb-1.img", "1 MiB"}, {uuids[1], "twice", "1 MiB"}, {uuids[2], "twice", "2 MiB"},
		{uuids[3], "$(reboot)", "1 MiB"}, {uuids[4], "a\nb\x1b[31m\tc", "1 MiB"},
		{"not a UUID", "", ""},
	}
	want := []string{
		"zrh:wéb-1.img\t" + uuids[0] + ", 1 MiB",
		"zrh:" + uuids[0] + "\twéb-1.img, 1 MiB", "zrh:" + uuids[1] + "\ttwice, 1 MiB",
		"zrh:" + uuids[2] + "\ttwice, 2 MiB", "zrh:" + uuids[3] + "\t$(reboot), 1 MiB",
		"zrh:" + uuids[4] + "\t" + `a\nb\x1b[31m\tc, 1 MiB`,
	}
	if got := addressesOf("zrh", objects, "zrh:"); !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := addressesOf("zrh", objects, "zrh:w"); !slices.Equal(got, want[:1]) {
		t.Errorf("got %q\nwant %q", got, want[:1])
	}
}

// TestEachAddressIsCompleted: each command that takes the address of an endpoint, a drive or a
// server completes it.
func TestEachAddressIsCompleted(t *testing.T) {
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		if strings.Contains(cmd.Use, "ENDPOINT:") && cmd.ValidArgsFunction == nil {
			t.Errorf("%s completes no address", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check((&app{}).rootCommand())
}
