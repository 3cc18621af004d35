package queue

import (
	"context"
	"slices"

	"github.com/redis/go-redis/v9"
)

// script is a redis.Script with its source, for the Schema.
type script struct {
	*redis.Script
	source string
}

func newScript(source string) *script {
	return &script{Script: redis.NewScript(source), source: source}
}

// run runs a script on a job. The script answers a word.
func (c *Client) run(ctx context.Context, op string, s *script, id string, args ...any) (string, error) {
	word, err := s.Run(ctx, c.rdb, jobKeys(id), args...).Text()
	return word, failed(op, err)
}

// runAll is runEach with the same arguments for each job.
func (c *Client) runAll(ctx context.Context, op string, s *script, ids []string, args ...any) ([]*redis.Cmd, error) {
	return c.runEach(ctx, op, s, ids, func(int) []any { return args })
}

// runEach runs a script on many jobs in one round trip, or in two if Redis does not have the
// script. args returns the arguments for the i-th job. A job whose keys have the wrong type is
// reported to Warn, and its answer holds the error.
func (c *Client) runEach(
	ctx context.Context, op string, s *script, ids []string, args func(i int) []any,
) ([]*redis.Cmd, error) {
	answers := make([]*redis.Cmd, len(ids))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			answers[i] = p.EvalSha(ctx, s.Hash(), jobKeys(id), args(i)...)
		}
		return nil
	})
	if slices.ContainsFunc(answers, func(a *redis.Cmd) bool { return redis.HasErrorPrefix(a.Err(), "NOSCRIPT") }) {
		_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				if redis.HasErrorPrefix(answers[i].Err(), "NOSCRIPT") {
					answers[i] = p.Eval(ctx, s.source, jobKeys(id), args(i)...)
				}
			}
			return nil
		})
	}
	for i, id := range ids {
		if err := answers[i].Err(); err != nil && answered(err) {
			c.skip(id, unreadable(id, "record", err))
		} else if err != nil {
			return nil, failed(op, err)
		}
	}
	if err != nil && !answered(err) {
		return nil, failed(op, err)
	}
	return answers, nil
}

// pipeline is a redis.Pipeliner that runs scripts.
type pipeline struct {
	redis.Pipeliner
	run func(s *script, keys []string, args ...any)
}

// pipelined sends the commands of do in one round trip. If Redis does not have the scripts, it
// sends all commands again, with the scripts' sources. So the commands must be idempotent.
func (c *Client) pipelined(ctx context.Context, do func(pipeline)) error {
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		do(pipeline{p, func(s *script, keys []string, args ...any) { p.EvalSha(ctx, s.Hash(), keys, args...) }})
		return nil
	})
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			do(pipeline{p, func(s *script, keys []string, args ...any) { p.Eval(ctx, s.source, keys, args...) }})
			return nil
		})
	}
	return err
}
