package core

import (
	"errors"
	"sync"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
	"github.com/tidegate/tidegate/core/shard"
)

// Next appends up to limit deliveries to dst, without blocking: in log order per
// shard, one per message however many subscriptions match. One goroutine at a
// time. An error means that a message could not be read.
func (h *Session) Next(dst []Delivery, limit int) ([]Delivery, error) {
	h.deliver.Lock()
	defer h.deliver.Unlock()
	if h.fenced.Load() {
		return dst, nil
	}
	h.record, _ = records.Get().(*record.Message)
	defer func() {
		records.Put(h.record)
		h.record = nil
	}()
	first, shared, again := len(dst), 0, uint64(0)
	dst, err := h.nextRetained(dst, limit)
	if err != nil {
		return dst, err
	}
	room := func() int { return limit - (len(dst) - first) }
	sources := len(h.readers)
	if h.sharing.Load() != nil {
		sources++ // shared subscriptions take their turn
		h.give(room())
		defer func() { h.give(min(max(0, room()), assignAhead)) }()
	}
	for range sources {
		if room() <= 0 {
			break
		}
		i := h.turn % sources
		h.turn = (i + 1) % sources
		if i == len(h.readers) {
			before := len(dst)
			dst, err = h.nextShared(dst, room())
			shared, again = len(dst)-before, redelivered(dst[before:])
		} else {
			dst, err = h.nextOf(i, dst, room())
		}
		if err != nil {
			return dst, err
		}
	}
	if n := uint64(len(dst) - first - shared); n > 0 { // the shared ones are counted by their queues
		h.b.counters.delivered.Add(n)
		h.ns.left.delivered.Add(n)
		h.ns.left.redelivered.Add(redelivered(dst[first:]) - again)
	}
	return dst, nil
}

// records are what messages are read into: a session that waits has none.
var records = sync.Pool{New: func() any { return new(record.Message) }}

// nextOf takes from one shard.
func (h *Session) nextOf(i int, dst []Delivery, room int) ([]Delivery, error) {
	r, s := h.readers[i], h.b.shards[i]
	got := 0
	for got < room {
		var err error
		h.refs, err = r.Next(h.refs[:0], room-got)
		if err != nil {
			r.GiveBack(h.refs)
			return dst, h.b.storageError(err)
		}
		if len(h.refs) == 0 {
			h.hints[i].Reset()
			break
		}
		now := h.b.deps.Clock.Now().UnixMilli()
		for j := range h.refs {
			ref := &h.refs[j]
			d := Delivery{Position: position(ref, uint32(i)), Redelivered: ref.Redelivered}
			err := h.b.read(s, ref.LSN, &h.hints[i], h.record, &d.Message)
			if errors.Is(err, errLost) {
				h.b.missing(ref)
				r.Settle(ref.Stream, ref.Offset, ref.LSN)
				continue
			}
			if err != nil {
				r.GiveBack(h.refs[j:])
				return dst, err
			}
			d.Subscriptions = h.matching(ref, &d.Message)
			if len(d.Subscriptions) == 0 || d.Message.ExpireAt != 0 && d.Message.ExpireAt <= now {
				r.Settle(ref.Stream, ref.Offset, ref.LSN)
				continue
			}
			h.delivered.note(uint32(i), ref.LSN)
			dst = append(dst, d)
			got++
		}
	}
	return dst, nil
}

// matching returns the subscriptions that a stored message is delivered for,
// none when all of them withhold it.
func (h *Session) matching(ref *shard.Ref, m *Message) []SubID {
	h.mu.Lock()
	defer h.mu.Unlock()
	local := h.record.Origin == h.id
	sub := h.byStream[ref.Stream]
	if len(ref.Also) == 0 && len(h.quiet) == 0 {
		if sub == nil || sub.spec.NoLocal && local {
			return nil
		}
		if sub.only == nil {
			sub.only = []SubID{sub.id}
		}
		return sub.only
	}
	var out []SubID
	add := func(sub *subscription) {
		if sub != nil && (!sub.spec.NoLocal || !local) {
			out = append(out, sub.id)
		}
	}
	add(sub)
	for _, id := range ref.Also {
		add(h.byStream[id])
	}
	if len(out) == 0 || len(h.quiet) == 0 {
		return out
	}
	topic := string(m.Key)
	if m.Format != FormatMQTT {
		topic = string(route.SwapTopic(nil, m.Key))
	}
	for _, q := range h.quiet {
		if route.MatchFilter(q.spec.Filter, topic) {
			add(q)
		}
	}
	return out
}

// Settle ends deliveries for good. Safe from any goroutine.
func (h *Session) Settle(positions ...Position) {
	if !h.fenced.Load() {
		h.settle(positions...)
	}
}

func (s *session) settle(positions ...Position) {
	n, sharing := uint64(0), s.sharing.Load() != nil
	for i := range positions {
		p := &positions[i]
		if sharing && s.settleShared(p) {
			continue // counted by its queue
		}
		if p.Stream == 0 || int(p.Shard) < len(s.readers) && s.readers[p.Shard].Settle(p.Stream, p.Offset, p.LSN) {
			n++
		}
	}
	s.b.counters.settled.Add(n)
	s.ns.left.acked.Add(n)
}

// Reread reads an unsettled delivery again, for a resend after a reconnect.
// ErrNotFound when it is settled or its subscription is gone.
func (h *Session) Reread(pos Position) (Delivery, error) {
	if int(pos.Shard) >= len(h.readers) || h.fenced.Load() {
		return Delivery{}, ErrNotFound
	}
	d := Delivery{Position: pos, Redelivered: true, Retained: pos.Stream == 0}
	sub, lent := h.lentFor(&pos)
	if d.Shared = lent; lent && h.b.shards[pos.Shard].Lent(pos.Stream, pos.Offset, pos.LSN) != nil {
		return Delivery{}, ErrNotFound
	}
	if pos.Stream != 0 && !d.Shared {
		lsn, err := h.readers[pos.Shard].Lookup(pos.Stream, pos.Offset)
		if err != nil || lsn != pos.LSN {
			return Delivery{}, ErrNotFound
		}
	}
	hint := h.readers[pos.Shard].Hint()
	var r record.Message
	err := h.b.read(h.b.shards[pos.Shard], pos.LSN, &hint, &r, &d.Message)
	if errors.Is(err, errLost) { // a retained value that is none any more
		return Delivery{}, ErrNotFound
	}
	if err != nil {
		return Delivery{}, err
	}
	h.delivered.note(pos.Shard, pos.LSN)
	h.mu.Lock()
	defer h.mu.Unlock()
	if sub == nil {
		sub = h.byStream[pos.Stream]
	}
	if sub != nil {
		d.Subscriptions = []SubID{sub.id}
	}
	return d, nil
}

// Reserve marks positions as in flight, so that Next does not return them:
// for deliveries whose state an adapter kept with Put over a restart. An error
// means that the index could not be read; the positions before it are reserved.
func (h *Session) Reserve(positions ...Position) error {
	if h.fenced.Load() {
		return nil
	}
	for _, p := range positions {
		if p.Stream == 0 || int(p.Shard) >= len(h.readers) {
			continue
		}
		if err := h.readers[p.Shard].Reserve(p.Stream, p.Offset, p.LSN); err != nil {
			return h.b.storageError(err)
		}
	}
	return nil
}

// Recover puts all deliveries that are in flight back, to be delivered again:
// for an adapter that has lost track of them.
func (h *Session) Recover() {
	if h.fenced.Load() {
		return
	}
	for _, r := range h.readers {
		r.Recover()
	}
}
