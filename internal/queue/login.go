package queue

import (
	"context"
	"sync"
)

// login is the user and password of Redis, which may change. It is safe for concurrent use.
type login struct {
	mu             sync.Mutex
	user, password string
}

// Relogin makes new connections log in with the user and password of an address. The rest of the
// address must be the one that was dialed. Its errors have CodeInvalid.
func (c *Client) Relogin(text string) error {
	a, err := parseAddress(text)
	if err == nil {
		c.login.set(a)
	}
	return err
}

func (l *login) set(a address) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.user, l.password = a.credentials()
}

// get is go-redis' CredentialsProviderContext.
func (l *login) get(context.Context) (user, password string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.user, l.password, nil
}
