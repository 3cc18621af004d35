package queue

import (
	"context"
	"math/rand/v2"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// ledgersAtOnce is how many ledgers are read in one round trip: one of a drive of 10 GiB has 100
// KiB.
const ledgersAtOnce = 50

// LastJobs returns the last jobs of items, by the items' keys, with up to sample chunks of the
// ledger of each that has succeeded. Of a job that was pruned only the ID is left.
func (c *Client) LastJobs(ctx context.Context, keys []string, sample int) (map[string]*transfer.LastJob, error) {
	last := make(map[string]*transfer.LastJob)
	byJob := make(map[string]*transfer.LastJob)
	for page := range slices.Chunk(keys, pageSize) {
		found, err := c.rdb.HMGet(ctx, keyItems, page...).Result()
		if err != nil {
			return nil, failed("find the last jobs of items", err)
		}
		var ids []string
		for i, value := range found {
			if id, _ := value.(string); id != "" {
				ids = append(ids, id)
				l := &transfer.LastJob{Job: transfer.Job{ID: id}}
				last[page[i]], byJob[id] = l, l
			}
		}
		records, _, err := c.records(ctx, ids)
		if err != nil {
			return nil, err
		}
		for of := range slices.Chunk(records, ledgersAtOnce) {
			if err := c.fillLast(ctx, of, byJob, sample); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// fillLast fills in what the records and the ledgers of jobs have.
func (c *Client) fillLast(
	ctx context.Context, records []*record, byJob map[string]*transfer.LastJob, sample int,
) error {
	ledgers := make([]*redis.StringCmd, len(records))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, r := range records {
			if r.state == transfer.Succeeded {
				ledgers[i] = p.Get(ctx, ledgerKey(r.id))
			}
		}
		return nil
	})
	if err != nil && !answered(err) && err != redis.Nil { //nolint:errorlint // go-redis returns it bare
		return failed("read ledgers", err)
	}
	for i, r := range records {
		l := byJob[r.id]
		l.Job, l.Spec = r.job(), r.spec
		l.Known = transfer.KnownImage{
			Identity: r.plan.Source, Size: r.plan.Size, ChunkSize: r.plan.ChunkSize,
			ChunksRoot: r.progress.Digest.ChunksRoot,
		}
		if ledgers[i] == nil || r.plan.ChunkSize == 0 {
			continue
		}
		packed, _ := ledgers[i].Bytes() // none: the job has no ledger
		entries, err := r.parseLedger(packed)
		if err != nil {
			c.skip(r.id, err)
			continue
		}
		l.Sample = transfer.SampleEntries(entries, r.plan.Size, r.plan.ChunkSize, sample, rand.IntN)
	}
	return nil
}

// Rates returns the bytes a second of the newest jobs that have succeeded, by what they did: their
// kind and endpoint.
func (c *Client) Rates(ctx context.Context) (map[string]float64, error) {
	ids, err := c.rdb.ZRevRange(ctx, keyJobs, 0, 2*pageSize-1).Result()
	if err != nil {
		return nil, failed("list jobs", err)
	}
	records, _, err := c.records(ctx, ids)
	if err != nil {
		return nil, err
	}
	bytes, seconds := make(map[string]float64), make(map[string]float64)
	for _, r := range records {
		if j := r.job(); j.State == transfer.Succeeded && j.Seconds > 0 {
			bytes[transfer.RateKey(j.Kind, j.Endpoint)] += float64(j.Size)
			seconds[transfer.RateKey(j.Kind, j.Endpoint)] += j.Seconds
		}
	}
	for key, n := range seconds {
		bytes[key] /= n
	}
	return bytes, nil
}
