package worker

import (
	"cmp"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// defaultInFlight is the maximum of chunks in flight for a job whose source and sink set none.
const defaultInFlight = 16

// ends is the source and the sink of a job with their abilities (optional interfaces), resolved
// when they are opened. The engine uses only these fields and asserts no types elsewhere. An
// ability is nil if the source or sink does not have it.
type ends struct {
	source    transfer.Source
	random    transfer.RandomAccess // one of random, stream and digests is the source
	stream    transfer.Stream
	digests   transfer.Digests
	mapper    transfer.Mapper         // nil: a stream
	changes   transfer.ChangeDetector // of the source
	warner    transfer.Warner         // of the source
	described transfer.Described      // of the source
	stored    transfer.StoredDigester // of the source
	resembler transfer.Resembler      // of the source
	unwatched transfer.Unwatched      // of the source
	holdable  transfer.Holdable       // of the source

	sink      transfer.Sink
	traits    transfer.Traits
	readBack  transfer.ReadBacker
	disk      transfer.DiskReader
	local     transfer.Local
	writeBack transfer.WriteBacker
	prepare   transfer.Preparer
	blank     transfer.BlankChecker
	clear     transfer.Clearer
	flush     transfer.Flusher
	discard   transfer.Discarder

	remotes []transfer.Remote // source and sink, if they are remote
}

// ability returns end as a T, or nil if it does not implement T. Only this file calls it;
// scripts/lint checks that.
func ability[T any](end any) T {
	t, _ := end.(T)
	return t
}

// claimer returns the store as a Claimer; nil: it is none.
func claimer(store transfer.Store) transfer.Claimer { return ability[transfer.Claimer](store) }

// batcher returns the store as a Batcher; nil: it is none.
func batcher(store transfer.Store) transfer.Batcher { return ability[transfer.Batcher](store) }

// leaseOf returns the lease on the store's job; nil, which always holds, if no other process can
// take the job over.
func leaseOf(store transfer.Store) *lease.Lease {
	if h := ability[lease.Holder](store); h != nil {
		return h.Lease()
	}
	return nil
}

// clock returns the store's clock.
func clock(store transfer.Store) func() time.Time {
	if c := ability[transfer.Clock](store); c != nil {
		return c.Now
	}
	return time.Now
}

// setSource fails for a source that is not exactly one of RandomAccess, Stream and Digests.
func (e *ends) setSource(source transfer.Source) error {
	e.source = source
	e.stream = ability[transfer.Stream](source)
	e.digests = ability[transfer.Digests](source)
	e.random = ability[transfer.RandomAccess](source)
	e.mapper = ability[transfer.Mapper](source)
	e.changes = ability[transfer.ChangeDetector](source)
	e.warner = ability[transfer.Warner](source)
	e.described = ability[transfer.Described](source)
	e.stored = ability[transfer.StoredDigester](source)
	e.resembler = ability[transfer.Resembler](source)
	e.unwatched = ability[transfer.Unwatched](source)
	e.holdable = ability[transfer.Holdable](source)
	e.addRemote(source)
	kinds := 0
	for _, is := range []bool{e.stream != nil, e.digests != nil, e.random != nil} {
		if is {
			kinds++
		}
	}
	return checkNeeds(source, []need{{"one of Stream, Digests and RandomAccess", kinds == 1}})
}

// setSink fails for a sink without the abilities that its traits promise. Without this check the
// engine would silently skip the steps that need them, such as reading back.
func (e *ends) setSink(sink transfer.Sink) error {
	e.sink, e.traits = sink, sink.Traits()
	e.readBack = ability[transfer.ReadBacker](sink)
	e.disk = ability[transfer.DiskReader](sink)
	e.local = ability[transfer.Local](sink)
	e.writeBack = ability[transfer.WriteBacker](sink)
	e.prepare = ability[transfer.Preparer](sink)
	e.blank = ability[transfer.BlankChecker](sink)
	e.clear = ability[transfer.Clearer](sink)
	e.flush = ability[transfer.Flusher](sink)
	e.discard = ability[transfer.Discarder](sink)
	e.addRemote(sink)
	noReadBack := e.traits.ReadBack == transfer.ReadBackInCommit || e.traits.ReadBack == transfer.ReadBackNever
	return checkNeeds(sink, []need{
		{"ReadBacker", e.readBack != nil || noReadBack},
		{"Flusher", e.flush != nil || e.traits.ReadBack != transfer.ReadBackAfterFlush},
		{"Clearer", e.clear != nil || e.traits.Zeros != transfer.ZerosCleared},
		{"BlankChecker", e.blank != nil || e.traits.Zeros != transfer.ZerosSkipped},
	})
}

// need is an ability that a source or sink must have.
type need struct {
	what string
	met  bool
}

// checkNeeds fails if a need of end is not met.
func checkNeeds(end any, needs []need) error {
	for _, n := range needs {
		if !n.met {
			return transfer.Errorf(transfer.CodeFailed,
				"report this as a fault of transferd", "%T does not implement %s", end, n.what)
		}
	}
	return nil
}

func (e *ends) addRemote(end any) {
	if r := ability[transfer.Remote](end); r != nil {
		e.remotes = append(e.remotes, r)
	}
}

// heldMatters reports whether servers that hold the source may change it.
func (e *ends) heldMatters() bool { return e.holdable != nil && e.holdable.Writable() }

// maxInFlight returns the lower limit of source and sink. One without a limit takes as many as the
// other.
func (e *ends) maxInFlight() int {
	most := e.traits.MaxInFlight
	for _, r := range e.remotes {
		if n := r.MaxInFlight(); most == 0 || n < most {
			most = n
		}
	}
	return cmp.Or(most, defaultInFlight)
}

// rtt returns the longer round-trip time of source and sink; 0 if none is remote or measured.
func (e *ends) rtt() (rtt time.Duration) {
	for _, r := range e.remotes {
		rtt = max(rtt, r.RTT())
	}
	return rtt
}
