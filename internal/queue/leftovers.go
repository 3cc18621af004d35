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

// disownScript removes the drive that a job made from its record, if the job failed or was
// canceled. KEYS: jobKeys. ARGV: the epoch that was read, the plan and the progress without the
// drive. It answers ok, or why the job keeps its drive.
var disownScript = newScript(notify + `
local state = redis.call('HGET', KEYS[1], 'state') or 'none'
if state ~= 'failed' and state ~= 'canceled' then return state end
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 'fenced' end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'plan', ARGV[2], 'progress', ARGV[3])
notify()
return 'ok'
`)

// Disown removes the drive that a job made from its record, before the drive is destroyed. A retry
// then makes another drive and never writes to this one. It returns false for a job that has not
// ended or has succeeded: its drive must stay. It returns true for a job that does not exist.
func (c *Client) Disown(ctx context.Context, id string) (bool, error) {
	r, err := c.record(ctx, id)
	if transfer.CodeOf(err) == transfer.CodeNotFound {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	r.plan = transfer.Plan{ReadMark: r.plan.ReadMark, Snapshot: r.plan.Snapshot, Stopped: r.plan.Stopped}
	r.progress.Drive, r.progress.Chunks = "", transfer.Chunks{Total: r.progress.Chunks.Total}
	word, err := c.run(ctx, "remove the drive of job "+id+" from its record", disownScript, id,
		r.epoch, mustJSON(r.plan), mustJSON(r.progress))
	return word == ok, err
}

// WasPruned reports whether a job that left a drive was pruned.
func (c *Client) WasPruned(ctx context.Context, id string) (bool, error) {
	is, err := c.rdb.SIsMember(ctx, keyLeft, id).Result()
	return is, failed("read pruned jobs", err)
}

// Destroyed records that the drive of a pruned job has been destroyed.
func (c *Client) Destroyed(ctx context.Context, id string) error {
	return failed("record that a drive was destroyed", c.rdb.SRem(ctx, keyLeft, id).Err())
}

// TimeOf is when a job was made, which is part of its ID. ok is false if id is not the ID of a job.
func TimeOf(id string) (made time.Time, ok bool) {
	x, err := xid.FromString(id)
	return x.Time(), err == nil
}

// UsersOf returns the jobs that have not ended and read or write a drive. It leaves out a job that
// has yet to make its drive. endpoints is the names that jobs may use for the drive's endpoint.
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

// LocalHolders returns the IDs of the jobs that have claimed a drive and run with --local, and so
// have no record.
func (c *Client) LocalHolders(ctx context.Context, claim transfer.Claim) (jobs []string, err error) {
	now, err := c.now(ctx)
	if err != nil {
		return nil, err
	}
	for _, key := range claim.Keys() {
		keys := driveKeys(key)
		writer, err := c.rdb.Get(ctx, keys[0]).Result()
		if err != nil && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
			return nil, failed("read the writer of drive "+claim.Drive, err)
		}
		since := redis.ZRangeBy{Min: fmt.Sprint(now.UnixMilli()), Max: "+inf"}
		holders, err := c.rdb.ZRangeByScore(ctx, keys[1], &since).Result()
		if err != nil {
			return nil, failed("read the readers of drive "+claim.Drive, err)
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
