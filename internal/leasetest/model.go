// Package leasetest is a model of lease, fencing and takeover, small enough to visit every state
// that it can reach. It has two workers and one job that writes one drive, a user who writes the
// drive once the job has ended, a Redis that may be restored once, to what it was before the job
// was last taken, processes that are stopped, continued and killed, and writes that arrive late. A
// worker need not do what it may, so one that is cut off from Redis or from the endpoint is in it
// too.
//
// What must hold in every state:
//
//   - nothing of the job reaches the drive after the user has written it;
//   - the drive is as the job's image when the job says succeeded.
//
// Each rule of the code that this rests on is a [Guard]. A model without any one of them reaches a
// state in which one of the two does not hold, so none is there for nothing. The tests of package
// queue hold its scripts against the model.
//
// Time is counted in ticks; what is due is kept as the ticks that are left, which makes the states
// finite.
package leasetest

import (
	"fmt"
	"slices"
	"strings"
)

// Times of the model, in ticks. A tick is a third of a lease.
const (
	lease    = 3 // that Redis grants with each renewal
	proof    = 2 // that a renewal proves to its worker, from when it was sent
	delay    = 1 // the most that a write takes to arrive
	attempts = 2 // the most in one history
)

// Guard is a rule of the code.
type Guard string

// The rules. The comment of each says what is done without it.
const (
	ProvePieces     Guard = "prove before each piece"           // a worker sends for as long as it likes
	ProofFromSent   Guard = "a proof counts from its request"   // it counts from the answer
	ProofIsShorter  Guard = "a proof ends before the lease"     // it lasts as long
	ResetStopped    Guard = "reset a stopped process"           // what it was about to send goes out when it is continued
	WaitWhenLost    Guard = "wait after a lost worker"          // the job says succeeded at once
	ReadBackAfter   Guard = "read back after the wait"          // what was read back before counts
	HoldDrive       Guard = "hold the drive until then"         // a job that fails frees the drive at once
	CompareToken    Guard = "compare the token"                 // only the epoch is compared
	DistrustCopies  Guard = "distrust a Redis that was started" // what its record says of the owner before is believed
	FreshForDestroy Guard = "destroy with a fresh proof"        // a worker destroys what it made whenever it fails
)

// Guards is all rules.
var Guards = []Guard{
	ProvePieces, ProofFromSent, ProofIsShorter, ResetStopped, WaitWhenLost, ReadBackAfter, HoldDrive, CompareToken,
	DistrustCopies, FreshForDestroy,
}

// Status is the state of the job in its record.
type Status int8

// The states that the model has.
const (
	Queued Status = iota
	Running
	Succeeded
	Failed
)

// Record is what Redis has of the job.
type Record struct {
	Status Status
	Owner  int8 // the worker whose current attempt has the job, or had it last; -1: none, -2: an attempt before
	Epoch  int8
	Lapse  int8 // ticks until the lease lapses; -1: nobody has one, for none was taken or it was handed over
	Late   int8 // ticks until nothing of lost owners can arrive
	Copy   bool // it was in Redis before Redis was restored
}

// worker is a process with at most one attempt.
type worker struct {
	dead     bool
	has      bool // an attempt
	epoch    int8 // of it
	proof    int8 // ticks that the proof lasts
	asked    int8 // ticks since a renewal was granted whose answer is under way; -1: there is none
	sending  sending
	verified verified
}

// sending is how far a piece is that is sent.
type sending int8

const (
	idle    sending = iota
	proven          // it has passed the proof and is sent at once
	stopped         // the process was stopped in between
	still           // it has been stopped for a tick: its connections are reset before the next one
)

// verified is what a worker knows of the drive.
type verified int8

const (
	unverified verified = iota
	early               // it was the image, and this worker has written nothing since
	late                // the same, after nothing of lost owners could arrive
)

// write is on its way to the drive.
type write struct {
	from int8 // 0: there is none; else a worker's number + 1
	left int8 // ticks in which it arrives
	what content
}

type content int8

const (
	nothing content = iota
	image           // what the job is to write
	wrong           // part of a body, or another error
	gone            // the drive was destroyed
	users           // what the user has written
)

