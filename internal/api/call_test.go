package api

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestAnyCallHasItsMethod: with input, and where something changes, it is POST; a server group
// starts and stops by GET (manual 10). Only reads are repeated.
func TestAnyCallHasItsMethod(t *testing.T) {
	input := []byte("name x\n")
	for _, tc := range []struct {
		path   string
		input  []byte
		method string
		read   bool
	}{
		{"drives/list", nil, http.MethodGet, true},
		{"/drives/" + uuid + "/info/", nil, http.MethodGet, true},
		{"drives/" + uuid + "/read/0/512", nil, http.MethodGet, true},
		{"drives/" + uuid + "/destroy", nil, http.MethodPost, false},
		{"drives/create", input, http.MethodPost, false},
		{"drives/create", nil, http.MethodPost, false},
		{"drives/" + uuid + "/set", nil, http.MethodGet, true}, // 405
		{"servers/" + uuid + "/start", nil, http.MethodPost, false},
		{"servergroups/" + uuid + "/start", nil, http.MethodGet, false},
		{"servergroups/" + uuid + "/destroy", nil, http.MethodPost, false},
		{"resources/ip/create", nil, http.MethodPost, false},
		{"subscriptions/network/ip/calculate", input, http.MethodPost, true},
		{"subscriptions/network/ip/create", input, http.MethodPost, false},
	} {
		if got := methodOf(splitPath(tc.path), tc.input); got != tc.method {
			t.Errorf("%s: got %s, want %s", tc.path, got, tc.method)
		}
		if got := IsRead(tc.path, tc.input); got != tc.read {
			t.Errorf("%s: got a read: %t, want %t", tc.path, got, tc.read)
		}
	}
}

// TestEachChangeHasACallThatShowsIt: a new or destroyed object is in the list, others in their
// info.
func TestEachChangeHasACallThatShowsIt(t *testing.T) {
	for path, want := range map[string]string{
		"drives/create":                             "drives list",
		"drives/" + uuid + "/set":                   "drives " + uuid + " info",
		"drives/" + uuid + "/clone":                 "drives list",
		"drives/" + uuid + "/destroy":               "drives list",
		"drives/" + uuid + "/write/0":               "drives " + uuid + " info",
		"servers/create/stopped":                    "servers list",
		"servers/stop":                              "servers info",
		"guests/" + uuid + "/reset":                 "guests " + uuid + " info",
		"resources/vlan/create":                     "resources vlan list",
		"resources/ip/203.0.113.7/destroy":          "resources ip list",
		"resources/vlan/" + uuid + "/set":           "resources vlan " + uuid + " info",
		"servergroups/" + uuid + "/add":             "servergroups " + uuid + " info",
		"profile/set":                               "profile info",
		"subscriptions/network/ip/create":           "subscriptions list",
		"subscriptions/" + uuid + "/set":            "subscriptions list",
		"/drives/" + strings.ToUpper(uuid) + "/set": "drives " + strings.ToUpper(uuid) + " info",
	} {
		if got := strings.Join(ReadAfter(path), " "); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// TestListsHaveValues: one a line, of resources the last word. Other responses have objects.
func TestListsHaveValues(t *testing.T) {
	for _, tc := range []struct {
		path, response string
		want           []string
		ok             bool
	}{
		{"drives/list", uuidA + "\n" + uuidB + "\n", []string{uuidA, uuidB}, true},
		{"drives/list", "", nil, true},
		{"resources/ip/list", "ip 203.0.113.7\nip 203.0.113.8\n", []string{"203.0.113.7", "203.0.113.8"}, true},
		{"subscriptions/list", someOrder, nil, false},
		{"drives/info", someDrive, nil, false},
	} {
		if got, ok := DecodeValues(tc.path, []byte(tc.response)); !slices.Equal(got, tc.want) || ok != tc.ok {
			t.Errorf("%s: got %q, %t; want %q, %t", tc.path, got, ok, tc.want, tc.ok)
		}
	}
}

// TestDataOfADriveIsNoText: it may look like a page, and is sent as bytes.
func TestDataOfADriveIsNoText(t *testing.T) {
	c := newEndpoint(t, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Content-Type"); r.Method == http.MethodPost && got != "application/octet-stream" {
			t.Errorf("got the content type %q of a write, want bytes", got)
		}
		_, _ = w.Write([]byte("<html>"))
	})
	got, err := c.Call(t.Context(), "drives/"+uuid+"/read/0/6", nil)
	if string(got) != "<html>" || err != nil {
		t.Errorf("got %q and %v, want the data", got, err)
	}
	if _, err := c.Call(t.Context(), "drives/"+uuid+"/write/0", []byte("<html>")); err != nil {
		t.Errorf("write: got %v, want no error", err)
	}
	for path, want := range map[string]int{"drives/" + uuid + "/write/0": MaxChunk, "drives/create": maxKeys} {
		if got := MaxInput(path); got != want {
			t.Errorf("%s: got at most %d bytes of input, want %d", path, got, want)
		}
	}
}

// FuzzDecodeValues: no value of a list is empty or has blanks.
func FuzzDecodeValues(f *testing.F) {
	f.Add("drives/list", []byte(uuidA+"\n"))
	f.Add("/resources/ip/list/", []byte("ip 203.0.113.7\r\n\n"))
	f.Add("", []byte("\n"))
	f.Fuzz(func(t *testing.T, path string, response []byte) {
		values, _ := DecodeValues(path, response)
		for _, v := range values {
			if v == "" || strings.ContainsAny(v, " \n") {
				t.Errorf("%q, %q: got the value %q", path, response, v)
			}
		}
		_, _ = ReadAfter(path), MaxInput(path)
	})
}
