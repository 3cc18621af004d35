package worker

import (
	"cmp"
	"time"

	"github.com/transferd/transferd/internal/lease"
	"github.com/transferd/transferd/internal/transfer"
)

// defaultInFlight is the most chunks in flight of a job whose ends set no limit.
const defaultInFlight = 16

// ends is the two ends of a job with their abilities, resolved when they are opened. Nothing else in
// the engine asks what an end can do: an ability that is not here is not there. The abilities of an
// end are nil where it has them not.
type ends struct {
	source  transfer.Source
	random  transfer.RandomAccess // one of random, stream and digests is the source
	stream  transfer.Stream
	digests transfer.Digests
	mapper  transfer.Mapper         // nil: a stream
	changes transfer.ChangeDetector // of the source
	warner  transfer.Warner         // of the source
	stored  transfer.StoredDigester // of the source
	similar transfer.Resembler      // of the source
	unwatch transfer.Unwatched      // of the source

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

	remotes []transfer.Remote // of both ends, those that are
}

// ability is the end as T, or nil if it has no such ability. It is called in this file alone
// (scripts/lint).
func ability[T any](end any) T {
	t, _ := end.(T)
	return t
}

// claimer is the store's ability to keep jobs out of each other's way; nil: it has none.
func claimer(store transfer.Store) transfer.Claimer { return ability[transfer.Claimer](store) }

// leaseOf is the lease on the store's job; nil, which always holds, if no other process can take
// the job.
func leaseOf(store transfer.Store) *lease.Lease {
	if h := ability[lease.Holder](store); h != nil {
		return h.Lease()
	}
	return nil
}

// clock is the clock of what the store keeps.
func clock(store transfer.Store) func() time.Time {
	if c := ability[transfer.Clock](store); c != nil {
		return c.Now
	}
	return time.Now
}

// setSource fails for a source that is not exactly one of the three kinds.
func (e *ends) setSource(source transfer.Source) error {
	e.source = source
	e.stream = ability[transfer.Stream](source)
	e.digests = ability[transfer.Digests](source)
	e.random = ability[transfer.RandomAccess](source)
	e.mapper = ability[transfer.Mapper](source)
	e.changes = ability[transfer.ChangeDetector](source)
	e.warner = ability[transfer.Warner](source)
	e.stored = ability[transfer.StoredDigester](source)
	e.similar = ability[transfer.Resembler](source)
	e.unwatch = ability[transfer.Unwatched](source)
	e.addRemote(source)
	kinds := 0
	for _, is := range []bool{e.stream != nil, e.digests != nil, e.random != nil} {
		if is {
			kinds++
		}
	}
	return lacking(source, []need{{"one of stream, digests and random access", kinds == 1}})
}

// setSink fails for a sink that has not the abilities which its traits promise: without this check
// the engine would leave out in silence what depends on them, such as to read back.
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
	later := e.traits.ReadBack == transfer.ReadBackInCommit || e.traits.ReadBack == transfer.ReadBackNever
	return lacking(sink, []need{
		{"a way to read back", e.readBack != nil || later},
		{"a flush", e.flush != nil || e.traits.ReadBack != transfer.ReadBackAfterFlush},
		{"a way to clear", e.clear != nil || e.traits.Zeros != transfer.ZerosCleared},
		{"a check that it is blank", e.blank != nil || e.traits.Zeros != transfer.ZerosSkipped},
	})
}

// need is something that an end must have.
type need struct {
	what string
	met  bool
}

// lacking fails if a need of end is not met.
func lacking(end any, needs []need) error {
	for _, n := range needs {
		if !n.met {
			return transfer.Errorf(transfer.CodeFailed,
				"report this as a fault of transferd", "%T lacks %s", end, n.what)
		}
	}
	return nil
}

func (e *ends) addRemote(end any) {
	if r := ability[transfer.Remote](end); r != nil {
		e.remotes = append(e.remotes, r)
	}
}

// maxInFlight is the lowest limit of the two ends; an end without one takes as many as the other.
func (e *ends) maxInFlight() int {
	most := e.traits.MaxInFlight
	for _, r := range e.remotes {
		if n := r.MaxInFlight(); most == 0 || n < most {
			most = n
		}
	}
	return cmp.Or(most, defaultInFlight)
}

// rtt is the round-trip time to the farther end.
func (e *ends) rtt() (rtt time.Duration) {
	for _, r := range e.remotes {
		rtt = max(rtt, r.RTT())
	}
	return rtt
}
