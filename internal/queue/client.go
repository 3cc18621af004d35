package queue

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// Options say where Redis is.
type Options struct {
	// URL is redis://, rediss:// or unix://; with addr= parameters a cluster, with master_name= sentinels. It may hold a
	// password, so it is never part of an error.
	URL string
	// CAFile is certificates to trust beside the system's, PEM, with rediss://.
	CAFile string
}

// Client is a connection to the queue. It is safe for concurrent use.
type Client struct {
	rdb       redis.UniversalClient
	tasks     *asynq.Client
	inspector *asynq.Inspector
}

const dialTimeout = 5 * time.Second

// Dial connects and makes sure that Redis answers. Its errors have CodeInvalid or CodeUnreachable.
func Dial(ctx context.Context, opts Options) (*Client, error) {
	roots, err := opts.roots()
	if err != nil {
		return nil, err
	}
	rdb, err := connect(opts.URL, roots)
	if err != nil {
		return nil, transfer.Errorf(transfer.CodeInvalid, "write redis://HOST:6379/0, rediss:// or unix:///PATH", "the queue's address cannot be read")
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err != nil {
		return nil, errors.Join(&transfer.Error{
			Op: "connect to the queue", Code: transfer.CodeUnreachable, Hint: "is Redis running, and are the address and password in `redis:` right?", Err: err,
		}, rdb.Close())
	}
	return &Client{rdb: rdb, tasks: asynq.NewClientFromRedisClient(rdb), inspector: asynq.NewInspectorFromRedisClient(rdb)}, nil
}

// Ping reaches the queue, and learns nothing else.
func (c *Client) Ping(ctx context.Context) error {
	return failed("reach the queue", c.rdb.Ping(ctx).Err())
}

// roots is what a server's certificate is verified by; nil: the system's certificates.
func (o Options) roots() (*x509.CertPool, error) {
	if o.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(o.CAFile)
	if err != nil {
		return nil, transfer.Errorf(transfer.CodeInvalid, "check redis_ca_file", "read redis_ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, transfer.Errorf(transfer.CodeInvalid, "give a file of certificates in PEM", "redis_ca_file %s holds no certificate", o.CAFile)
	}
	return roots, nil
}

// trust is the address's TLS, if it says so, with the given roots.
func trust(c *tls.Config, roots *x509.CertPool) *tls.Config {
	if c != nil {
		c.RootCAs = roots
	}
	return c
}

func connect(address string, roots *x509.CertPool) (redis.UniversalClient, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	switch query := u.Query(); {
	case query.Has("master_name"):
		o, err := redis.ParseFailoverURL(address)
		if err != nil {
			return nil, err
		}
		o.TLSConfig = trust(o.TLSConfig, roots)
		return redis.NewFailoverClient(o), nil
	case query.Has("addr"):
		o, err := redis.ParseClusterURL(address)
		if err != nil {
			return nil, err
		}
		o.TLSConfig = trust(o.TLSConfig, roots)
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(address)
	if err != nil {
		return nil, err
	}
	o.TLSConfig = trust(o.TLSConfig, roots)
	return redis.NewClient(o), nil
}

// go-redis prints on standard error each connection that it loses. What matters comes back as an error, and is logged or
// shown as one.
func init() { redis.SetLogger(silence{}) }

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// Close ends the connection.
func (c *Client) Close() error { return c.rdb.Close() }

// failed gives an error of Redis its code and hint.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	e := &transfer.Error{Op: op, Code: transfer.CodeUnreachable, Hint: "is Redis running?", Err: err}
	var answered redis.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &answered) && strings.HasPrefix(answered.Error(), "OOM"):
		e.Code, e.Hint = transfer.CodeNoSpace, "the queue's memory is full: give Redis more, or prune jobs with transferctl jobs prune"
	case errors.As(err, &answered):
		e.Code, e.Hint = transfer.CodeFailed, "Redis refused; its log may say more"
	}
	return e
}

// move runs one of the scripts that answer a word.
func (c *Client) move(ctx context.Context, op string, s *script, id string, args ...any) (string, error) {
	word, err := s.Run(ctx, c.rdb, jobKeys(id), args...).Text()
	return word, failed(op, err)
}

func noSuchJob(id string) error {
	return transfer.Errorf(transfer.CodeNotFound, "transferctl jobs list shows the jobs there are", "there is no job %s", id)
}

func now() int64 { return time.Now().UnixMilli() }

// taskType is that of every trigger.
const taskType = "transfer"

const (
	// taskTimeout is asynq's limit for one delivery; a transfer has limits of its own.
	taskTimeout = 30 * 24 * time.Hour
	// taskRetries is how often asynq may deliver a trigger again; the record has the budget that counts.
	taskRetries = 25
)

// queueName is the asynq queue of a queue and a priority.
func queueName(queue string, p transfer.Priority) string {
	if p == transfer.PriorityDefault {
		return queue
	}
	return queue + "." + string(p)
}

// trigger has a worker look at the job. There is one trigger for each epoch; that it is there already is success.
func (c *Client) trigger(ctx context.Context, r *record) error {
	id, queue := fmt.Sprintf("%s:%d", r.id, r.epoch), queueName(r.spec.Queue, r.spec.Priority)
	task := asynq.NewTask(taskType, []byte(r.id))
	opts := []asynq.Option{asynq.TaskID(id), asynq.Queue(queue), asynq.MaxRetry(taskRetries), asynq.Timeout(taskTimeout), asynq.Retention(0)}
	_, err := c.tasks.EnqueueContext(ctx, task, opts...)
	if !errors.Is(err, asynq.ErrTaskIDConflict) {
		return failed("enqueue job "+r.id, err)
	}
	// What asynq has given up on would never run again under this name.
	info, err := c.inspector.GetTaskInfo(queue, id)
	if err != nil || (info.State != asynq.TaskStateArchived && info.State != asynq.TaskStateCompleted) {
		return nil
	}
	if err := c.inspector.DeleteTask(queue, id); err != nil {
		return failed("remove an old trigger of job "+r.id, err)
	}
	_, err = c.tasks.EnqueueContext(ctx, task, opts...)
	return failed("enqueue job "+r.id, err)
}
