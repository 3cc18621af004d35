package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/transferd/transferd/internal/transfer"
)

// Profile is the UUID of the account that the credentials belong to.
func (c *Client) Profile(ctx context.Context) (string, error) {
	uuid, _, err := c.Account(ctx)
	return uuid, err
}

// Account is the UUID of the account that the credentials belong to (manual 6.1), and the
// endpoint's time, to the second; it is zero if the response has none.
func (c *Client) Account(ctx context.Context) (uuid string, clock time.Time, err error) {
	const op = "read the profile"
	text, header, err := c.textAndHeader(ctx, op, http.MethodGet, "profile/info", nil)
	if err != nil {
		return "", clock, err
	}
	clock, _ = http.ParseTime(header.Get("Date")) // RFC 9110, 6.6.1; an endpoint without a clock sends none
	objects := Decode(text)
	if len(objects) != 1 || cmp.Or(objects[0]["uuid"], objects[0]["email"]) == "" {
		return "", clock, &transfer.Error{
			Op: op, Code: transfer.CodeProtocol, Hint: hintNotAPI,
			Err: fmt.Errorf("the response of %s is no profile", c.shared.name),
		}
	}
	return cmp.Or(objects[0]["uuid"], objects[0]["email"]), clock, nil
}
