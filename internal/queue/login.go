package queue

import (
	"context"
	"net/url"
	"sync"

	"github.com/redis/go-redis/v9"
)

// login is the user and password of Redis, which may change. It is safe for concurrent use.
type login struct {
	mu             sync.Mutex
	user, password string
}

// Relogin makes new connections log in with the user and password of an address. Only these may
// differ from the address that was dialed. Its errors have CodeInvalid.
func (c *Client) Relogin(address string) error { return c.login.set(address) }

func (l *login) set(address string) error {
	user, password, err := credentials(address)
	if err != nil {
		return badAddress()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.user, l.password = user, password
	return nil
}

// get is go-redis' CredentialsProviderContext.
func (l *login) get(context.Context) (user, password string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.user, l.password, nil
}

// credentials is what an address of any kind says.
func credentials(address string) (user, password string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", err
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return "", "", err
		}
		return o.Username, o.Password, nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return "", "", err
		}
		return o.Username, o.Password, nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return "", "", err
	}
	return o.Username, o.Password, nil
}
