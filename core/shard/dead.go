package shard

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// Reason says why a message died.
type Reason uint8

// The reasons.
const (
	Rejected Reason = iota // by a consumer
	Expired                // its deadline has come
	TooLong                // the queue was
	Returned               // more often than the queue allows
)

// deadRun is neighbours of a queue that died for one reason.
type deadRun struct {
	first, end record.Offset
	reason     Reason
}

// graves are messages of a queue that have died and that nobody has taken to move
// them elsewhere. mu of the shard guards them. They are not in the log: what
// ended them ends them again after a start, and the rejected come again.
type graves struct {
	wanted bool      // what the queue gives up dies
	held   bool      // none is taken before RetryDead
	asked  bool      // the queue is in Shard.dying
	runs   []deadRun // in the order in which they died
	kept   []deadRun // those that found no place, see KeepDead
}

// add notes a message that has died.
func add(runs []deadRun, o record.Offset, why Reason) []deadRun {
	if n := len(runs); n > 0 && runs[n-1].end == o && runs[n-1].reason == why {
		runs[n-1].end++
		return runs
	}
	return append(runs, deadRun{o, o + 1, why})
}

// take takes the first of the dead.
func (g *graves) take() (o record.Offset, why Reason) {
	run := &g.runs[0]
	o, why = run.first, run.reason
	if run.first++; run.first == run.end {
		if g.runs = g.runs[1:]; len(g.runs) == 0 {
			g.runs = nil
		}
	}
	return o, why
}

// buries tells whether the messages that the queue gives up die, and are not
// settled. After a start nobody knows until the queue is configured: then they
// die, for Configure to settle them. mu is held.
func (st *stream) buries() bool { return !st.configured || st.graves != nil && st.graves.wanted }

// hasDead tells whether there are some to be taken. mu is held.
func (st *stream) hasDead() bool {
	return !st.gone && st.graves != nil && st.graves.wanted && !st.graves.held && len(st.graves.runs) > 0
}

// died follows up on a message that has died. mu is held.
func (s *Shard) died(st *stream, o record.Offset, why Reason) {
	if st.graves == nil {
		st.graves = new(graves)
	}
	st.graves.runs = add(st.graves.runs, o, why)
	s.askForDead(st)
}

// askForDead has the dead of a queue taken. mu is held.
func (s *Shard) askForDead(st *stream) {
	if !st.hasDead() || st.graves.asked {
		return
	}
	st.graves.asked = true
	s.dying = append(s.dying, st)
	select {
	case s.deadKick <- struct{}{}:
	default: // who takes them is told already
	}
}

// bury ends a message that is not in flight: it dies, or is settled. It returns
// false if it was given up before. mu is held.
func (s *Shard) bury(st *stream, o record.Offset, why Reason) bool {
	st.touch()
	if !st.buries() {
		return st.queue.Settle(o)
	}
	if !st.queue.Die(o) {
		return false
	}
	s.died(st, o, why)
	return true
}

// buryHeld is bury for a message that a consumer has fetched.
func (c *Consumer) buryHeld(o record.Offset, why Reason) bool {
	if !c.st.buries() {
		return c.st.queue.Done(c.c, o)
	}
	if !c.st.queue.Reject(c.c, o) {
		return false
	}
	st, o := c.st.at(o)
	c.s.died(st, o, why)
	return true
}

// Reject gives up messages that were fetched.
func (c *Consumer) Reject(offsets []record.Offset, why Reason) (n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, o := range offsets {
		if c.buryHeld(o, why) {
			n++
		}
	}
	if !c.st.self.gone {
		c.s.moved(c.st)
	}
	return n
}

// Reject on a stream queue is an ack: nothing leaves it.
func (c *GroupConsumer) Reject(offsets []record.Offset, _ Reason) int {
	return c.Settle(offsets, false)
}

// RejectTaken gives up messages that Get took.
func (s *Shard) RejectTaken(id record.StreamID, offsets []record.Offset, why Reason) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return 0
	}
	for _, o := range offsets {
		if of, o := st.at(o); of.queue.InFlight(o) && s.bury(of, o, why) {
			n++
		}
	}
	s.moved(st)
	return n
}

// Dead is a message that has died: it is to be published where its queue says, and
// settled with that.
type Dead struct {
	Ref
	Namespace, Queue string
	Reason           Reason
}

