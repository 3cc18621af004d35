package sandbox

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

const (
	anyID = "2e82c87e-61a1-443c-bc81-5c3167df5c11"
	anyIP = "203.0.113.2"
)

func TestPathsMatchTheirCommands(t *testing.T) {
	routes := newRoutes(new(Server).commands())
	for path, want := range map[string]bool{
		"/profile/info":                              true,
		"/profile/set":                               true,
		"/balance/info":                              true,
		"/subscriptions/list":                        true,
		"/subscriptions/" + anyID + "/set":           true,
		"/subscriptions/" + anyID + "/set/calculate": true,
		"/subscriptions/set":                         false,
		"/subscriptions/network/ip/info":             false,
		"/drives/list":                               true,
		"//drives/list":                              true,
		"/drives/create":                             true,
		"/drives/" + anyID + "/info":                 true,
		"/drives/" + strings.ToUpper(anyID) + "/set": true,
		"/drives/" + anyID + "/write":                true,
		"/drives/" + anyID + "/write/4M":             true,
		"/drives/" + anyID + "/read/0/4M":            true,
		"/drives/" + anyID + "/read":                 true, // 400 for its missing arguments
		"/drives/standard/list":                      true,
		"/drives/standard/cd/info":                   true,
		"/drives/standard/img/" + anyID + "/info":    true,
		"/":                                   false,
		"":                                    false,
		"/drives":                             false,
		"/drives/":                            false,
		"/drives/nothing":                     false,
		"/drives//list":                       false,
		"/drives/list/":                       false,
		"/drives/" + anyID:                    false,
		"/drives/" + anyID + "x/info":         false,
		"/drives/" + anyID[1:] + "/info":      false,
		"/drives/" + anyID + "/nothing":       false,
		"/drives/" + anyID + "/info/more":     false,
		"/drives/" + anyID + "/write/0/0":     false,
		"/drives/" + anyID + "/read/0/1/2":    false,
		"/drives/standard":                    false,
		"/drives/standard/dvd/list":           false,
		"/drives/standard/" + anyID + "/info": false,
		"/drives/standard/img/" + anyID:       false,
		"/servers/---no+such+id---/info":      false,
		"/servers/list":                       true,
		"/guests/" + anyID + "/info":          true,
		"/guest/destroy":                      true,
		"/servers/create/stopped":             true,
		"/servers/create/started":             false,
		"/server/list":                        false,
		"/resources/ip/" + anyIP + "/info":    true,
		"/resources/" + anyIP + "/destroy":    true,
		"/resources/" + anyIP + "/info":       false,
		"/resources/" + anyID + "/destroy":    false,
		"/resources/ip/" + anyID + "/destroy": false,
		"/resources/ip/203.0.113.02/destroy":  false,
		"/resources/ip/203.0.113/destroy":     false,
		"/resources/ip/::1/destroy":           false,
		"/resources/vlan/" + anyIP + "/info":  false,
		"/servergroupss/" + anyID + "/add":    true,
		"/servergroups/set":                   false,
		"/servergroup/list":                   false,
	} {
		if _, _, got := match(routes, path); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
}

func TestParseUUIDTakesOneForm(t *testing.T) {
	if id, ok := parseUUID(strings.ToUpper(anyID)); !ok || id != anyID {
		t.Errorf("capitals: got %q, %v; want %q", id, ok, anyID)
	}
	for _, s := range []string{
		"", "urn:uuid:" + anyID, "{" + anyID + "}", strings.ReplaceAll(anyID, "-", ""), anyID + " ",
		anyID[:35], anyID[:35] + "g", strings.Replace(anyID, "-", "0", 1),
	} {
		if id, ok := parseUUID(s); ok {
			t.Errorf("%q: got %s, want no UUID", s, id)
		}
	}
}

func FuzzReadPath(f *testing.F) {
	for _, seed := range []string{
		"/drives/" + anyID + "/read/0/4M", "/drives/" + anyID + "/read/1/4194305", "//drives/standard/img/list",
		"/resources/ip/" + anyIP + "/destroy", "/resources/ip/203.0.113.02/info", "/resources/::ffff:1.2.3.4/destroy",
		"/drives/standard/cd/" + anyID + "/info", "/drives/" + anyID + "/write/18446744073709551615", "/drives//read",
	} {
		f.Add(seed)
	}
	routes := newRoutes(new(Server).commands())
	f.Fuzz(func(t *testing.T, path string) {
		c, parameters, ok := match(routes, path)
		if !ok {
			return
		}
		if again, same, ok := match(routes, "/"+path); !ok || again != c || !maps.Equal(same, parameters) {
			t.Fatalf("%q with another slash: got %v %v, want %v %v", path, again, same, c, parameters)
		}
		if id, found := parameters["uuid"]; found {
			if canonical, ok := parseUUID(id); !ok || canonical != id {
				t.Fatalf("%q: got UUID %q, want its canonical form", path, id)
			}
		}
		if ip, found := parameters["ip"]; found {
			if canonical, ok := parseIPv4(ip); !ok || canonical != ip || strings.Count(ip, ".") != 3 {
				t.Fatalf("%q: got address %q, want its canonical form", path, ip)
			}
		}
		off, size, err := readRange(parameters)
		if err == nil && (off < 0 || size < 1 || size > maxRead) {
			t.Fatalf("%q: got %d bytes at %d, want an error", path, size, off)
		}
		if off, err := writeOffset(parameters); err == nil && off < 0 {
			t.Fatalf("%q: got offset %d, want an error", path, off)
		}
	})
}

// methodRules is the method rule of every command, from the manual and its clients.
var methodRules = map[string]string{
	"profile/info":                                       "GET, POST",
	"profile/set":                                        "POST",
	"drives/list":                                        "GET, POST",
	"drives/info":                                        "GET, POST",
	"drives/create":                                      "POST",
	"drives/{uuid}/info":                                 "GET, POST",
	"drives/{uuid}/set":                                  "POST",
	"drives/{uuid}/clone":                                "POST",
	"drives/{uuid}/destroy":                              "GET, POST",
	"drives/{uuid}/write/{offset?}":                      "POST",
	"drives/{uuid}/read/{offset?}/{size?}":               "GET, POST",
	"drives/standard/list":                               "GET, POST",
	"drives/standard/info":                               "GET, POST",
	"drives/standard/{medium:img|cd}/list":               "GET, POST",
	"drives/standard/{medium:img|cd}/info":               "GET, POST",
	"drives/standard/{medium:img|cd}/{uuid}/info":        "GET, POST",
	"{servers:servers|guests|guest}/list":                "GET, POST",
	"{servers:servers|guests|guest}/info":                "GET, POST",
	"{servers:servers|guests|guest}/create":              "POST",
	"{servers:servers|guests|guest}/create/stopped":      "POST",
	"{servers:servers|guests|guest}/start":               "POST",
	"{servers:servers|guests|guest}/stop":                "POST",
	"{servers:servers|guests|guest}/destroy":             "POST",
	"{servers:servers|guests|guest}/{uuid}/info":         "GET, POST",
	"{servers:servers|guests|guest}/{uuid}/set":          "POST",
	"{servers:servers|guests|guest}/{uuid}/clone":        "POST",
	"{servers:servers|guests|guest}/{uuid}/destroy":      "GET, POST",
	"{servers:servers|guests|guest}/{uuid}/start":        "GET, POST",
	"{servers:servers|guests|guest}/{uuid}/stop":         "GET, POST",
	"{servers:servers|guests|guest}/{uuid}/shutdown":     "GET, POST",
	"{servers:servers|guests|guest}/{uuid}/reset":        "GET, POST",
	"resources/list":                                     "GET, POST",
	"resources/info":                                     "GET, POST",
	"resources/vlan/list":                                "GET, POST",
	"resources/vlan/info":                                "GET, POST",
	"resources/vlan/create":                              "POST",
	"resources/vlan/{uuid}/info":                         "GET, POST",
	"resources/vlan/{uuid}/set":                          "POST",
	"resources/vlan/{uuid}/destroy":                      "GET, POST",
	"resources/ip/list":                                  "GET, POST",
	"resources/ip/info":                                  "GET, POST",
	"resources/ip/create":                                "GET, POST",
	"resources/ip/{ip}/info":                             "GET, POST",
	"resources/ip/{ip}/destroy":                          "GET, POST",
	"resources/{ip}/destroy":                             "GET, POST",
	"{groups:servergroups|servergroupss}/list":           "GET, POST",
	"{groups:servergroups|servergroupss}/create":         "POST",
	"{groups:servergroups|servergroupss}/{uuid}/info":    "GET, POST",
	"{groups:servergroups|servergroupss}/{uuid}/set":     "POST",
	"{groups:servergroups|servergroupss}/{uuid}/destroy": "GET, POST",
	"{groups:servergroups|servergroupss}/{uuid}/add":     "POST",
	"{groups:servergroups|servergroupss}/{uuid}/remove":  "POST",
	"{groups:servergroups|servergroupss}/{uuid}/start":   "GET, POST",
	"{groups:servergroups|servergroupss}/{uuid}/stop":    "GET, POST",

	"currencies/list":                      "GET, POST",
	"usage/info":                           "GET, POST",
	"pricing/info":                         "GET, POST",
	"transactions/list":                    "GET, POST",
	"balance/info":                         "GET, POST",
	"subscriptions/list":                   "GET, POST",
	"subscriptions/resources/info":         "GET, POST",
	"subscriptions/resources/create":       "POST",
	"subscriptions/net/info":               "GET, POST",
	"subscriptions/network/ip/create":      "POST",
	"subscriptions/network/ip/calculate":   "POST",
	"subscriptions/network/vlan/create":    "POST",
	"subscriptions/network/vlan/calculate": "POST",
	"subscriptions/software/create":        "POST",
	"subscriptions/software/calculate":     "POST",
	"subscriptions/{uuid}/set":             "POST",
	"subscriptions/{uuid}/set/calculate":   "POST",
}

// pathsOf are paths of a pattern: one for each word that a parameter takes. A read has all its
// arguments, without which it is refused.
func pathsOf(pattern, id, ip string) []string {
	pattern = strings.NewReplacer("{uuid}", id, "{ip}", ip, "{offset?}", "0", "{size?}", "1").Replace(pattern)
	before, rest, found := strings.Cut(pattern, "{")
	if !found {
		return []string{"/" + pattern}
	}
	parameter, after, _ := strings.Cut(rest, "}")
	_, words, _ := strings.Cut(parameter, ":")
	var paths []string
	for word := range strings.SplitSeq(words, "|") {
		paths = append(paths, pathsOf(before+word+after, id, ip)...)
	}
	return paths
}

// rowInput is input that each command of the table takes, which ignores the keys of others. ID
// stands for the object, and for a command on groups for a server.
const rowInput = "name x\nsize 4096\ncpu 2000\nmem 512\nserver:0 ID\nmsft_lwa_00135 1\nquantity 1\n" +
	"start_time 2026-11-27 12:00:00\nmonths 1\nemail a@b\nfirst_name x\nlast_name x\nnick_name x"

// isOfServers reports whether a path is that of a command on servers.
func isOfServers(path string) bool {
	return strings.HasPrefix(path, "/servers/") ||
		strings.HasPrefix(path, "/guests/") || strings.HasPrefix(path, "/guest/")
}

// newObject makes an object for one request: a new one each time, for destroy. It returns its UUID,
// or what stands for it in a path.
func newObject(r *rig, path string) string {
	if isOfServers(path) {
		return r.createServer("")
	}
	if strings.HasPrefix(path, "/subscriptions/UUID/") {
		return r.subscribe("cpu 2000")
	}
	medium, isStandard := strings.CutPrefix(path, "/drives/standard/")
	if isStandard && strings.Contains(path, "UUID") {
		medium, _, _ = strings.Cut(medium, "/")
		return r.standard(medium + "/")[0]
	}
	switch {
	case strings.Contains(path, "/vlan/"):
		return r.createVLAN("x")
	case strings.HasPrefix(path, "/resources/"):
		return r.createAddress()
	case isOfGroups(path):
		return r.createGroup("x")
	}
	return r.create(4096)
}

func isOfGroups(path string) bool { return strings.HasPrefix(path, "/servergroups") }

// newInput is rowInput for an object, with a server of its own for a command on groups.
func newInput(r *rig, path, id string) []byte {
	if isOfGroups(path) {
		id = r.createServer("")
	}
	return []byte(strings.Replace(rowInput, "ID", id, 1))
}

// TestCommandsTakeTheMethodsOfTheirRule sends requests to every command of the table.
func TestCommandsTakeTheMethodsOfTheirRule(t *testing.T) {
	r := newRig(t, func(cfg *Config) { cfg.Balance = "100000" }) // orders are sent many times
	rules := maps.Clone(methodRules)
	for _, row := range r.s.commands() {
		want, ok := rules[row.pattern]
		if !ok {
			t.Errorf("%s: got no method rule in this test, want one", row.pattern)
		}
		delete(rules, row.pattern)
		for _, path := range pathsOf(row.pattern, "UUID", "UUID") {
			t.Run(path, func(t *testing.T) {
				checkRow(t, r, want, func() (string, []byte) {
					id := newObject(r, path)
					return strings.Replace(path, "UUID", id, 1), newInput(r, path, id)
				})
			})
		}
	}
	for pattern := range rules {
		t.Errorf("got no %s in the table, want one", pattern)
	}
}

func checkRow(t *testing.T, r *rig, allow string, next func() (path string, input []byte)) {
	t.Helper()
	for _, slashes := range []string{"", "/", "//"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			p, input := next()
			p = slashes + p
			a := r.do(method, p, input)
			if slices.Contains(strings.Split(allow, ", "), method) {
				if a.status != 200 && a.status != 204 {
					t.Errorf("%s %s: got %d %q, want success", method, p, a.status, a.body)
				}
			} else if a.status != 405 || a.header.Get("Allow") != allow {
				t.Errorf("%s %s: got %d, Allow %q, want 405 and %q", method, p, a.status, a.header.Get("Allow"), allow)
			}
		}
	}
	p, input := next()
	unknown := []string{p + "/more", "/x" + p, p + "x/y/z/0/0"}
	if !strings.HasSuffix(p, "/0") && !strings.HasSuffix(p, "/1") { // ends with a word
		unknown = append(unknown, p+"x", p+"/", p[:strings.LastIndex(p, "/")+1]+"fly")
	}
	for _, p := range unknown {
		for _, method := range []string{"GET", "POST", "PUT"} {
			if a := r.do(method, p, input); a.status != 404 {
				t.Errorf("%s %s: got %d %q, want 404", method, p, a.status, a.body)
			}
		}
	}
}

