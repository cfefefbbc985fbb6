package core

import (
	"errors"
	"log/slog"
	"maps"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// release takes a delivery of a shared subscription from the connection; false when it does not
// have it.
func (h *Session) release(p *Position) (holding, bool) {
	at := placeOf(p)
	h.members.mu.Lock()
	defer h.members.mu.Unlock()
	x, ok := h.members.held[at]
	if ok = ok && x.lsn == p.LSN; ok {
		delete(h.members.held, at)
	}
	return x, ok
}

// settleShared settles a delivery of a shared subscription; false when it is none, or is
// another's now.
func (s *session) settleShared(p *Position) bool {
	lent := s.sharing.Load().forget(p)
	if h := s.live.Load(); h != nil {
		if x, ok := h.release(p); ok {
			x.c.Settle(Ack, *p)
			return true
		}
	}
	if lent = lent && s.endLent(p, false); lent {
		s.b.counters.settled.Add(1)
		s.ns.left.acked.Add(1)
	}
	return lent
}

// Fail says that the client failed on deliveries, or with discard that nobody is to have
// them. Those of shared subscriptions come to whoever has room, after some time, or to the
// dead letters; others are settled.
func (h *Session) Fail(discard bool, positions ...Position) {
	if h.fenced.Load() {
		return
	}
	for i := range positions {
		p := &positions[i]
		if h.sharing.Load() == nil || !h.failShared(discard, p) {
			h.Settle(*p)
		}
	}
}

func (h *Session) failShared(discard bool, p *Position) bool {
	lent := h.sharing.Load().forget(p)
	x, ok := h.release(p)
	switch {
	case ok && discard:
		x.c.Settle(Discard, *p)
	case ok:
		x.c.fail(p.Offset)
	case lent: // its consumer is gone: at once then
		return h.endLent(p, !discard)
	}
	return ok
}

// fail says that the consumer failed on a message.
func (c *Consumer) fail(o Offset) {
	if queue, ok := c.c.(*shard.Consumer); ok {
		queue.Fail([]record.Offset{o}, &shareRetry)
	}
}

// noteLent follows up on a value of the session that may tell of a message of a shared
// subscription: as long as the value is there, nobody else gets the message. Where no value
// tells of it any more, and it was not settled, others do.
func (h *Session) noteLent(key uint32, value []byte, settle []Position) {
	sh := h.sharing.Load()
	if sh == nil || h.b.deps.Lent == nil {
		return
	}
	var now lending
	var tells bool
	if value != nil {
		now.at, now.done, tells = h.b.deps.Lent(key, value)
		tells = tells && h.holds(&now.at)
	}
	old, was := sh.note(key, now, tells)
	switch {
	case !was || tells && now.at == old.at:
	case slices.Contains(settle, old.at):
		h.settleShared(&old.at)
	default:
		h.unlend(&old)
	}
}

// unlend ends that a message is lent: others get it, unless the client has it.
func (h *Session) unlend(l *lending) {
	if x, ok := h.release(&l.at); ok {
		x.c.c.Settle([]record.Offset{l.at.Offset}, !l.done)
		return
	}
	h.endLent(&l.at, !l.done)
}

// note sets what a value tells, or that it tells nothing any more, and returns what it told.
func (sh *sharing) note(key uint32, now lending, tells bool) (old lending, was bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if old, was = sh.lent[key]; was {
		delete(sh.lent, key)
		delete(sh.keys, placeOf(&old.at))
	}
	if tells {
		sh.lent[key] = now
		sh.keys[placeOf(&now.at)] = key
	}
	return old, was
}

// holds tells whether a delivery is the connection's, or lent to the session.
func (h *Session) holds(p *Position) bool {
	at := placeOf(p)
	h.members.mu.Lock()
	x, ok := h.members.held[at]
	h.members.mu.Unlock()
	return ok && x.lsn == p.LSN || h.sharing.Load().has(at, p.LSN)
}

// has tells whether a message is lent.
func (sh *sharing) has(at place, lsn LSN) bool {
	if sh == nil {
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	key, ok := sh.keys[at]
	return ok && sh.lent[key].at.LSN == lsn
}

// forget notes that a message is not lent any more; false when it was not.
func (sh *sharing) forget(p *Position) bool {
	at := placeOf(p)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	key, ok := sh.keys[at]
	if ok = ok && sh.lent[key].at.LSN == p.LSN; ok {
		delete(sh.lent, key)
		delete(sh.keys, at)
	}
	return ok
}

// endLent settles a message whose consumer is gone, or gives it back; false when that was done
// before.
func (s *session) endLent(p *Position, giveBack bool) bool {
	err := s.b.shards[p.Shard].EndLent(p.Stream, p.Offset, p.LSN, giveBack)
	if err != nil && !errors.Is(err, shard.ErrNotFound) {
		s.b.deps.Log.Warn("message of a shared subscription not settled", slog.Any("error", err))
	}
	return err == nil
}

// restoreLent takes what the values of a session tell of messages of shared subscriptions, before
// anybody is served.
func (s *session) restoreLent(lsns []record.LSN) error {
	if s.b.deps.Lent == nil {
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(s.values)) {
		at, done, ok := s.b.deps.Lent(key, s.values[key])
		if !ok || at.Stream == 0 || int(at.Shard) >= len(s.b.shards) {
			continue
		}
		sh := s.b.shards[at.Shard]
		var err error
		if done { // a crash may have kept the value and lost that it settles
			err = sh.EndLent(at.Stream, at.Offset, at.LSN, false)
		} else if err = sh.Lend(at.Stream, at.Offset, at.LSN); err == nil {
			s.share().note(key, lending{at: at}, true)
		}
		if err != nil && !errors.Is(err, shard.ErrNotFound) { // that is of another subscription
			return s.b.storageError(err)
		}
		if done && err == nil {
			lsns[at.Shard] = max(lsns[at.Shard], sh.FlushAcks())
		}
	}
	return nil
}

// hasLent tells whether one of a session's values may tell of a message of a shared subscription
// that is not settled.
func (b *Broker) hasLent(values map[uint32][]byte) bool {
	if b.deps.Lent == nil {
		return false
	}
	for key, value := range values {
		at, _, ok := b.deps.Lent(key, value)
		if !ok || at.Stream == 0 || int(at.Shard) >= len(b.shards) {
			continue
		}
		if err := b.shards[at.Shard].Lent(at.Stream, at.Offset, at.LSN); !errors.Is(err, shard.ErrNotFound) {
			return true
		}
	}
	return false
}

// any tells whether messages are lent.
func (sh *sharing) any() bool {
	if sh == nil {
		return false
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return len(sh.lent) > 0
}

// settleLent settles all that is lent to a session that ends: its client may have it, and
// nobody is to have it twice.
func (s *session) settleLent() []record.LSN {
	sh := s.sharing.Load()
	if sh == nil {
		return nil
	}
	sh.mu.Lock()
	all := sh.lent
	sh.lent, sh.keys = map[uint32]lending{}, map[place]uint32{}
	sh.mu.Unlock()
	if len(all) == 0 {
		return nil
	}
	lsns := make([]record.LSN, len(s.b.shards))
	for _, key := range slices.Sorted(maps.Keys(all)) { // the log tells no map's order
		l := all[key]
		s.endLent(&l.at, false)
		lsns[l.at.Shard] = s.b.shards[l.at.Shard].FlushAcks()
	}
	return lsns
}

// lentFor tells whether a message is lent to the session, and for which subscription, unless that
// is gone.
func (h *Session) lentFor(p *Position) (sub *subscription, lent bool) {
	if !h.sharing.Load().has(placeOf(p), p.LSN) {
		return nil, false
	}
	h.ns.mu.RLock()
	defer h.ns.mu.RUnlock()
	for _, sub := range h.shared() {
		_, _, name, _ := sharedForm(sub.spec.Filter)
		if q := h.ns.queues[name]; q != nil && q.has(p.Stream) {
			return sub, true
		}
		if g := h.ns.shares[sub.spec.Filter]; g != nil && g.queue != nil && g.queue.stream == p.Stream {
			return sub, true
		}
	}
	return nil, true
}
