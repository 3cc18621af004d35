package queue

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// script is a redis.Script that has its source, for the Schema.
type script struct {
	*redis.Script
	source string
}

func newScript(source string) *script {
	return &script{Script: redis.NewScript(source), source: source}
}

// run runs a script on a job that answers a word.
func (c *Client) run(ctx context.Context, op string, s *script, id string, args ...any) (string, error) {
	word, err := s.Run(ctx, c.rdb, jobKeys(id), args...).Text()
	return word, failed(op, err)
}

// runAll runs a script on many jobs in one round trip, or in two if Redis does not have the script.
func (c *Client) runAll(ctx context.Context, op string, s *script, ids []string, args ...any) ([]*redis.Cmd, error) {
	answers := make([]*redis.Cmd, len(ids))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			answers[i] = p.EvalSha(ctx, s.Hash(), jobKeys(id), args...)
		}
		return nil
	})
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, id := range ids {
				if redis.HasErrorPrefix(answers[i].Err(), "NOSCRIPT") {
					answers[i] = p.Eval(ctx, s.source, jobKeys(id), args...)
				}
			}
			return nil
		})
	}
	return answers, failed(op, err)
}
