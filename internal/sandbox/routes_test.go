package sandbox

import (
	"strings"
	"testing"
)

const anyID = "2e82c87e-61a1-443c-bc81-5c3167df5c11"

func TestMatch(t *testing.T) {
	for path, ok := range map[string]bool{
		"/profile/info":              true,
		"/drives/list":               true,
		"//drives/list":              true,
		"/drives/create":             true,
		"/drives/" + anyID + "/info": true,
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
	} {
		if _, got := match(path); got != ok {
			t.Errorf("%q: %v, want %v", path, got, ok)
		}
	}
}

func TestOnlyOneFormOfAUUID(t *testing.T) {
	if id, ok := parseUUID(strings.ToUpper(anyID)); !ok || id != anyID {
		t.Errorf("capitals: %q, %v", id, ok)
	}
	for _, s := range []string{
		"", "urn:uuid:" + anyID, "{" + anyID + "}", strings.ReplaceAll(anyID, "-", ""), anyID + " ", anyID[:35], anyID[:35] + "g",
		strings.Replace(anyID, "-", "0", 1),
	} {
		if id, ok := parseUUID(s); ok {
			t.Errorf("%q is taken for %s", s, id)
		}
	}
}

func FuzzReadPath(f *testing.F) {
	for _, seed := range []string{
		"/drives/" + anyID + "/read/0/4M", "/drives/" + anyID + "/read/1/4194305", "//drives/standard/img/list",
		"/drives/standard/cd/" + anyID + "/info", "/drives/" + anyID + "/write/18446744073709551615", "/drives//read",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		to, ok := match(path)
		if !ok {
			return
		}
		if again, ok := match("/" + path); !ok || again.command != to.command || again.drive != to.drive {
			t.Fatalf("%q changes with another slash", path)
		}
		if to.run == nil || len(to.args) > to.command.args {
			t.Fatalf("%q: incomplete route %+v", path, to)
		}
		if id, ok := parseUUID(to.drive); to.drive != "" && (!ok || id != to.drive) {
			t.Fatalf("%q: drive %q", path, to.drive)
		}
		off, size, err := readRange(to.args)
		if err == nil && (off < 0 || size < 1 || size > maxRead) {
			t.Fatalf("%q: %d bytes at %d", path, size, off)
		}
		if off, err := writeOffset(to.args); err == nil && off < 0 {
			t.Fatalf("%q: offset %d", path, off)
		}
	})
}
