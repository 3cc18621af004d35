package worker

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/transferd/transferd/internal/transfer"
)

// corruptOneInTen flips a bit in one read of ten. The fakes call it under their lock.
func corruptOneInTen(seed uint64) func(transfer.Chunk, int, []byte) {
	rng := rand.New(rand.NewPCG(seed, 10))
	return func(_ transfer.Chunk, _ int, p []byte) {
		if rng.IntN(10) == 0 {
			p[rng.IntN(len(p))] ^= 1 << rng.IntN(8)
		}
	}
}

// TestOneWrongReadInTenFailsNoIntactDrive: whatever is read: chunks, ranges that were left out,
// chunks of an earlier attempt, or the tail.
func TestOneWrongReadInTenFailsNoIntactDrive(t *testing.T) {
	const count = 400
	image := randomBytes(count * chunkSize)
	for _, hole := range []int{10, 120, 300} {
		clear(image[hole*chunkSize : (hole+60)*chunkSize])
	}
	larger := func() *memImage {
		sink := newMemImage(append(append([]byte(nil), image...), make([]byte, 50*chunkSize)...))
		sink.capacity = int64(len(sink.data))
		return sink
	}
	for name, tc := range map[string]struct {
		kind   transfer.Kind
		mode   transfer.VerifyMode
		source func(uint64) transfer.Source
		sink   func() *memImage
	}{
		"upload with zeros": {transfer.Upload, transfer.VerifyWritten,
			func(uint64) transfer.Source { return newMemImage(image) },
			func() *memImage {
				return &memImage{
					data: make([]byte, len(image)), blank: true, reads: map[int64]int{}, writes: map[int64]int{},
				}
			}},
		"clone, all read again": {transfer.Clone, transfer.VerifyFull, lying(image), larger},
		"verify":                {transfer.Verify, transfer.VerifyWritten, lying(image), larger},
		"verify with a manifest": {transfer.Verify, transfer.VerifyWritten,
			func(uint64) transfer.Source { return manifestOf(image) }, larger},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(20) {
				synctest.Test(t, func(t *testing.T) {
					sink := tc.sink()
					sink.corruptRead = corruptOneInTen(seed)
					j := newJob(t, tc.source(seed), sink)
					j.spec.Kind, j.spec.Verify = tc.kind, tc.mode
					if j.spec.Kind != transfer.Verify {
						j.opener.drive = "uuid"
					}
					if p := j.mustRun(); !p.Verified || p.Retries.Mismatch == 0 {
						t.Errorf("got verified %v and retries %+v, want true and mismatches", p.Verified, p.Retries)
					}
					sink.data = sink.data[:len(image)]
					checkContent(t, sink, image)
				})
			}
		})
	}
}

func lying(image []byte) func(uint64) transfer.Source {
	return func(seed uint64) transfer.Source {
		source := newMemImage(image)
		source.corruptRead = corruptOneInTen(seed + 1000)
		return source
	}
}

// TestCorruptReadsRaiseNoDoubt: a resumed job trusts its ledger, and leaves zeros out, although one
// read in ten is wrong.
func TestCorruptReadsRaiseNoDoubt(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			image := randomBytes(200 * chunkSize)
			j, sink, s := newInterrupted(t, image)
			sink.corruptRead = corruptOneInTen(seed)
			if err := runWithClaims(t, j, s); err != nil {
				t.Fatal(err)
			}
			checkContent(t, sink, image)
			if !j.store.saved.Plan.Blank || j.store.saved.Plan.Doubted {
				t.Errorf("got plan %+v, want it blank and not doubted", j.store.saved.Plan)
			}
		})
	}
}
