package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// withPaths is a config in which each key of a path has the same form of path.
const withPaths = `redis_ca_file: PATH/redis.pem
state: PATH/state
roots: [ROOT/images]
http: {token_file: PATH/token, cert_file: PATH/cert.pem, key_file: PATH/key.pem}
endpoints:
  zrh: {url: "https://h", user: u, password_file: PATH/secret, ca_file: PATH/ca.pem}
`

// TestPathsAreMadeAbsolute: ~/ is the home, and relative paths are relative to the config's folder.
func TestPathsAreMadeAbsolute(t *testing.T) {
	dir := home(t)
	for form, want := range map[string]string{
		"~": dir, "/etc/x": "/etc/x", "../up": filepath.Join(dir, "up"),
		"sub": filepath.Join(dir, "conf", "sub"), "./~x": filepath.Join(dir, "conf", "~x"),
		"./$x": filepath.Join(dir, "conf", "$x"),
	} {
		root := form
		if form != "~" && form != "/etc/x" {
			root = "/r"
		}
		text := strings.NewReplacer("PATH", form, "ROOT", root).Replace(withPaths)
		c, err := Load(write(t, filepath.Join(dir, "conf", "config.yaml"), text))
		if err != nil {
			t.Errorf("%s: got %v, want no error", form, err)
			continue
		}
		e := c.Endpoints["zrh"]
		for got, name := range map[string]string{
			c.RedisCAFile: "redis.pem", c.State: "state", c.HTTP.TokenFile: "token", c.HTTP.CertFile: "cert.pem",
			c.HTTP.KeyFile: "key.pem", e.PasswordFile: "secret", e.CAFile: "ca.pem",
		} {
			if got != filepath.Join(want, name) {
				t.Errorf("%s: got %s, want %s", form, got, filepath.Join(want, name))
			}
		}
		if form == "~" && c.Roots[0] != filepath.Join(dir, "images") {
			t.Errorf("got the root %s, want %s", c.Roots[0], filepath.Join(dir, "images"))
		}
	}
}

// TestUnexpandedPathsAreRefused: those that a shell would expand, and those with control
// characters, which the address of a queue cannot hold.
func TestUnexpandedPathsAreRefused(t *testing.T) {
	dir := home(t)
	for _, form := range []string{"~other", "$HOME", "${HOME}/x", `"a\nb"`, `"a\eb"`} {
		for key, text := range map[string]string{
			"state": "state: " + form, "redis_ca_file": "redis_ca_file: " + form, "roots": "roots: [" + form + "]",
			"password_file": "endpoints: {zrh: {url: \"https://h\", user: u, password_file: " + form + "}}",
		} {
			if strings.HasPrefix(form, "${") && strings.Contains(text, "[") {
				continue // YAML: a flow sequence cannot hold it
			}
			_, err := Load(write(t, filepath.Join(dir, "config.yaml"), text))
			if transfer.CodeOf(err) != transfer.CodeInvalid {
				t.Errorf("%s: %s: got %v, want code %q", key, form, err, transfer.CodeInvalid)
			}
		}
	}
	path := write(t, filepath.Join(dir, "config.yaml"), "")
	for _, form := range []string{"~other", "$HOME/x", "a\nb", "a\xffb"} {
		t.Setenv("TRANSFERD_STATE", form)
		if _, err := Load(path); transfer.CodeOf(err) != transfer.CodeInvalid {
			t.Errorf("$TRANSFERD_STATE %q: got %v, want code %q", form, err, transfer.CodeInvalid)
		}
	}
}

// TestStateOfTheEnvironmentIsExpanded: relative paths are relative to the current folder, as in a
// shell.
func TestStateOfTheEnvironmentIsExpanded(t *testing.T) {
	dir := home(t)
	t.Chdir(dir)
	path := write(t, filepath.Join(dir, "conf", "config.yaml"), "state: elsewhere\n")
	for form, want := range map[string]string{
		"~/s": filepath.Join(dir, "s"), "s": filepath.Join(dir, "s"), "/s": "/s",
	} {
		t.Setenv("TRANSFERD_STATE", form)
		if c, err := Load(path); err != nil || c.State != want {
			t.Errorf("%s: got %v, %v; want %s", form, c, err, want)
		}
	}
	t.Setenv("TRANSFERD_CONFIG", "~/conf/config.yaml")
	if _, err := Load(""); err != nil {
		t.Errorf("$TRANSFERD_CONFIG with ~/: got %v, want no error", err)
	}
}

// TestByteOrderMarkIsDropped from a config and from secrets; other encodings are refused.
func TestByteOrderMarkIsDropped(t *testing.T) {
	const mark = "\xef\xbb\xbf"
	dir := home(t)
	path := filepath.Join(dir, "config.yaml")
	for text, code := range map[string]transfer.Code{
		mark + "listen: 127.0.0.1:1\r\n": "", mark: "", mark + "\n": "", "\xff\xfel\x00i\x00": transfer.CodeInvalid,
		"\xfe\xff\x00l": transfer.CodeInvalid, "listen: \"\xff\"\n": transfer.CodeInvalid,
	} {
		if _, err := Load(write(t, path, text)); transfer.CodeOf(err) != code {
			t.Errorf("%q: got %v, want %q", text, err, code)
		}
	}
	e := Endpoint{PasswordFile: filepath.Join(dir, "secret")}
	for text, want := range map[string]string{
		mark + "s3cret\r\n": "s3cret", "s\xff3\n": "s\xff3",
		"\xff\xfes\x00": "", mark + "\n": "", "": "", "\ns3cret": "",
	} {
		write(t, e.PasswordFile, text)
		got, err := e.Password(t.Context())
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
}
