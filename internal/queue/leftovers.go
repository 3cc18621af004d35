package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/rs/xid"

	"github.com/transferd/transferd/internal/transfer"
)

// disownScript takes the drive that a job made from a job that failed or was canceled. KEYS:
// jobKeys. ARGV: the epoch that was read, the plan and the progress without the drive. It answers
// ok, or why the job keeps its drive.
var disownScript = newScript(notify + `
local state = redis.call('HGET', KEYS[1], 'state') or 'none'
if state ~= 'failed' and state ~= 'canceled' then return state end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'plan', ARGV[2], 'progress', ARGV[3])
notify()
return 'ok'
`)

// Disown takes the drive that a job made from the job, for it is about to be destroyed: a retry
// makes another one, and never writes to this one again. It reports false for a job that has not
// ended, or has succeeded: its drive is to stay. A job that there is not, or not any more, owns
// nothing.
func (c *Client) Disown(ctx context.Context, id string) (bool, error) {
	r, err := c.record(ctx, id)
	if transfer.CodeOf(err) == transfer.CodeNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r.plan = transfer.Plan{ReadMark: r.plan.ReadMark}
	r.progress.Drive, r.progress.Chunks = "", transfer.Chunks{Total: r.progress.Chunks.Total}
	word, err := c.run(ctx, "forget the drive of job "+id, disownScript, id, r.epoch, mustJSON(r.plan), mustJSON(r.progress))
	return word == ok, err
}

// WasPruned reports whether there was a job that left a drive and is not recorded any more.
func (c *Client) WasPruned(ctx context.Context, id string) (bool, error) {
	is, err := c.rdb.SIsMember(ctx, keyLeft, id).Result()
	return is, failed("look for pruned jobs", err)
}

// Destroyed notes that a drive which a job left is gone.
func (c *Client) Destroyed(ctx context.Context, id string) error {
	return failed("forget a drive", c.rdb.SRem(ctx, keyLeft, id).Err())
}

// TimeOf is when a job was made, by its ID; ok is false for what is no ID of a job.
func TimeOf(id string) (made time.Time, ok bool) {
	x, err := xid.FromString(id)
	return x.Time(), err == nil
}

// UsersOf is the jobs that have not ended and read or write a drive, as far as they know it
// already. endpoints is the names that jobs may have for the drive's endpoint.
func (c *Client) UsersOf(ctx context.Context, endpoints []string, drive string) ([]transfer.Job, error) {
	var users []transfer.Job
	err := c.eachPage(ctx, func(records []*record) (bool, error) {
		for _, r := range records {
			if !r.state.Terminal() && r.uses(endpoints, drive) {
				users = append(users, r.job())
			}
		}
		return true, nil
	})
	return users, err
}

// LocalHolders is the jobs without a record, which run with --local, that have claimed a drive.
func (c *Client) LocalHolders(ctx context.Context, claim transfer.Claim) (jobs []string, err error) {
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range claim.Keys() {
		keys := driveKeys(key)
		writer, err := c.rdb.Get(ctx, keys[0]).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return nil, failed("look who writes drive "+claim.Drive, err)
		}
		since := redis.ZRangeBy{Min: fmt.Sprint(now.UnixMilli()), Max: "+inf"}
		holders, err := c.rdb.ZRangeByScore(ctx, keys[1], &since).Result()
		if err != nil {
			return nil, failed("look who reads drive "+claim.Drive, err)
		}
		for _, holder := range append(holders, writer) {
			id, _, _ := strings.Cut(holder, " ") // its owner's epoch and token follow
			if id == "" || slices.Contains(jobs, id) {
				continue
			}
			if _, err := c.record(ctx, id); transfer.CodeOf(err) == transfer.CodeNotFound {
				jobs = append(jobs, id)
			}
		}
	}
	return jobs, nil
}

// uses reports whether a job reads or writes a drive.
func (r *record) uses(endpoints []string, drive string) bool {
	target := r.spec.Target
	if target.Drive == "" && target.IsDrive() {
		target.Drive = r.plan.Drive
	}
	for _, name := range endpoints {
		at := transfer.Ref{Endpoint: name, Drive: drive}
		if at == target || at == r.spec.Source {
			return true
		}
	}
	return false
}
