package queue

import (
	"errors"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// TestRefusalsAreWaitedOut: a running attempt treats each refusal that a test can cause in a real
// Redis as an outage, and saves when Redis accepts commands again. The error of a user's command
// has the answer of Redis and a hint.
func TestRefusalsAreWaitedOut(t *testing.T) {
	r := startRedis(t)
	admin := dial(t, r.options)
	do := func(args ...any) {
		t.Helper()
		if err := admin.rdb.Do(t.Context(), args...).Err(); err != nil {
			t.Fatalf("%v: %v", args, err)
		}
	}
	do("ACL", "SETUSER", "transferd", "on", ">right", "~*", "&*", "+@all")
	as := func(password string) Options {
		return Options{URL: strings.Replace(r.options.URL, "unix://", "unix://transferd:"+password+"@", 1)}
	}
	disconnect := func() { do("CLIENT", "KILL", "USER", "transferd") }
	for _, test := range []struct {
		name, word   string
		refuse, mend func()
	}{
		{"password changed", "WRONGPASS",
			func() { do("ACL", "SETUSER", "transferd", "resetpass", ">other"); disconnect() },
			func() { do("ACL", "SETUSER", "transferd", ">right") }},
		{"rights taken", "can't run this command",
			func() { do("ACL", "SETUSER", "transferd", "-@write") },
			func() { do("ACL", "SETUSER", "transferd", "+@all") }},
		{"no right to run scripts", "NOPERM",
			func() { do("ACL", "SETUSER", "transferd", "-@scripting") },
			func() { do("ACL", "SETUSER", "transferd", "+@all") }},
		{"replica", "READONLY",
			func() { do("REPLICAOF", "127.0.0.1", "1"); do("CONFIG", "SET", "replica-serve-stale-data", "yes") },
			func() { do("REPLICAOF", "NO", "ONE") }},
		{"replica without its primary", "MASTERDOWN",
			func() { do("REPLICAOF", "127.0.0.1", "1"); do("CONFIG", "SET", "replica-serve-stale-data", "no") },
			func() { do("REPLICAOF", "NO", "ONE"); do("CONFIG", "SET", "replica-serve-stale-data", "yes") }},
		{"full", "OOM",
			func() { do("CONFIG", "SET", "maxmemory", "1") },
			func() { do("CONFIG", "SET", "maxmemory", "0") }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dial(t, as("right"))
			a := attempt(t, c)
			test.refuse()
			wantCode(t, a.Save(t.Context(), &transfer.Checkpoint{}), transfer.CodeUnreachable)
			_, err := c.Enqueue(t.Context(), newSpec())
			var e *transfer.Error
			if !errors.As(err, &e) || !strings.Contains(e.Error(), test.word) || e.Hint == "is Redis running?" {
				t.Errorf("got %q, hint %q; want the answer of Redis (%s) and what to do", err, e.Hint, test.word)
			}
			test.mend()
			if err := a.Save(t.Context(), &transfer.Checkpoint{}); err != nil {
				t.Errorf("after the refusal: got %v, want no error", err)
			}
		})
	}
}

// TestRefusedDialHasItsOwnHint: the hint for a wrong password differs from that for a Redis that
// does not run.
func TestRefusedDialHasItsOwnHint(t *testing.T) {
	r := startRedis(t)
	if err := dial(t, r.options).rdb.ConfigSet(t.Context(), "requirepass", "s3cret").Err(); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{
		"none":  r.options.URL,
		"wrong": strings.Replace(r.options.URL, "unix://", "unix://:wr0ng@", 1),
	} {
		_, err := Dial(t.Context(), Options{URL: url})
		wantCode(t, err, transfer.CodeUnreachable)
		var e *transfer.Error
		if !errors.As(err, &e) || e.Hint != hintLogin || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%s password: got %v, hint %q", name, err, e.Hint)
		}
	}
}

// redisText is an error answer of Redis, as go-redis returns it.
type redisText string

func (e redisText) Error() string { return string(e) }
func (redisText) RedisError()     {}

var _ redis.Error = redisText("")

// TestRefusalTextsHaveTheirCodes: answers that no test can cause have the right code, also with the
// prefix of asynq, and so have other errors.
func TestRefusalTextsHaveTheirCodes(t *testing.T) {
	for text, code := range map[string]transfer.Code{
		"LOADING Redis is loading the dataset in memory":                                   transfer.CodeUnreachable,
		"CLUSTERDOWN Hash slot not served":                                                 transfer.CodeUnreachable,
		"TRYAGAIN Multiple keys request during rehashing of slot":                          transfer.CodeUnreachable,
		"MISCONF Redis is configured to save RDB snapshots, but it's currently unable to":  transfer.CodeUnreachable,
		"NOAUTH Authentication required.":                                                  transfer.CodeUnreachable,
		"ERR AUTH <password> called without any password configured for the default user.": transfer.CodeUnreachable,
		"ERR max number of clients reached":                                                transfer.CodeUnreachable,
		"BUSY Redis is busy running a script. You can only call SCRIPT KILL":               transfer.CodeUnreachable,
		"OOM command not allowed when used memory > 'maxmemory'.":                          transfer.CodeNoSpace,
		"WRONGTYPE Operation against a key holding the wrong kind of value":                transfer.CodeFailed,
		"ERR unknown command 'BOOM x'":                                                     transfer.CodeFailed,
		"NOSCRIPT No matching script. Please use EVAL.":                                    transfer.CodeFailed,
	} {
		wantCode(t, failed("ask", redisText(text)), code)
		if code != transfer.CodeFailed {
			wantCode(t, failed("ask", errors.New("UNKNOWN: redis eval error: "+text)), code)
		}
	}
}
