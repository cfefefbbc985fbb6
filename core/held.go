package core

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// DueIn is the time, for [Message.DeliverAt], that lies a delay of so many milliseconds
// ahead. ErrLimit when that is further than [Config.MaxDelay].
func (b *Broker) DueIn(ms int64) (int64, error) {
	if ms > b.cfg.MaxDelay.Milliseconds() {
		return 0, b.tooFar()
	}
	return b.nowUp() + max(ms, 0), nil
}

// DueAt checks a time, unix milliseconds, for [Message.DeliverAt]. One in the past is due
// at once. ErrLimit when it is further ahead than [Config.MaxDelay].
func (b *Broker) DueAt(at int64) (int64, error) {
	if at > b.nowUp()+b.cfg.MaxDelay.Milliseconds() {
		return 0, b.tooFar()
	}
	return max(at, 1), nil
}

// nowUp is the present time in unix milliseconds, rounded up: who counts from it is
// never early.
func (b *Broker) nowUp() int64 {
	return b.deps.Clock.Now().Add(time.Millisecond - time.Nanosecond).UnixMilli()
}

func (b *Broker) tooFar() error {
	return &Error{Reason: ErrLimit, Kind: "message", Arg: "max-delay", Current: b.cfg.MaxDelay.String()}
}

// hold is Publish for a message that is delivered later: then it is routed.
func (p *Publisher) hold(m *Message) (Published, error) {
	if err := p.mayHold(m); err != nil {
		return Published{}, err
	}
	to := p.heldIn(m)
	s := p.b.shards[to]
	if !p.b.pressure.admits(messageSize(m)) && (m.Once.Session == 0 || !s.Knows(m.Once)) {
		if !m.Lossy {
			p.b.counters.blocked.Add(1)
			return Published{}, ErrPressure
		}
		p.b.counters.shed.Add(1)
		return Published{Seq: p.tracker.next(), Routed: true}, nil
	}
	p.fillHeld(m)
	durable := p.ns.heldDurability()
	waiter := p.tracker.waiter(to)
	if durable == inMemory {
		waiter = nil
	}
	lsn, err := s.Hold(&p.record, m.ReplacesAny, durable == onDisk, waiter)
	if errors.Is(err, shard.ErrTaken) {
		return Published{}, &Error{Reason: ErrNotOwner, Kind: "schedule", Name: string(m.Schedule), Namespace: p.ns.name}
	}
	if err != nil {
		return Published{}, p.b.storageError(err)
	}
	if durable != inMemory {
		p.tracker.add(to, lsn)
	}
	p.b.counters.published.Add(1)
	p.b.counters.held.Add(1)
	return Published{Seq: p.tracker.next(), Routed: true}, nil
}

func (ns *namespace) heldDurability() durability {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	return ns.durability
}

// mayHold tells why a message can't be published to its exchange: that it matches
// something there is only asked for when it is due.
func (p *Publisher) mayHold(m *Message) error {
	p.ns.mu.RLock()
	defer p.ns.mu.RUnlock()
	x, ok := p.ns.table.Exchange(string(m.Exchange))
	switch {
	case !ok:
		return p.ns.notFound("exchange", string(m.Exchange))
	case x.Internal:
		return &Error{
			Reason: ErrInvalid, Kind: "exchange", Name: x.Name, Namespace: p.ns.name, Arg: "internal", Current: "true",
		}
	}
	return nil
}

// heldIn is the shard that holds a message: that of its name, or else of its key, where
// the filters that match it have their parts.
func (p *Publisher) heldIn(m *Message) uint32 {
	if len(m.Schedule) > 0 {
		return p.b.home(p.ns.name, m.Schedule)
	}
	return p.b.home(p.ns.name, p.routingKey(m))
}

// fillHeld makes the publisher's record one of a message that is held. It expires as
// long after it is due as it would have after now.
func (p *Publisher) fillHeld(m *Message) {
	p.fill(m, &plan{})
	r := &p.record
	r.Streams, r.StreamBytes, r.Deadlines, r.Retain = nil, nil, nil, m.Retain
	r.DeliverAt, r.Schedule = m.DeliverAt, m.Schedule
	if r.ExpireAt != 0 {
		r.ExpireAt += max(0, m.DeliverAt-p.b.deps.Clock.Now().UnixMilli())
	}
	if p.origin != nil {
		r.Origin = p.origin.id
	}
	for _, key := range m.MoreKeys {
		r.FurtherKeys = record.AppendKey(r.FurtherKeys, key)
	}
}

// hold is Publish for a message that is held from the commit on. The first one decides
// where: all that a transaction holds are in one shard, which decides it.
func (t *Transaction) hold(m *Message) (routed bool, err error) {
	if len(m.Schedule) > 0 {
		return false, fmt.Errorf("schedule with a name in a transaction: %w", ErrUnsupported)
	}
	p := t.p
	if err := p.mayHold(m); err != nil {
		return false, err
	}
	if !p.b.pressure.admits(messageSize(m)) {
		p.b.counters.blocked.Add(1)
		return false, ErrPressure
	}
	if err := t.grow(messageSize(m)); err != nil {
		return false, err
	}
	to := t.holder()
	if to < 0 {
		to = int(p.heldIn(m))
	}
	p.fillHeld(m)
	c := &t.parts[to].change
	c.Held.AddMessage(&p.record)
	c.Sync = c.Sync || p.ns.heldDurability() == onDisk
	t.count++
	t.later = append(t.later, func() { p.b.counters.held.Add(1) })
	return true, nil
}

// holder is the shard of what the transaction holds, -1 when it holds nothing.
func (t *Transaction) holder() int {
	for i := range t.parts {
		if t.parts[i].change.Held.Len() > 0 {
			return i
		}
	}
	return -1
}
