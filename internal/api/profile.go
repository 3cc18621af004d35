package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Profile is the account that the credentials belong to.
type Profile struct {
	UUID      string // is the User of all that belongs to the account; endpoints may leave it out
	Email     string
	FirstName string
	LastName  string
	NickName  string
	Company   string
	Country   string
	Currency  string // such as EUR
	Language  string
	Type      string    // such as regular
	Clock     time.Time // the endpoint's time, to the second; zero if the response has none
	Keys      Object    // the complete response without secret_key, which is a password
}

// ID identifies the account: its UUID, or its e-mail address on endpoints that leave the UUID out.
func (p *Profile) ID() string { return cmp.Or(p.UUID, p.Email) }

// secretKey is the API key of the account.
const secretKey = "secret_key"

func newProfile(o Object) (Profile, error) {
	keys := maps.Clone(o)
	delete(keys, secretKey)
	p := Profile{
		UUID: o["uuid"], Email: o["email"], FirstName: o["first_name"], LastName: o["last_name"],
		NickName: o["nick_name"], Company: o["company"], Country: o["country"], Currency: o["currency"],
		Language: o["language"], Type: o["type"], Keys: keys,
	}
	if p.ID() == "" {
		return Profile{}, transfer.Errorf(transfer.CodeProtocol, hintNotAPI, "the response describes no profile")
	}
	return p, nil
}

func profileInfo() command { return accountKind.read("read the profile", "profile/info") }

// Profile describes the account: GET /profile/info (manual 6.1).
func (c *Client) Profile(ctx context.Context) (Profile, error) {
	var header http.Header
	cmd := profileInfo()
	cmd.header = &header
	p, err := one(ctx, c, cmd, newProfile)
	p.Clock, _ = http.ParseTime(header.Get("Date")) // RFC 9110, 6.6.1; an endpoint without a clock sends none
	return p, err
}

// requiredKeys are those that a change of the profile must have, changed or not (manual 6.2).
var requiredKeys = []string{"email", "first_name", "last_name", "nick_name"}

// SetProfile changes the given keys of the profile and no others: POST /profile/set (manual 6.2).
// Required keys that are not given are sent as they are. It returns the profile after that. Keys
// with wrong values are FieldErrors, and then nothing is changed.
func (c *Client) SetProfile(ctx context.Context, keys Object) (Profile, error) {
	p, err := c.Profile(ctx)
	if err != nil {
		return Profile{}, err
	}
	sent := make(Object)
	maps.Copy(sent, keys)
	for _, key := range requiredKeys {
		if _, given := keys[key]; !given {
			sent.add(key, p.Keys[key])
		}
	}
	return changed(ctx, c, accountKind.post("change the profile", "profile/set", sent), profileInfo(), newProfile)
}
