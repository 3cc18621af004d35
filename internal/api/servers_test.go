package api

import (
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// example is a response in the form of the live service: in the order of a hash, with empty values.
func example(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// serving is a client of an endpoint with one response to all calls.
func serving(t testing.TB, text []byte) *Client {
	return newEndpoint(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(text) })
}

// withCRLF is a response as endpoints of the parent API send it.
func withCRLF(text []byte) []byte { return []byte(strings.ReplaceAll(string(text), "\n", "\r\n")) }

// TestServersAreReadInEveryForm: running, stopped, and while the drives of a clone are copied; with
// either end of line.
func TestServersAreReadInEveryForm(t *testing.T) {
	const owner = "4f21c9b7-0b2e-4d6e-8c9b-5b1a8f3f9c01"
	text := example(t, "servers.txt")
	for name, text := range map[string][]byte{"LF": text, "CRLF": withCRLF(text)} {
		servers, err := serving(t, text).Servers(t.Context())
		if err != nil || len(servers) != 3 {
			t.Fatalf("%s: got %d servers, %v; want 3", name, len(servers), err)
		}
		want := []Server{{
			UUID: "62fe7cde-4fb9-4c63-bd8c-e757930066a0", Name: "server one", User: owner,
			Status: "active", CPU: 1100, SMP: 2, Mem: 640, Boot: []string{"ide:0:0", "block:0"},
			Devices: []Device{
				{Name: "block:0", Drive: "9a7e15d0-6f3b-4d0b-8a55-9b2f1c8d7e62", Read: Requests{Requests: 1}},
				{
					Name: "ide:0:0", Drive: "4c81fd9a-2f6b-4b8a-9d6e-1d7b6a0e7f11",
					Read: Requests{4096, 1}, Write: Requests{9125888, 466},
				},
			},
			NICs:       []NIC{{Model: "virtio", DHCP: "198.51.100.8", Block: []string{"tcp/25", "tcp/22"}}},
			VNC:        VNC{IP: "198.51.100.8", Password: "T4opPgkl"},
			Persistent: true, Started: time.Date(2010, 12, 10, 14, 39, 59, 0, time.UTC),
			Received: Traffic{760681, 12241}, Sent: Traffic{25812, 92},
		}, {
			UUID: "2e82c87e-61a1-443c-bc81-5c3167df5c11", Name: "server two", User: owner,
			Status: "stopped", CPU: 2000, Mem: 1024, Boot: []string{"ide:0:1"},
			Devices: []Device{{Name: "ide:0:1", Drive: "78df72e2-7e4e-4d4a-8b4d-91d1dc0d0a1b", Media: "cdrom"}},
			NICs:    []NIC{{DHCP: "auto"}, {Index: 1, VLAN: "1b5dcd85-2c4a-4b0e-8c2f-7d9e6a5b4c3d"}},
			VNC:     VNC{IP: "auto"},
		}, {
			UUID: "a19a425f-9e92-42f6-89fb-6361203071bb", Name: "clone of two", Status: "imaging 12%",
			CPU: 2000, Mem: 1024,
		}}
		for i, got := range servers {
			if running := i == 0; got.Running() != running {
				t.Errorf("%s: server %d: got running %t, want %t", name, i, got.Running(), running)
			}
			want[i].Keys = Decode(text)[i]
			if len(got.Boot) == 0 {
				got.Boot = nil
			}
			for j := range got.NICs {
				if len(got.NICs[j].Block) == 0 {
					got.NICs[j].Block = nil
				}
			}
			if !reflect.DeepEqual(got, want[i]) {
				t.Errorf("%s: server %d:\ngot  %+v\nwant %+v", name, i, got, want[i])
			}
		}
	}
}

// TestMalformedServerIsRefused: the error names the key and its value.
func TestMalformedServerIsRefused(t *testing.T) {
	for text, words := range map[string][]string{
		"name x\n":                              {"describes no server"},
		"server x\nname x\n":                    {"describes no server"},
		"server " + uuid + "\ncpu many\n":       {"cpu", "many"},
		"server " + uuid + "\nmem 1.5\n":        {"mem", "1.5"},
		"server " + uuid + "\nstarted \x1b[31m": {"started"},
		"":                                      {"0 objects"},
	} {
		_, err := serving(t, []byte(text)).Server(t.Context(), uuid)
		expect(t, err, transfer.CodeProtocol, append(words, "read info of server "+uuid)...)
		if strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: got %q, want no control characters", text, err)
		}
	}
}

