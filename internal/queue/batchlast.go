package queue

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/transferd/transferd/internal/transfer"
)

// ledgersAtOnce is how many ledgers are read in one round trip: one of a drive of 10 GiB has 100
// KiB.
const ledgersAtOnce = 50

// LastJobs returns the last jobs of items, by the items' keys, with up to sample chunks of the
// ledger of each that has succeeded. An item that no batch has had may have the job of its spec. Of
// a job that was pruned only the ID is left.
func (c *Client) LastJobs(
	ctx context.Context, items []transfer.ItemKey, sample int,
) (map[string]*transfer.LastJob, error) {
	last := make(map[string]*transfer.LastJob)
	for page := range slices.Chunk(items, pageSize) {
		ids, err := c.lastIDs(ctx, page)
		if err != nil {
			return nil, err
		}
		byJob := make(map[string]*transfer.LastJob)
		for i, id := range ids {
			if id == "" {
				continue
			}
			if byJob[id] == nil {
				byJob[id] = &transfer.LastJob{Job: transfer.Job{ID: id}}
			}
			last[page[i].Key] = byJob[id]
		}
		ids = slices.Collect(maps.Keys(byJob))
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

// lastIDs returns the IDs of the last jobs of items, empty for those without one.
func (c *Client) lastIDs(ctx context.Context, items []transfer.ItemKey) ([]string, error) {
	keys, specs := make([]string, len(items)), make([]string, len(items))
	for i := range items {
		keys[i], specs[i] = items[i].Key, items[i].Spec
	}
	var byKey, bySpec *redis.SliceCmd
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		byKey, bySpec = p.HMGet(ctx, keyItems, keys...), p.HMGet(ctx, keySpecs, specs...)
		return nil
	})
	if err != nil {
		return nil, failed("find the last jobs of items", err)
	}
	ids := make([]string, len(items))
	for i := range items {
		for _, found := range []*redis.SliceCmd{bySpec, byKey} {
			if id, _ := found.Val()[i].(string); id != "" {
				ids[i] = id
			}
		}
	}
	return ids, nil
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
