package queue

import (
	"context"
	"errors"
	"regexp"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// refusal is an error answer to a command that Redis may accept later, after it has recovered or an
// operator has changed its settings. The client treats all refusals but one as an outage
// (CodeUnreachable). The exception is a full Redis, which still renews leases, ends jobs and
// deletes them.
type refusal struct {
	text *regexp.Regexp // of the answer
	code transfer.Code
	hint string
}

// answer matches an answer that begins with the pattern. asynq passes on only the text, after a
// prefix of its own.
func answer(pattern string) *regexp.Regexp {
	return regexp.MustCompile(`(?:^|[\s:-])(?:` + pattern + `)`)
}

const hintLogin = "Redis refuses the user or password: " +
	"set the current ones in `redis:`, or allow these again in Redis"

// refusals is all refusals. The texts are those of Redis 7 (server.c: createSharedObjects; acl.c;
// networking.c).
var refusals = []refusal{
	{answer(`OOM `), transfer.CodeNoSpace,
		"the queue's memory is full: give Redis more, or prune jobs with transferctl jobs prune"},
	{answer(`WRONGPASS |NOAUTH |ERR invalid password|ERR (?:Client sent )?AUTH\b`), transfer.CodeUnreachable,
		hintLogin},
	{answer(`NOPERM |ERR The user executing the script can|ERR ACL failure|DENIED `), transfer.CodeUnreachable,
		"Redis does not allow its user what transferd needs; docs/security.md has the rights (ACL SETUSER)"},
	{answer(`READONLY |MASTERDOWN |NOREPLICAS |UNBLOCKED `), transfer.CodeUnreachable,
		"this Redis is a replica, or has too few replicas: wait for the failover, or set `redis:` to the primary"},
	{answer(`CLUSTERDOWN |TRYAGAIN `), transfer.CodeUnreachable,
		"the Redis cluster does not serve all slots now: wait, or check redis-cli cluster info"},
	{answer(`LOADING |BUSY `), transfer.CodeUnreachable,
		"Redis loads its data, or runs a script: wait until it is ready"},
	{answer(`MISCONF `), transfer.CodeUnreachable,
		"Redis cannot write to its disk: free space there, and read its log"},
	{answer(`ERR max number of clients`), transfer.CodeUnreachable,
		"Redis has too many connections: raise maxclients, or end programs that keep them open"},
}

// refusedBy returns the row of refusals that matches err; nil if none does.
func refusedBy(err error) *refusal {
	for i := range refusals {
		if refusals[i].text.MatchString(err.Error()) {
			return &refusals[i]
		}
	}
	return nil
}

// refusesCommand matches, in an error of asynq, the answer to a command that Redis will never
// accept.
var refusesCommand = answer(`WRONGTYPE |ERR `)

// answered reports whether err is an error answer to this command alone, such as WRONGTYPE, and no
// outage. Other commands of the same pipeline may have succeeded.
func answered(err error) bool {
	var answer redis.Error
	return refusedBy(err) == nil && (errors.As(err, &answer) || refusesCommand.MatchString(err.Error()))
}

// failed adds a code and a hint to an error of Redis. CodeUnreachable: Redis is away, or refuses
// for now; CodeNoSpace: it is full; CodeFailed: it will never accept this command.
func failed(op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	e := &transfer.Error{Op: op, Code: transfer.CodeUnreachable, Hint: "is Redis running?", Err: err}
	if r := refusedBy(err); r != nil {
		e.Code, e.Hint = r.code, r.hint
	} else if answered(err) {
		e.Code, e.Hint = transfer.CodeFailed, "Redis refused the command; its log may say why"
	}
	return e
}

// outage converts CodeNoSpace to CodeUnreachable, for calls that an attempt makes: a running job
// waits for a full Redis as for one that is away.
func outage(err error) error {
	var e *transfer.Error
	if !errors.As(err, &e) || e.Code != transfer.CodeNoSpace {
		return err
	}
	return &transfer.Error{Code: transfer.CodeUnreachable, Hint: e.Hint, Err: err}
}
