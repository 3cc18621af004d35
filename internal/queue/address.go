package queue

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/certs"
	"github.com/transferd/transferd/internal/transfer"
)

// address is a URL of Redis as go-redis parses it. One of the fields is set.
type address struct {
	single   *redis.Options
	cluster  *redis.ClusterOptions
	failover *redis.FailoverOptions
}

// parseAddress fails with CodeInvalid. The error does not contain the URL, which may hold a
// password.
func parseAddress(text string) (a address, err error) {
	u, err := url.Parse(text)
	if err == nil {
		switch query := u.Query(); {
		case query.Has("master_name"):
			a.failover, err = redis.ParseFailoverURL(text)
		case query.Has("addr"):
			a.cluster, err = redis.ParseClusterURL(text)
		default:
			a.single, err = redis.ParseURL(text)
		}
	}
	if err != nil {
		return address{}, transfer.Errorf(transfer.CodeInvalid,
			"write redis://HOST:6379/0, rediss:// or unix:///PATH", "the address of Redis is not valid")
	}
	return a, nil
}

func (a address) credentials() (user, password string) {
	switch {
	case a.failover != nil:
		return a.failover.Username, a.failover.Password
	case a.cluster != nil:
		return a.cluster.Username, a.cluster.Password
	}
	return a.single.Username, a.single.Password
}

// connect makes a client. The client connects with its first command.
func (a address) connect(trust *certs.Trust, login *login) redis.UniversalClient {
	switch {
	case a.failover != nil:
		o := a.failover
		adjust(trust, o.TLSConfig, &o.Dialer, &o.ContextTimeoutEnabled, &o.DialerRetries, &o.MinRetryBackoff)
		o.CredentialsProviderContext = login.get
		return redis.NewFailoverClient(o)
	case a.cluster != nil:
		o := a.cluster
		adjust(trust, o.TLSConfig, &o.Dialer, &o.ContextTimeoutEnabled, &o.DialerRetries, &o.MinRetryBackoff)
		o.CredentialsProviderContext = login.get
		return redis.NewClusterClient(o)
	}
	o := a.single
	adjust(trust, o.TLSConfig, &o.Dialer, &o.ContextTimeoutEnabled, &o.DialerRetries, &o.MinRetryBackoff)
	o.CredentialsProviderContext = login.get
	return redis.NewClient(o)
}

const (
	// dialAttempts is how often each try of a command dials. go-redis makes four tries. With its
	// default of five dials per try, a command lasts 80 seconds where packets are dropped, and the
	// caller does not stop for as long.
	dialAttempts = 1
	// retryPause is the pause between tries: four of them outlast a restart of redis-server.
	retryPause = 100 * time.Millisecond
)

// dialFunc is go-redis' Dialer.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// adjust sets the options that the three kinds of address have in common. With TLS, each connection
// uses the certificates that are trusted when it is made. Commands end with their context, and
// retries are bounded.
func adjust(
	trust *certs.Trust, c *tls.Config, dialer *dialFunc, byContext *bool, dialerRetries *int, backoff *time.Duration,
) {
	if c != nil {
		*dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			with := c.Clone()
			with.RootCAs = trust.Roots()
			d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: with}
			return d.DialContext(ctx, network, address)
		}
	}
	*byContext, *dialerRetries, *backoff = true, dialAttempts, retryPause
}