// TestServerOptionsThatNoEndpointAcceptsAreNotSent: and the error does not show the password.
func TestServerOptionsThatNoEndpointAcceptsAreNotSent(t *testing.T) {
	c := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			t.Errorf("got a request for %s, want none", r.URL)
		}
	})
	for name, change := range map[string]func(o *ServerOptions){
		"no name":        func(o *ServerOptions) { o.Name = "" },
		"name":           func(o *ServerOptions) { o.Name = "a\nmem 1" },
		"no cpu":         func(o *ServerOptions) { o.CPU = 0 },
		"no mem":         func(o *ServerOptions) { o.Mem = 0 },
		"long password":  func(o *ServerOptions) { o.VNC.Password = password },
		"password":       func(o *ServerOptions) { o.VNC.Password = "a\nb" },
		"device":         func(o *ServerOptions) { o.Devices = []Device{{Name: "ide:2:0", Drive: uuid}} },
		"block device":   func(o *ServerOptions) { o.Devices = []Device{{Name: "block:8", Drive: uuid}} },
		"no drive":       func(o *ServerOptions) { o.Devices = []Device{{Name: "ide:0:0"}} },
		"drive by name":  func(o *ServerOptions) { o.Devices = []Device{{Name: "ide:0:0", Drive: "x"}} },
		"another's line": func(o *ServerOptions) { o.Keys = Object{"use": "a\r\nb"} },
	} {
		o := ServerOptions{Name: "x", CPU: 1000, Mem: 512}
		change(&o)
		_, err := c.CreateServer(o).Do(t.Context())
		if expect(t, err, transfer.CodeInvalid); strings.Contains(err.Error(), `a\nb`) {
			t.Errorf("%s: got %v, want no password in it", name, err)
		}
	}
}

// TestVNCPasswordIsMeasuredInCharacters: not in bytes.
func TestVNCPasswordIsMeasuredInCharacters(t *testing.T) {
	o := ServerOptions{Name: "x", CPU: 1000, Mem: 512, VNC: VNC{Password: "äöüÄÖÜßé"}}
	if _, err := o.object(); err != nil {
		t.Errorf("8 characters: got %v, want success", err)
	}
	o.VNC.Password += "é"
	_, err := o.object()
	expect(t, err, transfer.CodeInvalid)
}

// TestEndpointsMayLeaveTheBodyOut: a change without a body in its response is followed by a read,
// and a call whose response is of no use succeeds with 200 or 204.
func TestEndpointsMayLeaveTheBodyOut(t *testing.T) {
	for _, status := range []int{200, 204} {
		c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				respond(w, r)
				return
			}
			w.WriteHeader(status)
		})
		ctx := t.Context()
		name := Object{"name": "x"}
		for what, call := range map[string]func() (string, error){
			"start server": func() (string, error) { s, err := c.StartServer(ctx, uuid); return s.UUID, err },
			"set server":   func() (string, error) { s, err := c.SetServer(ctx, uuid, name); return s.UUID, err },
			"set drive":    func() (string, error) { d, err := c.SetDrive(ctx, uuid, name); return d.UUID, err },
			"rename VLAN":  func() (string, error) { v, err := c.RenameVLAN(ctx, uuid, "x"); return v.UUID, err },
			"set group": func() (string, error) {
				g, err := c.SetServerGroup(ctx, uuid, "x", "")
				return g.UUID, err
			},
			"set profile":   func() (string, error) { p, err := c.SetProfile(ctx, nil); return p.UUID, err },
			"stop":          func() (string, error) { return uuid, c.StopServer(ctx, uuid) },
			"destroy":       func() (string, error) { return uuid, c.DestroyServer(ctx, uuid) },
			"destroy IP":    func() (string, error) { return uuid, c.DestroyIP(ctx, "203.0.113.7") },
			"destroy group": func() (string, error) { return uuid, c.DestroyServerGroup(ctx, uuid) },
		} {
			if got, err := call(); got != uuid || err != nil {
				t.Errorf("%s, %d: got %q, %v; want %s", what, status, got, err, uuid)
			}
		}
		if started, err := c.StartServers(ctx, uuid); len(started) > 0 || err != nil {
			t.Errorf("start servers, %d: got %q, %v; want none", status, started, err)
		}
	}
}

// TestCallsForSeveralServersNeedUUIDs: nothing is sent without servers, or with a malformed UUID.
func TestCallsForSeveralServersNeedUUIDs(t *testing.T) {
	c := newEndpoint(t, func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("got a request for %s, want none", r.URL)
	})
	for _, uuids := range [][]string{nil, {uuid, uuid[1:]}, {".."}} {
		_, err := c.DestroyServers(t.Context(), uuids...)
		expect(t, err, transfer.CodeInvalid)
		_, err = c.AddToServerGroup(t.Context(), uuid, uuids...)
		expect(t, err, transfer.CodeInvalid)
	}
	_, err := c.AddToServerGroup(t.Context(), "..", uuid)
	expect(t, err, transfer.CodeInvalid)
}
