package sandbox

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestWrongCredentialsGet401(t *testing.T) {
	r := newRig(t)
	profile := decode(r.get("/profile/info").body)
	id, key := value(profile, "uuid"), value(profile, "secret_key")
	for _, c := range []struct {
		name, user, password string
		status               int
	}{
		{"e-mail", testUser, testPassword, 200},
		{"UUID", id, testPassword, 200},
		{"UUID in capitals", strings.ToUpper(id), testPassword, 200},
		{"UUID and secret_key", id, key, 200},
		{"e-mail and secret_key", testUser, key, 401},
		{"UUID and no secret_key", id, "", 401},
		{"wrong password", testUser, testPassword + "x", 401},
		{"wrong user", "x" + testUser, testPassword, 401},
		{"empty", "", "", 401},
		{"swapped", testPassword, testUser, 401},
	} {
		for _, path := range []string{"/drives/list", "/no/such/command", "/", "/drives/" + anyID + "/write"} {
			req := r.request("GET", path, nil)
			req.SetBasicAuth(c.user, c.password)
			a, err := r.try(req)
			if err != nil {
				t.Fatal(err)
			}
			if (a.status == 401) != (c.status == 401) {
				t.Errorf("%s, %s: got status %d, want %d", c.name, path, a.status, c.status)
			}
			if got := a.header.Get("WWW-Authenticate"); (a.status == 401) != strings.HasPrefix(got, "Basic realm=") {
				t.Errorf("%s: got %d with WWW-Authenticate %q", c.name, a.status, got)
			}
		}
	}
	req := r.request("GET", "/drives/list", nil)
	req.Header.Del("Authorization")
	if a, err := r.try(req); err != nil || a.status != 401 {
		t.Errorf("without credentials: got %d, %v; want 401", a.status, err)
	}
}

func TestNewRefusesAnIncompleteConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no folder":   {User: "u", Password: "p"},
		"no user":     {Dir: t.TempDir(), Password: "p"},
		"no password": {Dir: t.TempDir(), User: "u"},
		"writes":      {Dir: t.TempDir(), User: "u", Password: "p", GuestWrites: -1},
		"bad fault":   {Dir: t.TempDir(), User: "u", Password: "p", Faults: []Fault{{Kind: "fire"}}},
	} {
		if s, err := New(cfg); err == nil {
			t.Errorf("%s: got no error, want one", name)
			_ = s.Close()
		}
	}
}

func TestCommandsOfTheManual(t *testing.T) {
	r := newRig(t)
	id := r.create(4096)
	for _, command := range []string{"create", id + "/set", id + "/clone", id + "/write", id + "/write/0"} {
		path := "/drives/" + command
		for _, method := range []string{"GET", "PUT", "DELETE", "HEAD"} {
			if got := r.want(405, method, path, nil).header.Get("Allow"); got != "POST" {
				t.Errorf("%s %s: got Allow %q, want POST", method, path, got)
			}
		}
	}
	reads := []string{
		"/profile/info", "/drives/list", "/drives/info", "/drives/" + id + "/info", "/drives/" + id + "/read/0/1",
		"/drives/standard/list", "/drives/standard/info", "/drives/standard/cd/list", "/drives/standard/img/list",
		"/drives/standard/cd/info", "/drives/standard/img/info",
	}
	for _, path := range reads {
		r.want(200, "GET", path, nil)
		r.want(200, "POST", path, nil)
		r.want(200, "POST", "/"+path, []byte("junk"), "Content-Type", "header")
		if got := r.want(405, "PUT", path, nil).header.Get("Allow"); got != "GET, POST" {
			t.Errorf("PUT %s: got Allow %q, want GET, POST", path, got)
		}
	}
	for _, path := range []string{
		"/drives/fly", "/drives/" + id + "/fly", "/drives/" + id[1:] + "/info", "/machines/list", "/",
	} {
		r.want(404, "GET", path, nil)
		r.want(404, "POST", path, nil)
	}
	for _, command := range []string{"/info", "/set", "/destroy", "/write", "/read/0/1"} {
		contains(t, r.want(404, "POST", "/drives/"+anyID+command, []byte("name x")).body, anyID+" could not be found")
	}
	contains(t, r.want(400, "POST", "/drives/"+anyID+"/clone", []byte("name x")).body, "could not be found")
	r.want(204, "GET", "/drives/"+id+"/destroy", nil)
}