// TestRowsDoNotOverlap: the command of a path must not depend on the order of the table.
func TestRowsDoNotOverlap(t *testing.T) {
	routes := newRoutes(new(Server).commands())
	for _, r := range routes {
		for _, path := range pathsOf(r.pattern, anyID, anyIP) {
			for i := range routes {
				_, ok := routes[i].match(strings.Split(path[1:], "/"))
				if same := routes[i].pattern == r.pattern; ok != same {
					t.Errorf("%s and %s: got a match: %v, want %v", path, routes[i].pattern, ok, same)
				}
			}
		}
	}
}

func TestPatternsMatchTheirPaths(t *testing.T) {
	routes := newRoutes([]command{{pattern: "a|b/{kind:x|y}/{uuid}/{from?}/{to?}"}})
	for path, want := range map[string]map[string]string{
		"a|b/x/" + strings.ToUpper(anyID): {"kind": "x", "uuid": anyID},
		"a|b/y/" + anyID + "/":            {"kind": "y", "uuid": anyID, "from": ""},
		"a|b/y/" + anyID + "/1/2":         {"kind": "y", "uuid": anyID, "from": "1", "to": "2"},
		"a/x/" + anyID:                    nil,
		"a|b/z/" + anyID:                  nil,
		"a|b/x":                           nil,
		"a|b/x/" + anyID + "/1/2/3":       nil,
	} {
		if _, got, ok := match(routes, path); ok != (want != nil) || !maps.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", path, got, ok, want)
		}
	}
}
