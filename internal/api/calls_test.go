package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestEachCallSendsWhatTheManualSays compares the request of each call with the manual (6.1, 7.1 to
// 7.10).
func TestEachCallSendsWhatTheManualSays(t *testing.T) {
	const described = "drive " + uuid + "\nname x\nsize 1024\nstatus active\ntags a b\n"
	var got calls
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		got.record(r)
		switch {
		case strings.HasSuffix(r.URL.Path, "/list"):
			_, _ = w.Write([]byte(uuid + "\n"))
		case r.URL.Path == "/profile/info":
			_, _ = w.Write([]byte("uuid " + uuid + "\nemail x@y\n"))
		case strings.HasSuffix(r.URL.Path, "/destroy"):
			w.WriteHeader(http.StatusNoContent)
		default:
			_, _ = w.Write([]byte(described))
		}
	})
	ctx := t.Context()
	for _, tc := range []struct {
		method, path, body string
		call               func() error
	}{
		{"POST", "/drives/create", "name x\nreaders r1 r2\nsize 1024\ntags a b\n", func() error {
			o := CreateOptions{Name: "x", Size: 1024, Tags: []string{"a", "b"}, Readers: []string{"r1", "r2"}}
			d, err := c.CreateDrive(ctx, o)
			if d.UUID != uuid || d.Size != o.Size || !slices.Equal(d.Tags, o.Tags) {
				t.Errorf("got %+v, want drive %s with %+v", d, uuid, o)
			}
			return err
		}},
		{"POST", "/drives/" + uuid + "/clone", "name y\n", func() error {
			_, err := c.CloneDrive(ctx, uuid, CloneOptions{Name: "y"})
			return err
		}},
		{"POST", "/drives/" + uuid + "/set", "name z\n", func() error {
			_, err := c.SetDrive(ctx, uuid, Object{"name": "z"})
			return err
		}},
		{"POST", "/drives/" + uuid + "/destroy", "", func() error { return c.DestroyDrive(ctx, uuid) }},
		{"GET", "/drives/" + uuid + "/info", "", func() error { _, err := c.Drive(ctx, uuid); return err }},
		{"GET", "/drives/info", "", func() error { _, err := c.Drives(ctx); return err }},
		{"GET", "/drives/list", "", func() error { _, err := c.ListDrives(ctx); return err }},
		{"GET", "/drives/standard/cd/list", "", func() error { _, err := c.ListStandardCDs(ctx); return err }},
		{"GET", "/drives/standard/img/list", "", func() error { _, err := c.ListStandardImages(ctx); return err }},
		{"GET", "/drives/standard/list", "", func() error { _, err := c.ListStandard(ctx); return err }},
		{"GET", "/drives/standard/info", "", func() error { _, err := c.StandardDrives(ctx); return err }},
		{"GET", "/profile/info", "", func() error { _, err := c.Profile(ctx); return err }},
		{"GET", "/drives/a b/../x", "", func() error { _, err := c.Call(ctx, "drives/a b/../x", nil); return err }},
		{"POST", "/servers/create", "name x\n", func() error {
			_, err := c.Call(ctx, "servers/create", []byte("name x\n"))
			return err
		}},
		{"POST", "/servers/1/stop", "", func() error { _, err := c.Call(ctx, "/servers/1/stop/", nil); return err }},
	} {
		got.clear()
		if err := tc.call(); err != nil {
			t.Errorf("%s %s: got %v, want success", tc.method, tc.path, err)
		}
		if len(got.list) != 1 {
			t.Errorf("%s %s: got %d calls, want 1", tc.method, tc.path, len(got.list))
			continue
		}
		sent := got.list[0]
		if sent.method != tc.method || sent.path != tc.path || sent.body != tc.body || len(sent.encoding) > 0 {
			t.Errorf("got %+v, want %s %s %q", sent, tc.method, tc.path, tc.body)
		}
		if tc.method == "POST" && sent.length != int64(len(tc.body)) {
			t.Errorf("%s: got Content-Length %d, want %d", tc.path, sent.length, len(tc.body))
		}
	}
}

// TestDriveSmallerThanAskedIsRefused: CreateDrive refuses a drive that is smaller than requested.
func TestDriveSmallerThanAskedIsRefused(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("drive " + uuid + "\nsize 512\n"))
	})
	_, err := c.CreateDrive(t.Context(), CreateOptions{Name: "x", Size: 1024})
	expect(t, err, transfer.CodeProtocol)
}

// TestReadyReadsEveryFormOfState: endpoints show a drive's state in different forms.
func TestReadyReadsEveryFormOfState(t *testing.T) {
	for text, want := range map[string]bool{
		"status active": true, "": true, "status active\nimaging false": true, "status active\nclaimed " + uuid: true,
		"status imaging": false, "status copying": false, "status active\nimaging 42": false, "imaging true": false,
		"status active\nclaimed 00-imaging": false,
	} {
		d, err := newDriveInfo(Decode([]byte("drive " + uuid + "\nsize 1\n" + text))[0])
		if err != nil {
			t.Fatal(err)
		}
		if ready, err := d.Ready(); ready != want || err != nil {
			t.Errorf("%q: got ready %v, %v; want %v", text, ready, err, want)
		}
	}
	d := DriveInfo{Status: "inactive"}
	_, err := d.Ready()
	expect(t, err, transfer.CodeRefused)
}

// TestWhatIsNoUUIDIsNotRequested: no call is made for a text that is no UUID, because its path
// could be that of another call.
func TestWhatIsNoUUIDIsNotRequested(t *testing.T) {
	c := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("got a request for %s, want none", r.URL)
	})
	for _, id := range []string{"", "..", "../x", "list", uuid + "/destroy", strings.ToUpper(uuid)} {
		_, err := c.Drive(t.Context(), id)
		expect(t, err, transfer.CodeInvalid)
		_, err = OpenDrive(t.Context(), c, id)
		expect(t, err, transfer.CodeInvalid)
		s := transfer.NewSpec(transfer.Verify, transfer.Ref{Path: "/a"}, transfer.Ref{Endpoint: "zrh", Drive: id})
		if id != "" && transfer.CodeOf(checkSpec(&s)) != transfer.CodeInvalid {
			t.Errorf("a job for drive %q: got no refusal, want %s", id, transfer.CodeInvalid)
		}
	}
}
