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

// home makes a home folder of the test's own, so that no configuration of the machine is read.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	for _, name := range []string{"XDG_CONFIG_HOME", "XDG_STATE_HOME", "TRANSFERD_CONFIG", "TRANSFERD_REDIS", "TRANSFERD_LISTEN", "TRANSFERD_STATE"} {
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

func TestLoadTakesTheFirstFileThatIsNamedOrFound(t *testing.T) {
	dir := home(t)
	c, err := Load("")
	if err != nil || c.Listen != DefaultListen || len(c.Endpoints) != 0 || c.State != filepath.Join(dir, ".local", "state", "transferd") {
		t.Fatalf("without a file: %+v, %v", c, err)
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
	if c.Redis != "redis://127.0.0.1:6379/0" || c.Roots[0] != "/var/lib/images" || e.User != "ops@example.com" || e.MaxInFlight != 16 {
		t.Errorf("read %+v", c)
	}
}

func TestLoadRefuses(t *testing.T) {
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
		"no password":              {with("    password_env: ZRH_PASSWORD\n", ""), "nothing says where"},
		"two passwords":            {good + "    password_file: /x\n", "2 places"},
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
				t.Fatalf("error %v has code %q", err, transfer.CodeOf(err))
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %q does not name %q and the file", err, tc.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error shows the password: %q", err)
			}
		})
	}
	if _, err := Load(filepath.Join(dir, "none.yaml")); transfer.CodeOf(err) != transfer.CodeInvalid {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestPassword(t *testing.T) {
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
			t.Errorf("%+v: %q, %v", tc.e, got, err)
		}
	}
	for _, e := range []Endpoint{
		{PasswordEnv: "NOT_SET_ANYWHERE"}, {PasswordFile: filepath.Join(dir, "none")}, {PasswordCommand: "echo s3cret; echo s3cret >&2; exit 3"},
	} {
		_, err := e.Password(t.Context())
		if transfer.CodeOf(err) != transfer.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

// TestPasswordCommandHangs waits for a command no longer than its caller does, and leaves nothing of it running.
func TestPasswordCommandHangs(t *testing.T) {
	held := filepath.Join(t.TempDir(), "held")
	if err := unix.Mkfifo(held, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	gone := make(chan error, 1)
	go func() {
		f, err := os.Open(held) // waits for the command
		cancel()
		if err == nil {
			_, err = io.Copy(io.Discard, f) // waits for the last process of it
		}
		gone <- err
	}()
	e := Endpoint{PasswordCommand: "exec 3>" + held + "; sleep 1000 | head -n1"}
	if _, err := e.Password(ctx); transfer.CodeOf(err) != transfer.CodeCanceled {
		t.Errorf("%v", err)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
}

// TestPasswordCommandLeaves takes the password of a command that has ended and left something behind, as an agent.
func TestPasswordCommandLeaves(t *testing.T) {
	left := filepath.Join(t.TempDir(), "pid")
	e := Endpoint{PasswordCommand: "sleep 1000 & echo from command; echo $! >" + left}
	if p, err := e.Password(t.Context()); p != "from command" || err != nil {
		t.Errorf("%q, %v", p, err)
	}
	pid, err := os.ReadFile(left)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	if err = errors.Join(err, unix.Kill(n, unix.SIGKILL)); err != nil {
		t.Error(err)
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
		t.Errorf("found %+v with password %q, %v", e, p, err)
	}
	for _, name := range []string{"dev.yaml", "dev.password"} {
		if info, err := os.Stat(filepath.Join(state, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := withdraw(); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(""); err != nil || len(c.Endpoints) != 0 {
		t.Errorf("after it was withdrawn: %+v, %v", c, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		good,
		"endpoints: {a: {url: 'http://x', user: u, password_env: P}}",
		"endpoints:\n  a: &x {url: 'https://h:1/', user: u, password_command: pass show a, ca_file: /c, max_in_flight: 256}\n  b: *x\n",
		"endpoints: {a/b: {url: 'https://u:p@h', user: '', password_file: /p, password_env: P}}",
		"http: {token_file: /t, cert_file: /c, key_file: /k, hosts: [h, H:1]}\nredis_ca_file: /ca\nstate: /s\n",
		"roots: [/]\n---\nroots: [relative]\n",
		"roots: !tag ",
		"roots: !/\xe4ots: ", // at which the library panics
		"# nothing\n", "\xef\xbb\xbfroots: []", "{", "a: b: c", "\t- x", "roots: |\n  text\nlisten: \"\\u00e4\"", "<<: {roots: [/]}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parse(text)
		if (c == nil) == (err == nil) {
			t.Fatalf("got %+v and %v", c, err)
		}
		if err != nil || c.expandPaths("/etc") != nil {
			return
		}
		for name, e := range c.Endpoints {
			if u, err := url.Parse(e.URL); err != nil || u.Host == "" || u.User != nil || !transfer.ValidEndpointName(name) {
				t.Errorf("accepted the endpoint %q at %q", name, e.URL)
			}
		}
		for _, root := range c.Roots {
			if !filepath.IsAbs(root) {
				t.Errorf("accepted the root %q", root)
			}
		}
	})
}

// TestSecrecy refuses a config that holds a password and that everybody may read.
func TestSecrecy(t *testing.T) {
	path := write(t, filepath.Join(home(t), "config.yaml"), "redis: redis://:s3cret@h:6379/0\n")
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); transfer.CodeOf(err) != transfer.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
	for _, address := range []string{"redis://h?master_name=m&password=s3cret", "redis://h?master_name=m&sentinel_password=s3cret"} {
		write(t, path, "redis: "+address+"\n")
		if _, err := Load(path); transfer.CodeOf(err) != transfer.CodeInvalid || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	}
	write(t, path, "redis: redis://h:6379/0\n")
	if _, err := Load(path); err != nil {
		t.Errorf("one without a password: %v", err)
	}
}

// TestSecretFiles refuses files of secrets that every job may read.
func TestSecretFiles(t *testing.T) {
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
		for roots, ok := range map[string]bool{"/var/lib/images": true, dir: false, dir + "/kept": false, dir + "/link": false, dir + "/ke": true, "/": false} {
			_, err := Load(write(t, filepath.Join(dir, "c.yaml"), strings.Replace(text, "/var/lib/images", roots, 1)))
			if (err == nil) != ok || err != nil && (transfer.CodeOf(err) != transfer.CodeInvalid || !strings.Contains(err.Error(), secret)) {
				t.Errorf("with the roots %s: %v\n%s", roots, err, text)
			}
		}
	}
}

// TestNoRoots allows none.
func TestNoRoots(t *testing.T) {
	c, err := Load(write(t, filepath.Join(home(t), "c.yaml"), "roots: []\n"))
	if err != nil || c.Roots == nil || len(c.Roots) != 0 {
		t.Errorf("%+v, %v", c, err)
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
			t.Errorf("%s: %v", text, err)
		}
	}
}
