package localstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/transferd/transferd/internal/fsx"
	"github.com/transferd/transferd/internal/transfer"
)

// Items are the last jobs of the items of batches that ran without a queue and succeeded, a file
// for each in a folder. Jobs that have not succeeded have folders of their own (Open).
type Items struct{ Dir string }

// keptSample is how many chunks of a finished item are kept, to be compared with its target later.
const keptSample = 16

// Save records that a job of an item has succeeded. The store still has the job's ledger.
func (i Items) Save(ctx context.Context, key string, job *transfer.Job, spec *transfer.Spec, s *Store) error {
	at, err := s.Load(ctx)
	if err != nil {
		return err
	}
	last := transfer.LastJob{Job: *job, Spec: *spec, Known: transfer.KnownImage{
		Identity: at.Plan.Source, Size: at.Plan.Size, ChunkSize: at.Plan.ChunkSize, ChunksRoot: job.Digest.ChunksRoot,
	}}
	if at.Plan.ChunkSize > 0 {
		last.Sample = transfer.SampleEntries(at.Entries, at.Plan.Size, at.Plan.ChunkSize, keptSample, rand.IntN)
	}
	if err := os.MkdirAll(i.Dir, 0o700); err != nil {
		return failed("make folder of items", err)
	}
	return failed("record the item", fsx.WriteFile(i.path(key), 0o600, true, func(w io.Writer) error {
		return json.NewEncoder(w).Encode(&last)
	}))
}

// Last returns the last jobs of items that have succeeded, by the items' keys, with up to sample
// chunks of each. It leaves out a record that cannot be read.
func (i Items) Last(items []transfer.ItemKey, sample int) (map[string]*transfer.LastJob, error) {
	found := make(map[string]*transfer.LastJob)
	for _, item := range items {
		text, err := os.ReadFile(i.path(item.Key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, failed("read the record of an item", err)
		}
		last := new(transfer.LastJob)
		if json.Unmarshal(text, last) != nil {
			continue
		}
		rand.Shuffle(len(last.Sample), func(a, b int) {
			last.Sample[a], last.Sample[b] = last.Sample[b], last.Sample[a]
		})
		last.Sample = last.Sample[:min(sample, len(last.Sample))]
		found[item.Key] = last
	}
	return found, nil
}

func (i Items) path(key string) string { return filepath.Join(i.Dir, key+".json") }

// Lock makes this process the only one that runs a plan, until unlock. CodeConflict: another one
// does.
func (i Items) Lock(fingerprint string) (unlock func() error, err error) {
	if err := os.MkdirAll(i.Dir, 0o700); err != nil {
		return nil, failed("make folder of items", err)
	}
	f, err := os.OpenFile(i.path(fingerprint)+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, failed("open the lock of the plan", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		err = transfer.Errorf(transfer.CodeConflict, "wait for it to end, or stop it",
			"the same plan is running in %s", holderText(f.Name()))
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		if err := f.Close(); err != nil {
			return fmt.Errorf("unlock the plan: %w", err)
		}
		return nil
	}, nil
}
