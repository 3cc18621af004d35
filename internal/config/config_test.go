package config

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/transfer"
)

const good = `redis: redis://127.0.0.1:6379/0
listen: 127.0.0.1:7410
roots: [/var/lib/images]
endpoints:
  zrh:
    url: https://api.zrh.example.com
    user: ops@example.com
    password_env: ZRH_PASSWORD
    max_in_flight: 16
`

// home makes a home folder for the test, so that it reads no configuration of the machine.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for _, name := range []string{
		"XDG_CONFIG_HOME", "XDG_STATE_HOME",
		"TRANSFERD_CONFIG", "TRANSFERD_REDIS", "TRANSFERD_LISTEN", "TRANSFERD_STATE",
	} {
		t.Setenv(name, "")
	}
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadReadsTheFirstFileThatIsNamedOrExists(t *testing.T) {
	dir := home(t)
	c, err := Load("")
	state := filepath.Join(dir, ".local", "state", "transferd")
	if err != nil || c.Listen != DefaultListen || len(c.Endpoints) != 0 || c.State != state {
		t.Fatalf("without a file: got %+v, %v; want listen %s, state %s", c, err, DefaultListen, state)
	}
	write(t, filepath.Join(dir, ".config", "transferd", "config.yaml"), "listen: 127.0.0.1:1\n")
	byEnv := write(t, filepath.Join(dir, "env.yaml"), "listen: 127.0.0.1:2\n")
	byFlag := write(t, filepath.Join(dir, "flag.yaml"), "listen: 127.0.0.1:3\n")
	check := func(path, want string) {
		t.Helper()
		c, err := Load(path)
		if err != nil || c.Listen != want {
			t.Errorf("Load(%q) = %+v, %v; want listen %s", path, c, err, want)
		}
	}
	check("", "127.0.0.1:1")
	t.Setenv("TRANSFERD_CONFIG", byEnv)
	check("", "127.0.0.1:2")
	check(byFlag, "127.0.0.1:3")
	t.Setenv("TRANSFERD_LISTEN", "127.0.0.1:4")
	check(byFlag, "127.0.0.1:4")
}

func TestLoadReadsAllKeys(t *testing.T) {
	dir := home(t)
	c, err := Load(write(t, filepath.Join(dir, "c.yaml"), good))
	if err != nil {
		t.Fatal(err)
	}
	e := c.Endpoints["zrh"]
	if c.Redis != "redis://127.0.0.1:6379/0" || c.Roots[0] != "/var/lib/images" ||
		e.User != "ops@example.com" || e.MaxInFlight != 16 {
		t.Errorf("got %+v, want the values of\n%s", c, good)
	}
}

func TestLoadRefusesBadConfigs(t *testing.T) {
	dir := home(t)
	with := func(replacing, by string) string { return strings.Replace(good, replacing, by, 1) }
	for name, tc := range map[string]struct{ text, want string }{
		"an unknown key":           {"redis: x\nlistem: y\n", `line 2: unknown key "listem"`},
		"an unknown endpoint key":  {with("user:", "usr:"), `line 7: unknown key "usr"`},
		"a password in the file":   {with("password_env: ZRH_PASSWORD", "password: s3cret"), `unknown key "password"`},
		"a relative root":          {"roots: [images]\n", "not an absolute path"},
		"a url with a password":    {with("https://", "https://u:s3cret@"), "url holds credentials"},
		"a url with a query":       {with("example.com\n    user", "example.com/?q=1\n    user"), "more than a host"},
		"a url with a fragment":    {with("example.com\n    user", "example.com/#f\n    user"), "more than a host"},
		"roots in comments":        {"roots:\n# - /var/lib/images\nlisten: 127.0.0.1:1\n", "roots: is empty"},
		"roots that are null":      {"roots: ~\n", "roots: is empty"},
		"a url of another kind":    {with("https://", "ftp://"), "not http(s)"},
		"no password":              {with("    password_env: ZRH_PASSWORD\n", ""), "the password is missing"},
		"two passwords":            {good + "    password_file: /x\n", "2 sources"},
		"a bad endpoint name":      {with("zrh:", "\"z/h\":"), "endpoint's name"},
		"too many in flight":       {with("16", "100000"), "max_in_flight"},
		"a list for a mapping":     {"- a\n", ""},
		"what is not YAML":         {"redis: [\n", ""},
		"a string for a number":    {with("16", "many"), "line 9"},
		"the same key twice":       {"listen: a\nlisten: b\n", "line 2"},
		"an endpoint without user": {with("    user: ops@example.com\n", ""), "user is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(dir, "bad.yaml"), tc.text)
			_, err := Load(path)
			if transfer.CodeOf(err) != transfer.CodeInvalid {
				t.Fatalf("got %v with code %q, want code %q", err, transfer.CodeOf(err), transfer.CodeInvalid)
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %q, want an error that names %q and %s", err, tc.want, path)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("got %q, want an error without the password", err)
			}
		})
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("a missing file: got %v, want code %q", err, transfer.CodeInvalid)
	}
}

