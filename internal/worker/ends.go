package worker

import (
	"cmp"
	"time"

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

	sink      transfer.Sink
	traits    transfer.Traits
	readBack  transfer.ReadBacker
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

func (e *ends) setSource(source transfer.Source) {
	e.source = source
	e.stream = ability[transfer.Stream](source)
	e.digests = ability[transfer.Digests](source)
	e.random = ability[transfer.RandomAccess](source)
	e.mapper = ability[transfer.Mapper](source)
	e.changes = ability[transfer.ChangeDetector](source)
	e.addRemote(source)
}

func (e *ends) setSink(sink transfer.Sink) {
	e.sink, e.traits = sink, sink.Traits()
	e.readBack = ability[transfer.ReadBacker](sink)
	e.writeBack = ability[transfer.WriteBacker](sink)
	e.prepare = ability[transfer.Preparer](sink)
	e.blank = ability[transfer.BlankChecker](sink)
	e.clear = ability[transfer.Clearer](sink)
	e.flush = ability[transfer.Flusher](sink)
	e.discard = ability[transfer.Discarder](sink)
	e.addRemote(sink)
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