func TestResponsesHaveTheirContentType(t *testing.T) {
	r := newRig(t)
	id := r.create(4096)
	for _, accept := range []string{"application/json", "text/plain", "*/*"} {
		a := r.want(200, "GET", "/drives/"+id+"/info", nil, "Accept", accept, "Content-Type", "application/json")
		if got := a.header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
			t.Errorf("got Content-Type %q, want text", got)
		}
		if strings.Contains(string(a.body), "\r") || !strings.HasSuffix(string(a.body), "\n") {
			t.Errorf("got %q, want LF line ends", a.body)
		}
	}
	if got := r.get("/drives/" + id + "/read/0/1").header.Get("Content-Type"); got != "application/octet-stream" {
		t.Errorf("data: got Content-Type %q, want application/octet-stream", got)
	}
	if got := r.do("GET", "/nothing", nil).header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
		t.Errorf("error: got Content-Type %q, want text", got)
	}
}

func TestProfileHasTheOwnerAndNoPassword(t *testing.T) {
	r := newRig(t)
	profile := decode(r.get("/profile/info").body)
	for _, key := range []string{"uuid", "email", "type", "first_name", "last_name", "nick_name"} {
		if value(profile, key) == "" {
			t.Errorf("got no %s in %v, want one", key, profile)
		}
	}
	if strings.Contains(string(encode(profile)), testPassword) {
		t.Error("got the password in the profile, want it left out")
	}
	if got := value(r.info(r.create(1)), "user"); got != value(profile, "uuid") {
		t.Errorf("got user %s, want that of the profile, %s", got, value(profile, "uuid"))
	}
}

func TestExpectContinueIsAnsweredBeforeTheBody(t *testing.T) {
	r := newRig(t)
	id := r.create(1 << 20)
	c := r.dial()
	in := bufio.NewReader(c)
	send := func(path string, length string) (status string) {
		t.Helper()
		head := r.head("POST "+path, "Expect: 100-continue", "Content-Length: "+length)
		if _, err := io.WriteString(c, head); err != nil {
			t.Fatal(err)
		}
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(line)
	}
	if got := send("/drives/"+id+"/write/0", "3"); got != "HTTP/1.1 100 Continue" {
		t.Fatalf("got %q, want 100 Continue", got)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "abc"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(in, nil) //nolint:bodyclose // the connection is closed
	if err != nil || res.StatusCode != 204 {
		t.Fatalf("got %v, %v; want 204", res, err)
	}
	if got := send("/drives/"+id+"/write/0", "1048577"); got != "HTTP/1.1 400 Bad Request" {
		t.Fatalf("a write past the end: got %q, want 400 Bad Request", got)
	}
}

func TestRefusalKeepsTheConnection(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Faults = []Fault{{Kind: "409", Percent: 100}} })
	id := r.create(4 << 20)
	c := r.dial()
	in := bufio.NewReader(c)
	body := strings.Repeat("x", 4<<20)
	for range 3 {
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, r.head("POST /drives/"+id+"/write/0", "Content-Length: 4194304")+body)
			sent <- err
		}()
		res, err := http.ReadResponse(in, nil) //nolint:bodyclose // the connection is closed
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		if res.StatusCode != 409 || res.Close || err != nil {
			t.Fatalf("got %v, %v; want 409 and an open connection", res, err)
		}
		contains(t, text, "currently in use")
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

func TestInterceptGetsAuthenticatedRequests(t *testing.T) {
	var s *Server
	var seen int
	r := newRig(t, func(c *Config) {
		c.Intercept = func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.Contains(req.URL.Path, "/write") {
				return false
			}
			if seen++; seen != 2 {
				return false
			}
			s.Plain().ServeHTTP(httptest.NewRecorder(), req)
			http.Error(w, "too late", http.StatusGatewayTimeout)
			return true
		}
	})
	s = r.s
	id := r.create(3)
	r.write(id, 0, []byte("a"))
	r.want(504, "POST", "/drives/"+id+"/write/1", []byte("b"))
	r.write(id, 2, []byte("c"))
	equal(t, r.read(id, 0, 3), []byte("abc"))
	req := r.request("POST", "/drives/"+id+"/write", strings.NewReader("x"))
	req.Header.Del("Authorization")
	if a, err := r.try(req); err != nil || a.status != 401 || seen != 3 {
		t.Errorf("without credentials: got %d, %v, %d intercepted; want 401, 3", a.status, err, seen)
	}
}

func TestOneServerPerFolder(t *testing.T) {
	cfg := testConfig(t)
	cfg.Dir += "/made"
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(cfg.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got the folder %v, %v; want mode 0700", info, err)
	}
	holder := fmt.Sprintf("another sandbox (process %d)", os.Getpid())
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), holder) {
		t.Errorf("second server: got %v, want another sandbox, of this process", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: got %v, want no error", err)
	}
	again, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	w := httptest.NewRecorder()
	s.Plain().ServeHTTP(w, httptest.NewRequest("GET", "/drives/list", nil))
	if w.Code != 500 {
		t.Errorf("request after Close: got %d, want 500", w.Code)
	}
}