// Died is told when TakeDead may have something.
func (s *Shard) Died() <-chan struct{} { return s.deadKick }

// TakeDead appends up to n of the messages that have died, of all queues in turn.
// They are the caller's until they are settled by the Settler that Buried gives,
// or given back by KeepDead. It may read the index, at the longest until stop. What
// is returned with an error is good.
func (s *Shard) TakeDead(dst []Dead, n int, stop <-chan struct{}) ([]Dead, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for took := 0; took < n && len(s.dying) > 0; {
		st := s.dying[0]
		part := max(1, (n-took)/len(s.dying))
		before := len(dst)
		var err error
		if dst, err = s.takeDead(dst, st, part, stop); err != nil {
			return dst, err
		}
		took += len(dst) - before
		if s.dying[0] != st {
			continue
		}
		s.dying = s.dying[1:]
		if st.graves.asked = st.hasDead(); st.graves.asked {
			s.dying = append(s.dying, st)
		}
	}
	if len(s.dying) == 0 {
		s.dying = nil
	}
	return dst, nil
}

// takeDead takes up to n of one queue. mu is held, but not while the index is read.
func (s *Shard) takeDead(dst []Dead, st *stream, n int, stop <-chan struct{}) ([]Dead, error) {
	for n > 0 && st.hasDead() {
		o := st.graves.runs[0].first
		lsn, there, err := st.ref(o)
		if err != nil {
			if err = s.bring(err, uint64(st.id), stop); err != nil {
				return dst, err
			}
			continue
		}
		if !st.hasDead() || st.graves.runs[0].first != o {
			continue // meanwhile the queue got other settings
		}
		o, why := st.graves.take()
		if !there || !st.queue.Dead(o) {
			continue // settled meanwhile
		}
		dst = append(dst, Dead{
			Ref: Ref{LSN: lsn, Stream: st.id, Offset: o}, Namespace: st.info.Namespace, Queue: st.info.Name, Reason: why,
		})
		n--
	}
	return dst, nil
}

// KeepDead gives a message back for which there is no place now. It stays dead until
// RetryDead, and so do all of its queue if they are to be held.
func (s *Shard) KeepDead(d *Dead, hold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[d.Stream]; st != nil && st.queue != nil && st.queue.Dead(d.Offset) {
		if st.graves == nil {
			st.graves = new(graves)
		}
		st.graves.kept = add(st.graves.kept, d.Offset, d.Reason)
		st.graves.held = st.graves.held || hold
		if !st.graves.wanted { // not any more
			s.wantDead(st, false)
		}
	}
}

// RetryDead has the messages of a queue taken again that KeepDead kept.
func (s *Shard) RetryDead(id record.StreamID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.graves == nil {
		return
	}
	st.graves.runs = append(st.graves.kept, st.graves.runs...) // died before these
	st.graves.kept, st.graves.held = nil, false
	s.askForDead(st)
}

// wantDead says whether messages that are given up die from now on. If not, those
// that nobody has taken are settled. mu is held.
func (s *Shard) wantDead(st *stream, wanted bool) {
	if wanted {
		if st.graves == nil {
			st.graves = new(graves)
		}
		st.graves.wanted = true
		s.askForDead(st)
		return
	}
	if st.graves == nil {
		return
	}
	runs := slices.Concat(st.graves.runs, st.graves.kept)
	st.graves.wanted, st.graves.held, st.graves.runs, st.graves.kept = false, false, nil, nil
	if !st.graves.asked {
		st.graves = nil
	}
	for _, run := range runs {
		for o := run.first; o < run.end; o++ {
			st.queue.Settle(o)
		}
	}
	s.endedSome(st, len(runs) > 0)
}

// buried settles messages that have died.
type buried struct {
	s  *Shard
	id record.StreamID
}

// Buried settles messages of a queue that TakeDead took.
func (s *Shard) Buried(id record.StreamID) Settler { return buried{s, id} }

func (b buried) settle(offsets []record.Offset) (n int) {
	st := b.s.streams[b.id]
	if st == nil || st.queue == nil {
		return 0
	}
	for _, o := range offsets {
		if st.queue.Dead(o) && st.queue.Settle(o) {
			n++
		}
	}
	b.s.moved(st)
	return n
}

func (b buried) cursor() (record.CursorRef, bool) { return taken(b).cursor() }
