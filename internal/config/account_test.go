package config

import "testing"

// TestAccountIdentifiesTheEndpoint: all forms of one endpoint's URL give one Account, and two
// endpoints never do.
func TestAccountIdentifiesTheEndpoint(t *testing.T) {
	of := func(url, user string) string {
		e := Endpoint{URL: url, User: user}
		return e.Account()
	}
	for _, same := range [][]string{
		{
			"https://api.example.com", "HTTPS://API.Example.COM",
			"https://api.example.com:443", "https://api.example.com:443/", "https://api.example.com:0443",
			"https://api.example.com//", "https://api.example.com./", "https://api.example.com:/",
		},
		{
			"http://10.0.0.1:80/cloud", "http://10.0.0.1/cloud/", "http://10.0.0.1/./cloud",
			"http://10.0.0.1/%63loud", "http://[::ffff:10.0.0.1]/cloud",
		},
		{"https://[::1]:8443", "https://[0:0:0:0:0:0:0:1]:8443/"},
	} {
		for _, url := range same[1:] {
			got, want := of(url, "ops@example.com"), of(same[0], "ops@example.com")
			if got != want {
				t.Errorf("%s: got %q, want %q, that of %s", url, got, want, same[0])
			}
		}
	}
	if of("https://a", "Ops@Example.com") != of("https://a", "ops@example.com") {
		t.Error("got two accounts for a user in capitals, want one")
	}
	seen := make(map[string]string)
	for _, url := range []string{
		"https://a", "http://a", "https://b", "https://a:444", "http://a:443",
		"https://a/x", "https://a/X", "https://a/x/y",
	} {
		for _, user := range []string{"one", "two"} {
			account := of(url, user)
			if other, ok := seen[account]; ok {
				t.Errorf("%s of %s: got %q, which is the account of %s", url, user, account, other)
			}
			seen[account] = url
		}
	}
}