func TestPasswordIsFetchedFromItsSource(t *testing.T) {
	dir := home(t)
	t.Setenv("A_PASSWORD", "from env")
	file := write(t, filepath.Join(dir, "secret"), "from file\r\nsecond line\n")
	for _, tc := range []struct {
		e    Endpoint
		want string
	}{
		{Endpoint{PasswordEnv: "A_PASSWORD"}, "from env"},
		{Endpoint{PasswordFile: file}, "from file"},
		{Endpoint{PasswordCommand: "echo from command"}, "from command"},
	} {
		if got, err := tc.e.Password(t.Context()); err != nil || got != tc.want {
			t.Errorf("%+v: got %q, %v; want %q", tc.e, got, err, tc.want)
		}
	}
	for _, e := range []Endpoint{
		{PasswordEnv: "NOT_SET_ANYWHERE"}, {PasswordFile: filepath.Join(dir, "none")},
		{PasswordCommand: "echo s3cret; echo s3cret >&2; exit 3"},
	} {
		_, err := e.Password(t.Context())
		if transfer.CodeOf(err) != transfer.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: got %v, want code %q and no password", e, err, transfer.CodeInvalid)
		}
	}
}

// TestPasswordCommandEndsWithItsContext: when the context ends, the command ends with all its
// processes.
func TestPasswordCommandEndsWithItsContext(t *testing.T) {
	held := filepath.Join(t.TempDir(), "held")
	if err := unix.Mkfifo(held, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		f, err := os.Open(held) // waits for the command
		cancel()
		if err == nil {
			_, err = io.Copy(io.Discard, f) // waits for its last process
		}
		ended <- err
	}()
	e := Endpoint{PasswordCommand: "exec 3>" + held + "; sleep 1000 | head -n1"}
	if _, err := e.Password(ctx); transfer.CodeOf(err) != transfer.CodeCanceled {
		t.Errorf("got %v, want code %q", err, transfer.CodeCanceled)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("read the FIFO: got %v, want EOF", err)
		}
	case <-time.After(time.Minute):
		t.Error("got a process of the command that is left behind, want none")
	}
}

// TestPasswordCommandMayLeaveAProcess, for example an agent.
func TestPasswordCommandMayLeaveAProcess(t *testing.T) {
	left := filepath.Join(t.TempDir(), "pid")
	e := Endpoint{PasswordCommand: "sleep 1000 & echo from command; echo $! >" + left}
	if p, err := e.Password(t.Context()); p != "from command" || err != nil {
		t.Errorf("got %q, %v; want %q", p, err, "from command")
	}
	pid, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err = errors.Join(err, unix.Kill(n, unix.SIGKILL)); err != nil {
		t.Errorf("end the process that it left: got %v, want no error", err)
	}
}

