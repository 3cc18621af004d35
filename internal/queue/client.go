package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/certs"
	"github.com/transferd/transferd/internal/transfer"
)

// Options says how to reach Redis.
type Options struct {
	// URL is redis://, rediss:// or unix://; with addr= parameters it names a cluster, with
	// master_name= sentinels. It may hold a password, so it is never part of an error.
	URL string
	// CAFile is a PEM file of certificates to trust in addition to the system's; for rediss://.
	CAFile string
	// Hint tells the user what to do when nothing answers at the URL.
	Hint string
	// Warn is called once for each record that is skipped because it cannot be read; may be nil.
	Warn func(error)
}

// Client is a connection to the queue. It is safe for concurrent use.
type Client struct {
	rdb     redis.UniversalClient
	login   *login
	wakeup  *wakeup
	warn    func(error) // may be nil
	skipped sync.Map    // names that warn was called for
}

const dialTimeout = 5 * time.Second

// Dial connects and waits up to 5 seconds for an answer of Redis. Its errors have CodeInvalid or
// CodeUnreachable.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	silenceRedis()
	trust, err := certs.NewTrust(opts.CAFile)
	if err != nil {
		return nil, fmt.Errorf("redis_ca_file: %w", err)
	}
	at, err := parseAddress(opts.URL)
	if err != nil {
		return nil, err
	}
	login := new(login)
	login.set(at)
	rdb := at.connect(trust, login)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(dialError(err, &opts), rdb.Close())
	}
	return &Client{rdb: rdb, login: login, wakeup: newWakeup(rdb), warn: opts.Warn}, nil
}

func dialError(err error, opts *Options) error {
	e := &transfer.Error{
		Op: "connect to the queue", Code: transfer.CodeUnreachable, Err: err,
		Hint: cmp.Or(opts.Hint, "is Redis running, and are the address and password in `redis:` right?"),
	}
	if r := refusedBy(err); r != nil {
		e.Hint = r.hint
	}
	return e
}

// Starting reports whether an error of Dial is the answer of a Redis that loads its data.
func Starting(err error) bool { return loading.MatchString(err.Error()) }

var loading = answer(`LOADING `)

// Durability has the settings of Redis on which the durability of jobs depends, and its time.
type Durability struct {
	Eviction   string // maxmemory-policy; empty: Redis has no such setting
	AppendOnly string // yes or no; empty: Redis has no such setting
	Clock      time.Time
}

// Durability reads the settings and the time of Redis.
func (c *Client) Durability(ctx context.Context) (d Durability, err error) {
	if d.Clock, err = c.rdb.Time(ctx).Result(); err != nil {
		return d, failed("read the time of Redis", err)
	}
	for name, value := range map[string]*string{"maxmemory-policy": &d.Eviction, "appendonly": &d.AppendOnly} {
		if *value, err = c.setting(ctx, name); err != nil {
			return d, failed("read the settings of Redis", err)
		}
	}
	return d, nil
}

func (c *Client) setting(ctx context.Context, name string) (string, error) {
	values, err := c.rdb.ConfigGet(ctx, name).Result()
	if err != nil && strings.HasPrefix(err.Error(), "ERR unknown command") {
		return "", nil // the embedded queue in memory has no settings
	}
	return values[name], err
}

// Ping fails with CodeUnreachable unless Redis answers.
func (c *Client) Ping(ctx context.Context) error {
	return failed("reach the queue", c.rdb.Ping(ctx).Err())
}

// silenceRedis stops go-redis from printing each lost connection on standard error. Commands return
// the errors that matter.
var silenceRedis = sync.OnceFunc(func() { redis.SetLogger(silence{}) })

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Close ends the connection.
func (c *Client) Close() error { return c.rdb.Close() }

func noSuchJob(id string) error {
	return transfer.Errorf(transfer.CodeNotFound, "transferctl jobs list shows all jobs", "there is no job %s", id)
}
