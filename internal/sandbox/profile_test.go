package sandbox

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

const goodProfile = "email ops@example.org\nfirst_name Ada\nlast_name Lovelace\nnick_name ada\n"

// TestSetProfileKeepsOtherKeys: set changes what it is given, keeps the rest, and a restart keeps
// both.
func TestSetProfileKeepsOtherKeys(t *testing.T) {
	cfg := testConfig(t)
	r := serveRig(t, cfg)
	before := decode(r.get("/profile/info").body)
	r.post("/profile/set", goodProfile+"company A & B: C\ntown Zürich\nuuid "+anyID+"\ntype reseller\nunknown x\n"+
		"secret_key x\nsignature a\\nb")
	o := r.post("/profile/set", goodProfile+"town \nphone +41 1")
	r.stop()
	r = serveRig(t, cfg)
	after := r.get("/profile/info").body
	if got := string(encode(o)); got != string(after) {
		t.Errorf("got\n%s\nafter the restart, want\n%s", after, got)
	}
	r.keys("set", o, "email", "ops@example.org", "first_name", "Ada", "last_name", "Lovelace", "nick_name", "ada",
		"company", "A & B: C", "town", "", "phone", "+41 1", "signature", `a\nb`, "type", "regular",
		"uuid", value(before, "uuid"), "secret_key", value(before, "secret_key"), "currency", "EUR")
	if len(o) != len(before) {
		t.Errorf("got %d keys, want %d", len(o), len(before))
	}
}

// TestProfileHasAllKeys: those of the manual and of captures, empty ones with a space.
func TestProfileHasAllKeys(t *testing.T) {
	r := newRig(t)
	text := "\n" + string(r.get("/profile/info").body)
	const keys = "uuid email secret_key first_name last_name nick_name title company address postcode phone currency " +
		"country language salutation vat town job_title location facebook twitter xing linkedin website signature " +
		"ftp_disabled api_disabled api_https_only type"
	for key := range strings.FieldsSeq(keys) {
		if !strings.Contains(text, "\n"+key+" ") {
			t.Errorf("got no key %s in %s, want it, and a space", key, text)
		}
	}
	if got := strings.Count(text, "\n") - 1; got != len(strings.Fields(keys)) {
		t.Errorf("got %d keys, want %d", got, len(strings.Fields(keys)))
	}
}

// TestBadProfileIsNotSet: the response is the profile with the input in it, and a line for each bad
// key.
func TestBadProfileIsNotSet(t *testing.T) {
	r := newRig(t)
	before := r.get("/profile/info").body
	long := strings.Repeat("x", maxProfileValue+1)
	for _, c := range []struct {
		input string
		want  []string
	}{
		{"first_name x", []string{
			"first_name x\n", "last_name User\n", "errors:email This field is required.\n",
			"errors:last_name This field is required.\n", "errors:nick_name This field is required.\n",
		}},
		{"", []string{"errors:first_name This field is required.\n"}},
		{goodProfile + "last_name", []string{
			"first_name Ada\n", "last_name \n", "errors:last_name This field is required.\n",
		}},
		{goodProfile + "email ada", []string{"email ada\n", "errors:email must be an e-mail address\n"}},
		{goodProfile + "email a@b@c", []string{"errors:email must be"}},
		{goodProfile + "email a b@c", []string{"errors:email must be"}},
		{goodProfile + "currency XAU", []string{"currency XAU\n", "errors:currency must be one of: EUR\n"}},
		{goodProfile + "company " + long, []string{"errors:company must have at most 1024 bytes\n"}},
		{goodProfile + "company a\x01b", []string{"errors:company must not contain control characters\n"}},
	} {
		a := r.want(400, "POST", "/profile/set", []byte(c.input))
		contains(t, a.body, c.want...)
		o := decode(a.body)
		if value(o, "uuid") == "" || value(o, "type") != "regular" || value(o, "secret_key") != "" {
			t.Errorf("%q: got %q, want the profile without secret_key", c.input, a.body)
		}
	}
	equal(t, r.get("/profile/info").body, before)
	r.post("/profile/set", "email "+testUser+"\nfirst_name Sandbox\nlast_name User\nnick_name sandbox")
	equal(t, r.get("/profile/info").body, before)
}

// TestOldAccountFileGetsAKey: the file of a version without profile/set.
func TestOldAccountFileGetsAKey(t *testing.T) {
	cfg := testConfig(t)
	id := uuid.NewString()
	writeFile(t, cfg.Dir+"/account", "uuid "+id+"\nhost "+anyID+"\n")
	r := serveRig(t, cfg)
	first := r.get("/profile/info").body
	r.keys("profile", decode(first), "uuid", id)
	if value(decode(first), "secret_key") == "" {
		t.Errorf("got %q, want a secret_key", first)
	}
	r.stop()
	r = serveRig(t, cfg)
	equal(t, r.get("/profile/info").body, first)
}