func TestDevEndpointIsFoundWhileItIsAnnounced(t *testing.T) {
	home(t)
	state := filepath.Join(t.TempDir(), "state")
	t.Setenv("TRANSFERD_STATE", state)
	withdraw, err := AnnounceDev(state, "http://127.0.0.1:1", "dev", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	e := c.Endpoints[DevEndpoint]
	if p, err := e.Password(t.Context()); e.URL != "http://127.0.0.1:1" || p != "s3cret" || err != nil {
		t.Errorf("got %+v with password %q, %v; want that of AnnounceDev", e, p, err)
	}
	for _, name := range []string{"dev.yaml", "dev.password"} {
		if info, err := os.Stat(filepath.Join(state, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v, %v; want mode 0600", name, info, err)
		}
	}
	if err := withdraw(); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(""); err != nil || len(c.Endpoints) != 0 {
		t.Errorf("after withdraw: got %+v, %v; want no endpoint", c, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		good,
		"endpoints: {a: {url: 'http://x', user: u, password_env: P}}",
		"endpoints:\n  a: &x {url: 'https://h:1/', user: u, password_command: pass show a, ca_file: /c, " +
			"max_in_flight: 256}\n  b: *x\n",
		"endpoints: {a/b: {url: 'https://u:p@h', user: '', password_file: /p, password_env: P}}",
		"http: {token_file: /t, cert_file: /c, key_file: /k, hosts: [h, H:1]}\nredis_ca_file: /ca\nstate: /s\n",
		"roots: [/]\n---\nroots: [relative]\n",
		"roots: !tag ",
		"roots: !/\xe4ots: ", // the library panics
		"# nothing\n", "\xef\xbb\xbfroots: []", "{", "a: b: c", "\t- x",
		"roots: |\n  text\nlisten: \"\\u00e4\"", "<<: {roots: [/]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %+v and %v, want one of them", c, err)
		}
		if err != nil || c.expandPaths("/etc") != nil {
			return
		}
		for name, e := range c.Endpoints {
			u, err := url.Parse(e.URL)
			if err != nil || u.Host == "" || u.User != nil || !transfer.ValidEndpointName(name) {
				t.Errorf("got the endpoint %q at %q, want an error", name, e.URL)
			}
		}
		for _, root := range c.Roots {
			if !filepath.IsAbs(root) {
				t.Errorf("got the root %q, want an absolute path or an error", root)
			}
		}
	})
}

// TestWorldReadableConfigHoldsNoPassword: a config with a password that all users may read is
// refused.
func TestWorldReadableConfigHoldsNoPassword(t *testing.T) {
	path := write(t, filepath.Join(home(t), "config.yaml"), "redis: redis://:s3cret@h:6379/0\n")
	if _, err := Load(path); err != nil {
		t.Errorf("mode 0600: got %v, want no error", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{
		"redis://:s3cret@h:6379/0", "redis://h?master_name=m&password=s3cret",
		"redis://h?master_name=m&sentinel_password=s3cret",
	} {
		write(t, path, "redis: "+address+"\n")
		_, err := Load(path)
		if transfer.CodeOf(err) != transfer.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("mode 0644: got %v, want code %q and no password", err, transfer.CodeInvalid)
		}
	}
	write(t, path, "redis: redis://h:6379/0\n")
	if _, err := Load(path); err != nil {
		t.Errorf("without a password: got %v, want no error", err)
	}
}

// TestSecretFilesUnderRootsAreRefused: every job could read them.
func TestSecretFilesUnderRootsAreRefused(t *testing.T) {
	dir := home(t)
	secret := write(t, filepath.Join(dir, "kept", "secret"), "s3cret\n")
	if err := os.Symlink(filepath.Join(dir, "kept"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		strings.Replace(good, "password_env: ZRH_PASSWORD", "password_file: "+secret, 1),
		good + "http: {token_file: " + secret + "}\n",
		good + "http: {cert_file: /c, key_file: " + secret + "}\n",
	} {
		for roots, ok := range map[string]bool{
			"/var/lib/images": true, dir + "/ke": true,
			dir: false, dir + "/kept": false, dir + "/link": false, "/": false,
		} {
			_, err := Load(write(t, filepath.Join(dir, "c.yaml"), strings.Replace(text, "/var/lib/images", roots, 1)))
			refused := transfer.CodeOf(err) == transfer.CodeInvalid && strings.Contains(err.Error(), secret)
			if (err == nil) != ok || err != nil && !refused {
				t.Errorf("with the roots %s: got %v, want success: %v\n%s", roots, err, ok, text)
			}
		}
	}
}

// TestEmptyRootsAreNotNil: `roots: []` allows no folder.
func TestEmptyRootsAreNotNil(t *testing.T) {
	c, err := Load(write(t, filepath.Join(home(t), "c.yaml"), "roots: []\n"))
	if err != nil || c.Roots == nil || len(c.Roots) != 0 {
		t.Errorf("got %+v, %v; want roots that are empty and not nil", c, err)
	}
}

func TestHTTPIsChecked(t *testing.T) {
	for text, ok := range map[string]bool{
		"http: {token_env: A, cert_file: c, key_file: k, hosts: [a.example.com]}": true,
		"http: {token_env: A, token_file: b}":                                     false,
		"http: {cert_file: c}":                                                    false,
		"http: {key_file: k}":                                                     false,
		"http: {token: plain}":                                                    false,
	} {
		if _, err := parse([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: got %v, want success: %v", text, err, ok)
		}
	}
}