// State is one state of everything. It is comparable.
type State struct {
	Record   Record
	snapshot Record // of the moment before the job was taken last
	restored bool
	workers  [2]worker
	writes   [2]write // by worker
	drive    content
}

func initial() State {
	s := State{Record: Record{Owner: -1, Lapse: -1}}
	for i := range s.workers {
		s.workers[i].asked = -1
	}
	return s
}

// Step is a state after an action.
type Step struct {
	Action string
	State  State
	broken string // what does not hold any more; "": all does
}

// Model is the model with all guards but some.
type Model struct{ without map[Guard]bool }

// New makes a model without the given guards.
func New(without ...Guard) *Model {
	m := &Model{without: make(map[Guard]bool)}
	for _, g := range without {
		m.without[g] = true
	}
	return m
}

func (m *Model) has(g Guard) bool { return !m.without[g] }

// Explore visits every state that can be reached. It returns how many there are, and how one is
// reached in which something does not hold, in the fewest steps; nil if there is none.
func (m *Model) Explore() (states int, history []string) {
	type origin struct {
		from   State
		action string
	}
	first := initial()
	seen := map[State]origin{first: {}}
	for queue := []State{first}; len(queue) > 0; queue = queue[1:] {
		for _, next := range m.Next(queue[0]) {
			if next.broken != "" {
				history = []string{next.broken, next.Action}
				for s := queue[0]; s != first; s = seen[s].from {
					history = append(history, seen[s].action)
				}
				slices.Reverse(history)
				return len(seen), history
			}
			if _, ok := seen[next.State]; !ok {
				seen[next.State] = origin{queue[0], next.Action}
				queue = append(queue, next.State)
			}
		}
	}
	return len(seen), nil
}

// String is the history of a violation as text, a line for each step.
func String(history []string) string { return strings.Join(history, "\n") }

// Next is every state that may follow s.
func (m *Model) Next(s State) (steps []Step) {
	add := func(name string, ok bool, change func(s *State) (broken string)) {
		if !ok {
			return
		}
		next := s
		broken := change(&next)
		steps = append(steps, Step{name, next, broken})
	}
	for i := range s.workers {
		m.workerSteps(s, i, func(name string, ok bool, change func(s *State) string) {
			add(fmt.Sprintf("%c: %s", 'A'+i, name), ok, change)
		})
	}
	add("the user writes", m.free(s), func(s *State) string { s.drive = users; return "" })
	restores := !s.restored && s.Record.Status == Running // after its end the user knows of that
	add("Redis is restored", restores, func(s *State) string { restore(s); return "" })
	add("tick", !urgent(s), func(s *State) string { m.tick(s); return "" })
	return steps
}

// free reports whether the drive is the user's: the job has ended, and its claim too.
func (m *Model) free(s State) bool {
	switch s.Record.Status {
	case Succeeded:
		return s.drive == image
	case Failed:
		return s.drive != users && (s.Record.Late == 0 || !m.has(HoldDrive))
	}
	return false
}

func restore(s *State) {
	s.restored, s.Record, s.snapshot = true, s.snapshot, Record{}
	s.Record.Copy = true
}

// urgent reports whether something happens before time goes on: a write that is due arrives, and a
// process that runs sends at once what it is about to send.
func urgent(s State) bool {
	for i := range s.workers {
		w, sent := s.workers[i], s.writes[i]
		if sent.from != 0 && sent.left == 0 || w.sending == proven {
			return true
		}
	}
	return false
}

func (m *Model) tick(s *State) {
	for _, r := range []*Record{&s.Record, &s.snapshot} {
		r.Lapse, r.Late = less(r.Lapse), less(r.Late)
	}
	for i := range s.workers {
		w := &s.workers[i]
		w.proof = less(w.proof)
		if w.asked >= 0 {
			w.asked++
		}
		if w.asked > lease {
			w.asked = -1 // the answer was lost
		}
		switch {
		case w.sending == stopped:
			w.sending = still
		case w.sending == still && m.has(ResetStopped):
			w.sending = idle
		}
		s.writes[i].left = less(s.writes[i].left)
	}
}

// less is the ticks that are left after one more.
func less(n int8) int8 {
	if n > 0 {
		return n - 1
	}
	return n
}
