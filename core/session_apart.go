package core

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// A value may settle a message in another shard. That must not be written down before the
// value is, and the value must not end before it is: so a crash keeps one of the two. What
// waits belongs to the session and not to the connection that put the value: the next one
// goes on with it, when the client has left in between.

// apart is what waits in the shards beside a session's home. The session's mu guards it.
type apart struct {
	held  []heldSettle
	acked []record.LSN // by shard: where the settlings are that were held
}

// heldSettle is a position that is settled once the record at lsn is committed.
type heldSettle struct {
	lsn      record.LSN
	position Position
}

// settleAfter settles positions so that no crash keeps the settling and loses
// the record at lsn of the home shard: in the same shard the order of the log
// sees to that, positions of other shards wait until the record is committed.
func (h *Session) settleAfter(lsn record.LSN, positions []Position) {
	for _, p := range positions {
		if lsn == 0 || p.Shard == h.home {
			h.Settle(p)
			continue
		}
		h.mu.Lock()
		h.needApart()
		h.apart.held = append(h.apart.held, heldSettle{lsn, p})
		h.mu.Unlock()
	}
}

// needApart makes room for what waits. mu is held.
func (s *session) needApart() {
	if s.apart == nil {
		s.apart = &apart{acked: make([]record.LSN, len(s.b.shards))}
	}
}

// SettleKept settles once more what a value stands for that was kept over a restart: a
// crash may have lost the settling in another shard. The value does not end before it is in
// the log there.
func (h *Session) SettleKept(positions ...Position) {
	if h.Settle(positions...); h.fenced.Load() {
		return
	}
	for _, p := range positions {
		if p.Shard != h.home {
			h.mu.Lock()
			h.needApart()
			h.mu.Unlock()
			h.flushApart()
			return
		}
	}
}

// settleHeld settles what waited for its value and is committed now.
func (s *session) settleHeld() {
	committed := s.b.shards[s.home].Committed()
	s.mu.Lock()
	a := s.apart
	if a == nil || len(a.held) == 0 {
		s.mu.Unlock()
		return
	}
	n := 0
	for n < len(a.held) && a.held[n].lsn <= committed {
		n++
	}
	ready := a.held[:n:n]
	if a.held = a.held[n:]; len(a.held) == 0 {
		a.held = nil
	}
	s.mu.Unlock()
	if len(ready) == 0 {
		return
	}
	for _, x := range ready {
		s.settle(x.position)
	}
	s.flushApart()
}

// flushApart brings the settlings in other shards to the log at once: the value may be
// deleted soon, and a crash must not lose them after that.
func (s *session) flushApart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, sh := range s.b.shards {
		if uint32(i) != s.home {
			s.apart.acked[i] = max(s.apart.acked[i], sh.FlushAcks())
		}
	}
}

// waitsApart tells whether something is to be settled yet.
func (s *session) waitsApart() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.apart != nil && len(s.apart.held) > 0
}

// awaitAcked waits until the settlings in other shards that values stood for are
// in the log.
func (s *session) awaitAcked() error {
	s.mu.Lock()
	var acked []record.LSN
	if s.apart != nil {
		acked = slices.Clone(s.apart.acked)
	}
	s.mu.Unlock()
	for i, lsn := range acked {
		if err := s.b.shards[i].Await(lsn); err != nil {
			return s.b.storageError(err)
		}
	}
	return nil
}
