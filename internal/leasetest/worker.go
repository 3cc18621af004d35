package leasetest

// adder adds a step if ok. change applies it to s and returns the violation, if any.
type adder func(name string, ok bool, change func(s *State) (broken string))

// workerSteps is the steps of a worker, and the events that affect it. Stopping a process that is
// not about to send is left out: it equals a process that does nothing.
func (m *Model) workerSteps(s State, i int, add adder) {
	w := s.workers[i]
	acts := w.has && w.sending < stopped
	quiet := acts && w.sending == idle && s.writes[i].from == 0 // no call is under way
	owns := acts && m.owns(s, i)
	distrusts := s.Record.Copy && m.has(DistrustCopies)

	add("takes the job", !w.dead && !w.has && m.takes(s.Record), func(s *State) string { m.take(s, i); return "" })
	add("finds another Redis", owns && distrusts, func(s *State) string { m.distrust(s, i); return "" })
	owns = owns && !distrusts
	add("renews the lease", owns && w.pending < 0, func(s *State) string {
		s.Record.Lapse, s.workers[i].pending = lease, 0
		return ""
	})
	add("has the proof", acts && w.pending >= 0, func(s *State) string { m.recordProof(s, i); return "" })
	add("finds that it lost the job", acts && !m.owns(s, i), func(s *State) string {
		s.workers[i] = worker{pending: -1}
		return ""
	})

	mayWrite := w.proof > 0 || !m.has(ProvePieces)
	add("is about to send", quiet && mayWrite, func(s *State) string { s.workers[i].sending = proven; return "" })
	// A process that is continued sends at once. Stopping it repeatedly between two instructions is
	// left out.
	add("sends the image", w.sending != idle, func(s *State) string { send(s, i, image); return "" })
	add("sends something wrong", w.sending != idle, func(s *State) string { send(s, i, wrong); return "" })
	mayDestroy := owns && w.proof > 0 || !m.has(FreshForDestroy)
	add("destroys the drive", quiet && mayDestroy, func(s *State) string { send(s, i, gone); return "" })
	add("what was sent arrives", s.writes[i].from != 0, func(s *State) string { return arrive(s, i) })

	add("reads back", quiet && s.drive == image, func(s *State) string { readBack(s, i); return "" })
	done := s.Record.Late == 0 && (w.verified == late || w.verified == early && !m.has(ReadBackAfter))
	add("records success", owns && quiet && done, func(s *State) string { return end(s, i, Succeeded) })
	add("records failure", owns && quiet, func(s *State) string { return end(s, i, Failed) })
	add("releases the job", owns && quiet, func(s *State) string { return end(s, i, Queued) })

	add("is stopped", w.sending == proven, func(s *State) string { s.workers[i].sending = stopped; return "" })
	add("is killed, and what it sent is lost", !w.dead, func(s *State) string { return kill(s, i, false) })
	add("is killed, and what it sent arrives", !w.dead && s.writes[i].from != 0, func(s *State) string {
		return kill(s, i, true)
	})
}

// takes reports whether a worker may take the job.
func (m *Model) takes(r Record) bool {
	return r.Epoch < attempts && (r.Status == Queued || r.Status == Running && r.Lapse <= 0)
}

// Take is the record after worker owner took the job. ended: the process of the previous owner has
// provably ended.
func (m *Model) Take(r Record, owner int8, ended bool) Record {
	switch {
	case !m.has(WaitWhenLost):
	case r.Copy && m.has(DistrustCopies):
		r.Late = lease + delay
	case r.Status == Running && !ended:
		r.Late = max(r.Late, max(r.Lapse, 0)+delay)
	}
	return Record{Status: Running, Owner: owner, Epoch: r.Epoch + 1, Lapse: lease, Late: r.Late}
}

func (m *Model) take(s *State, i int) {
	before := s.Record
	s.Record = m.Take(before, int8(i), before.Owner >= 0 && s.workers[before.Owner].dead)
	if !s.restored {
		s.snapshot = before
	}
	if s.snapshot.Owner == int8(i) {
		s.snapshot.Owner = -2
	}
	w := &s.workers[i]
	*w = worker{has: true, epoch: s.Record.Epoch, proof: m.proofTime(), pending: -1}
}

func (m *Model) proofTime() int8 {
	if m.has(ProofIsShorter) {
		return proof
	}
	return lease
}

// owns is the answer of Redis when a worker renews the lease or ends the job.
func (m *Model) owns(s State, i int) bool {
	return s.Record.Status == Running && s.Record.Epoch == s.workers[i].epoch &&
		(s.Record.Owner == int8(i) || !m.has(CompareToken))
}

// distrust records that an owner may be missing in this copy of the record.
func (m *Model) distrust(s *State, i int) {
	s.Record.Copy = false
	if m.has(WaitWhenLost) {
		s.Record.Late, s.workers[i].verified = lease+delay, min(s.workers[i].verified, early)
	}
}

// recordProof handles the answer to a renewal.
func (m *Model) recordProof(s *State, i int) {
	w := &s.workers[i]
	left := m.proofTime()
	if m.has(ProofFromSent) {
		left -= w.pending
	}
	w.proof, w.pending = max(w.proof, left), -1
}

func send(s *State, i int, what content) {
	w := &s.workers[i]
	w.sending, w.verified = idle, unverified
	s.writes[i] = write{from: int8(i) + 1, left: delay, what: what}
}

func arrive(s *State, i int) (broken string) {
	what := s.writes[i].what
	s.writes[i] = write{}
	switch s.drive {
	case users:
		return "a write of the job reached the drive after the user's"
	case gone:
		return ""
	}
	if s.drive = what; s.Record.Status == Succeeded && what != image {
		return "the drive changed after the job had succeeded"
	}
	return ""
}

func readBack(s *State, i int) {
	s.workers[i].verified = early
	if s.Record.Late == 0 {
		s.workers[i].verified = late
	}
}

func end(s *State, i int, to Status) (broken string) {
	s.workers[i] = worker{pending: -1}
	s.Record.Status, s.Record.Lapse = to, -1
	if to == Succeeded && s.drive != image {
		return "the job succeeded, and the drive is not the image"
	}
	return ""
}

// kill ends a process. The kernel resets its connections, so what it sent arrives within a round
// trip, which is much shorter than a tick, or never.
func kill(s *State, i int, arrives bool) (broken string) {
	if s.writes[i].from != 0 && arrives {
		broken = arrive(s, i)
	}
	s.workers[i], s.writes[i] = worker{dead: true, pending: -1}, write{}
	return broken
}
