package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// accountApp is an app whose endpoint zrh has the profile and these other calls.
func accountApp(t *testing.T, calls map[string]string) (a *app, stdout, stderr *bytes.Buffer) {
	t.Helper()
	return newTestApp(t, func(w http.ResponseWriter, r *http.Request) {
		text, ok := calls[r.URL.Path]
		if r.URL.Path == "/profile/info" {
			text, ok = "uuid "+someUUID+"\nemail ops@example.com\ncurrency EUR\nsecret_key hush\n", true
		}
		if !ok {
			http.Error(w, "errors:system No such command.", http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(text))
	})
}

// show runs account show.
func (a *app) show(t *testing.T) {
	t.Helper()
	if err := execute(t.Context(), a.accountShow(), "zrh:"); err != nil {
		t.Errorf("account show: got %v, want no error", err)
	}
}

// TestUnknownPartsOfAnAccountAreLeftOut: an endpoint that has the profile alone is no error. Each
// missing part is a note.
func TestUnknownPartsOfAnAccountAreLeftOut(t *testing.T) {
	a, stdout, stderr := accountApp(t, map[string]string{"/balance/info": "balance 0.1\ncurrency USD\n"})
	a.show(t)
	if !strings.Contains(stdout.String(), "balance   0.10 USD\n") || strings.Contains(stdout.String(), "hush") ||
		strings.Contains(stdout.String(), "USAGE") {
		t.Errorf("got\n%swant the balance, and neither usage nor the secret key", stdout)
	}
	const want = "note: zrh has no call for the usage\nnote: zrh has no call for the subscriptions\n"
	if stderr.String() != want {
		t.Errorf("got %q, want %q", stderr, want)
	}
}

// TestMoneyIsExact: no digit of a balance is lost. One without a currency has that of the profile.
func TestMoneyIsExact(t *testing.T) {
	for text, want := range map[string]string{
		"balance 12345678901234567.89":      "12345678901234567.89 EUR",
		"balance 0.1\ncurrency USD":         "0.10 USD",
		"balance -3\ncurrency CHF":          "-3.00 CHF",
		"balance 0.00000001\ncurrency USD":  "0.00000001 USD",
		"balance 100.100000\ncurrency USD ": "100.10 USD",
	} {
		a, stdout, _ := accountApp(t, map[string]string{"/balance/info": text + "\n"})
		a.show(t)
		if !strings.Contains(stdout.String(), "balance   "+want+"\n") {
			t.Errorf("%q: got\n%swant %s", text, stdout, want)
		}
		amount, _, _ := strings.Cut(want, " ")
		a.output = outputJSON
		a.show(t)
		if !strings.Contains(stdout.String(), `"amount": "`+amount+`"`) {
			t.Errorf("%q: got\n%swant the amount %s in JSON", text, stdout, amount)
		}
	}
}
