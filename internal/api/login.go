package api

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/transferd/transferd/internal/transfer"
)

// login is the user and password of an endpoint. A password may be rotated while jobs run, so it is
// fetched again when the endpoint refuses it. It is safe for concurrent use, and is never printed.
type login struct {
	user  string
	fetch func(ctx context.Context) (string, error) // nil: the password stays
	turn  *semaphore.Weighted                       // of one: whoever has it may fetch

	mu       sync.Mutex
	password string
}

func newLogin(cfg *Config) *login {
	return &login{user: cfg.User, password: cfg.Password, fetch: cfg.FetchPassword, turn: semaphore.NewWeighted(1)}
}

func (l *login) current() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.password
}

// renew fetches the password, unless another call has done so since refused was the current one,
// and reports whether it is another one now.
func (l *login) renew(ctx context.Context, refused string) (password string, other bool, err error) {
	if l.fetch == nil {
		return refused, false, nil
	}
	if err := l.turn.Acquire(ctx, 1); err != nil {
		return "", false, err
	}
	defer l.turn.Release(1)
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

// Reload fetches the password again; calls that begin after it use it. Its errors are those of
// Config.FetchPassword, and then the password stays.
func (c *Client) Reload(ctx context.Context) error {
	l := c.shared.login
	_, _, err := l.renew(ctx, l.current())
	return err
}

// authorized makes a call, and once more if the endpoint refuses a password that has been replaced.
func (c *Client) authorized(ctx context.Context, r *request) error {
	l := c.shared.login
	password := l.current()
	err := c.exchange(ctx, r, password)
	if transfer.CodeOf(err) != transfer.CodeUnauthorized {
		return err
	}
	password, other, fetchErr := l.renew(ctx, password)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case fetchErr != nil:
		return transfer.Errorf(transfer.CodeUnauthorized, transfer.FailureOf(fetchErr).Hint,
			"%w, and the password cannot be fetched again: %w", err, fetchErr)
	case !other:
		return err
	}
	return c.exchange(ctx, r, password)
}
