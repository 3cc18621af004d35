// Package leasetest is a model of lease, fencing and takeover, small enough to visit every
// reachable state. It has two workers, and one job that writes one drive. A user writes the drive
// once the job has ended. Redis may be restored once, to its state before a worker last took the
// job. Processes are stopped, continued and killed, and writes arrive late. Every step of a worker
// is optional, so the model includes workers that are cut off from Redis or from the endpoint.
//
// These two invariants must hold in every state:
//
//   - no write of the job reaches the drive after the user has written it;
//   - the drive equals the job's image when the job has succeeded.
//
// Each rule of the code on which the invariants depend is a [Rule]. Without any one of them the
// model reaches a state that violates an invariant, so each rule is needed. The tests of package
// queue compare its scripts with the model:
//
//	states, history := leasetest.New().Explore()                   // history is nil
//	_, history = leasetest.New(leasetest.ProvePieces).Explore()    // the shortest violation
//	record := leasetest.New().Take(before, owner, processHasEnded) // after a takeover
//
// Time is counted in ticks. States hold the ticks until an event, so the number of states is
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

// Rule is a rule of the code.
type Rule string

// The rules. The comment of each says what happens without it.
const (
	ProvePieces     Rule = "prove before each piece"           // a worker sends for as long as it likes
	ProofFromSent   Rule = "a proof counts from its request"   // it counts from the answer
	ProofIsShorter  Rule = "a proof ends before the lease"     // it lasts as long
	ResetStopped    Rule = "reset a stopped process"           // it sends after it is continued
	WaitWhenLost    Rule = "wait after a lost worker"          // the job succeeds at once
	ReadBackAfter   Rule = "read back after the wait"          // what was read back before the wait counts
	HoldDrive       Rule = "hold the drive until then"         // a job that fails frees the drive at once
	CompareToken    Rule = "compare the token"                 // only the epoch is compared
	DistrustCopies  Rule = "distrust a Redis that was started" // its record of the previous owner is trusted
	FreshForDestroy Rule = "destroy with a fresh proof"        // a worker destroys what it made whenever it fails
)

// Rules lists all rules.
var Rules = []Rule{
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
	Owner  int8 // whose current attempt has the job, or had it last; -1: none, -2: an earlier attempt
	Epoch  int8
	Lapse  int8 // ticks until the lease lapses; -1: there is none, or the job was released
	Late   int8 // ticks until nothing of lost owners can arrive
	Copy   bool // it was in Redis before Redis was restored
}

// worker is a process with at most one attempt.
type worker struct {
	dead     bool
	has      bool // it has an attempt
	epoch    int8 // of it
	proof    int8 // ticks that the proof lasts
	pending  int8 // ticks since a renewal was granted whose answer is under way; -1: none is
	sending  sending
	verified verified
}

// sending is the phase of a piece that a worker sends.
type sending int8

const (
	idle        sending = iota
	proven              // it has passed the proof and is sent at once
	stopped             // the process was stopped between the proof and the send
	stoppedLong         // stopped for a tick: its connections are reset before the next tick
)

// verified is what a worker has read back of the drive.
type verified int8

const (
	unverified verified = iota
	early               // it was the image, and this worker has written nothing since
	late                // the same, read after the last bytes of lost owners could arrive
)

// write is a write that has yet to reach the drive.
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

// State is one state of the model. It is comparable.
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
		s.workers[i].pending = -1
	}
	return s
}

// Step is a state after an action.
type Step struct {
	Action string
	State  State
	broken string // the violation; "": there is none
}

// Model is the model without some of the rules.
type Model struct{ without map[Rule]bool }

// New makes a model without the given rules.
func New(without ...Rule) *Model {
	m := &Model{without: make(map[Rule]bool)}
	for _, g := range without {
		m.without[g] = true
	}
	return m
}

func (m *Model) has(r Rule) bool { return !m.without[r] }

// Explore visits every reachable state. It returns their number, and the shortest history that ends
// in a violation; nil if there is none.
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
	restores := !s.restored && s.Record.Status == Running // once the job has ended, the user sees its outcome
	add("Redis is restored", restores, func(s *State) string { restore(s); return "" })
	add("tick", !urgent(s), func(s *State) string { m.tick(s); return "" })
	return steps
}

// free reports whether the user may write the drive: whether the job and its claim have ended.
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

// urgent reports whether a step must happen before the next tick: a write that is due arrives, and
// a running process sends what it is about to send.
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
		r.Lapse, r.Late = nextTick(r.Lapse), nextTick(r.Late)
	}
	for i := range s.workers {
		w := &s.workers[i]
		w.proof = nextTick(w.proof)
		if w.pending >= 0 {
			w.pending++
		}
		if w.pending > lease {
			w.pending = -1 // the answer was lost
		}
		switch {
		case w.sending == stopped:
			w.sending = stoppedLong
		case w.sending == stoppedLong && m.has(ResetStopped):
			w.sending = idle
		}
		s.writes[i].left = nextTick(s.writes[i].left)
	}
}

// nextTick is the ticks that are left after one more tick.
func nextTick(n int8) int8 {
	if n > 0 {
		return n - 1
	}
	return n
}
