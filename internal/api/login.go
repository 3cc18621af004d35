package api

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/transferd/transferd/internal/transfer"
)

// login is the user and password of an endpoint. A password may be rotated while jobs run, so the
// client fetches it again when the endpoint refuses it. login is safe for concurrent use, and is
// never printed.
type login struct {
	user     string
	fetch    func(ctx context.Context) (string, error) // nil: the password does not change
	fetching *semaphore.Weighted                       // of one: held while the password is fetched

	mu       sync.Mutex
	password string
}

func newLogin(cfg *Config) *login {
	return &login{user: cfg.User, password: cfg.Password, fetch: cfg.FetchPassword, fetching: semaphore.NewWeighted(1)}
}

func (l *login) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.password
}

// renew fetches the password, unless another call has done so since refused was current. It reports
// whether the password differs from refused.
func (l *login) renew(ctx context.Context, refused string) (password string, changed bool, err error) {
	if l.fetch == nil {
		return refused, false, nil
	}
	if err := l.fetching.Acquire(ctx, 1); err != nil {
		return "", false, err
	}
	defer l.fetching.Release(1)
	if password = l.current(); password != refused {
		return password, true, nil
	}
	if password, err = l.fetch(ctx); err != nil {
		return "", false, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.password = password
	return password, password != refused, nil
}

// Reload fetches the password again, for all later calls. Its errors are those of
// Config.FetchPassword; after an error the password stays.
func (c *Client) Reload(ctx context.Context) error {
	l := c.shared.login
	_, _, err := l.renew(ctx, l.current())
	return err
}

// callAuthorized makes a call, and repeats it if the endpoint refuses the password and there is a
// new one.
func (c *Client) callAuthorized(ctx context.Context, r *request) error {
	l := c.shared.login
	password := l.current()
	err := c.roundTrip(ctx, r, password)
	if transfer.CodeOf(err) != transfer.CodeUnauthorized {
		return err
	}
	password, changed, fetchErr := l.renew(ctx, password)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fetchErr != nil:
		return transfer.Errorf(transfer.CodeUnauthorized, transfer.FailureOf(fetchErr).Hint,
			"%w, and the password cannot be fetched again: %w", err, fetchErr)
	case !changed:
		return err
	}
	return c.roundTrip(ctx, r, password)
}
