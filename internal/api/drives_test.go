package api

import (
	"net/http"
	"strings"
	"testing"

	"github.com/transferd/transferd/internal/transfer"
)

// TestDriveSmallerThanAskedIsRefused: CreateDrive refuses a drive that is smaller than requested.
func TestDriveSmallerThanAskedIsRefused(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("drive " + uuid + "\nsize 512\n"))
	})
	_, err := c.CreateDrive(t.Context(), CreateOptions{Name: "x", Size: 1024})
	expect(t, err, transfer.CodeProtocol)
}

// TestDriveInUpperCaseCanBeNamed: the UUID that a response has in upper case is one of later calls.
func TestDriveInUpperCaseCanBeNamed(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/drives/info" && r.URL.Path != "/drives/"+uuid+"/info" {
			t.Errorf("got a request for %s, want /drives/info or that of the drive", r.URL)
		}
		_, _ = w.Write([]byte("drive " + strings.ToUpper(uuid) + "\nsize 512\n"))
	})
	drives, err := c.Drives(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Drive(t.Context(), drives[0].UUID); err != nil {
		t.Errorf("got %v, want success", err)
	}
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
