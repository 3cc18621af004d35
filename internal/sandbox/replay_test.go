package sandbox

import (
	"bufio"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// replay is one request of a client of the service, as its bytes, and the response that the client
// expects. In all texts $HOST and $AUTH stand for the server and the credentials, $LENGTH for the
// length of the body, and $NAME for what an earlier row saved.
type replay struct {
	head   string // of the request, up to the body
	body   string
	status string // the status line of the response
	want   string // the whole body of the response; * is any text within a line, ** any text
	save   string // "NAME=key": saves the value of a key of the response
}

const (
	ok200       = "HTTP/1.1 200 OK"
	noContent04 = "HTTP/1.1 204 No Content"
	bad400      = "HTTP/1.1 400 Bad Request"
	notFound404 = "HTTP/1.1 404 Not Found"
	conflict409 = "HTTP/1.1 409 Conflict"

	// The bodies of refusals, with the phrases that clients look for.
	refused = "errors:system *\n"
	missing = "errors:system *could not be found.\n"
	inUse   = "errors:system *currently in use*\n"
)

// replayer sends the requests of a client over TCP.
type replayer struct {
	*rig
	values map[string]string
	conn   net.Conn // nil: the next request opens one
	in     *bufio.Reader
}

func newReplayer(t *testing.T) *replayer {
	r := newRig(t)
	return &replayer{rig: r, values: map[string]string{
		"$HOST": r.http.Listener.Addr().String(),
		"$AUTH": base64.StdEncoding.EncodeToString([]byte(testUser + ":" + testPassword)),
		"$USER": r.s.account,
	}}
}

var variable = regexp.MustCompile(`\$[A-Z]+`)

// expand replaces the variables of a text. One without a value stays.
func (r *replayer) expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(name string) string {
		if value, ok := r.values[name]; ok {
			return value
		}
		return name
	})
}

// run sends the requests of rows in order. Without keepAlive each has a connection of its own.
func (r *replayer) run(keepAlive bool, rows []replay) {
	r.Helper()
	for _, row := range rows {
		body := r.expand(row.body)
		r.values["$LENGTH"] = strconv.Itoa(len(body))
		head := r.expand(row.head)
		line, _, _ := strings.Cut(head, "\r\n")
		status, got := r.exchange(head, body)
		if name, key, ok := strings.Cut(row.save, "="); ok {
			r.values["$"+name] = value(decode([]byte(got)), key)
		}
		if want := r.expand(row.want); status != row.status || !matches(got, want) {
			r.Fatalf("%s %q:\ngot  %s %q\nwant %s %q", line, body, status, got, row.status, want)
		}
		if !keepAlive {
			_ = r.conn.Close()
			r.conn = nil
		}
	}
}

// matches reports whether got is want, in which * is any text within a line, ** any text.
func matches(got, want string) bool {
	if !strings.Contains(want, "*") {
		return got == want
	}
	pattern := strings.NewReplacer(`\*\*`, `(?s:.*)`, `\*`, `[^\n]*`).Replace(regexp.QuoteMeta(want))
	return regexp.MustCompile(`\A` + pattern + `\z`).MatchString(got)
}

// exchange sends one request and returns the status line and the body of the response. The body of
// a request that expects 100 Continue follows after that.
func (r *replayer) exchange(head, body string) (status, text string) {
	r.Helper()
	if r.conn == nil {
		conn := r.dial()
		r.conn, r.in = conn, bufio.NewReader(conn)
	}
	r.send(head)
	if strings.Contains(head, "\r\nExpect: 100-continue\r\n") {
		if status, _ := r.receive(); status != "HTTP/1.1 100 Continue" {
			r.Fatalf("got %s before the body, want 100 Continue", status)
		}
	}
	r.send(body)
	return r.receive()
}

func (r *replayer) send(text string) {
	r.Helper()
	if _, err := io.WriteString(r.conn, text); err != nil {
		r.Fatal(err)
	}
}

func (r *replayer) receive() (status, text string) {
	r.Helper()
	res, err := http.ReadResponse(r.in, nil) //nolint:bodyclose // the connection is closed
	if err != nil {
		r.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.Fatal(err)
	}
	return res.Proto + " " + res.Status, string(body)
}

// headOf joins the lines of a head.
func headOf(lines ...string) string { return strings.Join(append(lines, "", ""), "\r\n") }

// replayedDrive is a drive that a row has saved as $DRIVE. size and keys are its own.
func replayedDrive(name, size, keys string) string {
	return "drive $DRIVE\nname " + name + "\nsize " + size + "\nstatus active\nuser $USER\ntype disk\n" + keys +
		"read:bytes *\nread:requests *\nwrite:bytes *\nwrite:requests *\n"
}
