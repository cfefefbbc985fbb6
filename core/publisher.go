package core

import (
	"github.com/tidegate/tidegate/core/record"
)

// Publisher publishes for one channel or connection. Its methods but Settled
// must be called from one goroutine at a time.
type Publisher struct {
	b       *Broker
	ns      *namespace
	origin  *session
	number  uint32   // tells which stripe of a tally counts its publishes
	counts  *stripe  // that of the namespace
	replies *stripe  // that of the default exchange, for inboxes; nil before the first
	tracker *tracker // nil when nobody asks for confirms

	plans   map[string]*plan
	kept    int // plans, and those that these have for priorities
	planKey []byte
	swapped []byte
	record  record.Message
	ends    []int64           // deadlines of the record, kept for their room
	refused []record.StreamID // likewise, the queues of a part that refused it
	spilled []spill           // of them, those that make dead letters of that
}

// Published tells what became of a publish at once.
type Published struct {
	// Seq is the publish's number, counted from 1 per publisher. It is settled
	// when Settled reaches it.
	Seq uint64
	// Routed is false when no queue and no subscription matched; then nothing
	// but a retained value is stored.
	Routed bool
}

// NewPublisher makes a publisher in the namespace. notify is called, from any
// goroutine and possibly with locks held, when Settled has advanced; it must
// not block; without it, Settled says nothing. origin, when not nil, is the
// session that publishes.
func (b *Broker) NewPublisher(namespace string, origin *Session, notify func()) (*Publisher, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, err
	}
	p := &Publisher{b: b, ns: ns, plans: map[string]*plan{}, number: b.publishers.Add(1)}
	p.counts = ns.came.of(p.number)
	p.record.Namespace = []byte(ns.name)
	if origin != nil {
		p.origin = origin.session
	}
	if notify != nil {
		p.tracker = newTracker(b.shards, notify)
	}
	return p, nil
}

// Publish routes the message and appends it to the open batch of each shard
// that has a stream for it. It blocks while a shard is over its limit
// (back-pressure). ErrNotFound: no such exchange. ErrInvalid with Arg
// "internal": the exchange takes no publishes. One with a DeliverAt is held until then,
// and routed then; it counts as routed. ErrUnsupported, ErrLimit: see [Message]. ErrPressure: disk or memory is
// low and the message would have to be stored; nobody got it. ErrTooLarge,
// ErrStorage. An error means that the message was not confirmed and has no Seq, but
// for ErrFull: a queue that refuses what is too much for it did not take the message,
// others may have. Then it has a Seq, and Refused tells that when it is settled.
func (p *Publisher) Publish(m *Message) (Published, error) {
	if len(m.Payload) > p.b.cfg.MaxMessageSize {
		return Published{}, ErrTooLarge
	}
	if m.DeliverAt != 0 {
		return p.hold(m)
	}
	routed, refused, err := p.publish(m)
	if err == nil && refused > 0 {
		p.b.counters.refused.Add(1)
		err = p.spill(m)
	}
	switch {
	case err != nil:
		return Published{}, err
	case refused > 0:
		return Published{Seq: p.tracker.refuse(), Routed: true}, ErrFull
	}
	return Published{Seq: p.tracker.next(), Routed: routed}, nil
}

// publish is Publish, but for the number. It returns how many queues refused the
// message; spilled are those of them that make dead letters of that.
func (p *Publisher) publish(m *Message) (routed bool, refused int, err error) {
	p.spilled = p.spilled[:0]
	inbox := p.inbox(m)
	if inbox != nil && len(m.MoreKeys) == 0 {
		return p.answer(m, inbox), 0, nil
	}
	pl, err := p.route(m)
	if err != nil {
		return false, 0, err
	}
	parts, live := pl.stored, pl.live1
	if m.QoS == 0 {
		parts, live = pl.queued, pl.live0
	}
	routed, stored := len(parts)+len(live) > 0, len(parts) > 0 || m.Retain
	if stored && !p.admitted(m, pl, parts) {
		if !m.Lossy {
			p.b.counters.blocked.Add(1)
			return false, 0, ErrPressure
		}
		p.b.counters.shed.Add(1)
		stored = false
	}
	if stored && pl.highest > 0 {
		if pl, parts, err = p.prioritised(pl, m); err != nil {
			return false, 0, err
		}
	}
	if inbox != nil && inbox(m) {
		routed = true
	}
	if !m.dead {
		p.counted(pl, routed)
	}
	if m.Once.Session != 0 && len(live) > 0 && p.known(m.Once) {
		live = nil // was delivered the first time
	}
	p.offer(m, live)
	if !stored {
		return routed, 0, nil
	}
	refused, err = p.append(m, pl, parts)
	return routed, refused, err
}

// counted counts a publish.
func (p *Publisher) counted(pl *plan, routed bool) {
	p.counts.published.Add(1)
	if !routed {
		p.counts.unroutable.Add(1)
	}
	pl.exchange.published.Add(1)
	if pl.reaches > 0 {
		pl.exchange.routed.Add(pl.reaches)
	}
}

// offer gives the message to the sessions that get it from memory.
func (p *Publisher) offer(m *Message, live []liveTarget) {
	if len(live) == 0 {
		return
	}
	taken := uint64(0)
	for i := range live {
		if live[i].offer(m) {
			taken++
		}
	}
	p.counts.live.Add(taken)
	if missed := uint64(len(live)) - taken; missed > 0 {
		p.b.counters.dropped.Add(missed)
	}
}

// known tells whether an exactly-once publish is stored already.
func (p *Publisher) known(o Once) bool {
	for _, s := range p.b.shards {
		if s.Knows(o) {
			return true
		}
	}
	return false
}

// recordOverhead is about what a record needs beside the bytes of its message.
const recordOverhead = 64

// admitted tells whether the message may be stored. One that is stored already
// and was only sent again is welcome: it takes no room, and a refusal would say
// that it is not there.
func (p *Publisher) admitted(m *Message, pl *plan, parts []planPart) bool {
	if m.spilled || p.b.pressure.admits(len(m.Payload)+len(m.Properties)+len(m.Key)+len(m.Exchange)+recordOverhead) {
		return true
	}
	if m.Once.Session == 0 {
		return false
	}
	for i := range parts {
		if !p.b.shards[parts[i].shard].Knows(m.Once) {
			return false
		}
	}
	return len(parts) > 0 || p.b.shards[pl.home].Knows(m.Once)
}

// append writes the message to each shard that needs it, and returns how many queues
// refused it.
func (p *Publisher) append(m *Message, pl *plan, parts []planPart) (refused int, err error) {
	p.fill(m, pl)
	r := &p.record
	retain := m.Retain
	for i := range parts {
		part := &parts[i]
		r.Streams, r.Retain = part.streams, m.Retain && part.shard == pl.home
		r.Deadlines = p.deadlines(part.ttls, m.ExpireAt)
		retain = retain && !r.Retain
		durable := part.durable
		if r.Retain {
			durable = max(durable, pl.retained)
		}
		if err := p.appendPart(part.shard, m.QoS, durable, part.refuses); err != nil {
			return refused, err
		}
		if part.refuses {
			refused += len(p.refused)
			p.spilled = part.appendSpills(p.spilled, p.refused)
		}
	}
	if retain { // no stream lies where the retained value does
		r.Streams, r.Deadlines, r.Retain = nil, nil, true
		err = p.appendPart(pl.home, m.QoS, pl.retained, false)
	}
	return refused, err
}

// deadlines are the times at which a message ends in the streams of a part: each
// its own, where they have times to live.
func (p *Publisher) deadlines(ttls []int64, expireAt int64) []int64 {
	if ttls == nil {
		return nil
	}
	now := p.b.deps.Clock.Now().UnixMilli()
	p.ends = p.ends[:0]
	for _, ttl := range ttls {
		at := expireAt
		if ttl != noTTL && (at == 0 || now+ttl < at) {
			at = now + ttl
		}
		p.ends = append(p.ends, at)
	}
	return p.ends
}

// fill makes the publisher's record one of the message, but for what differs
// between shards.
func (p *Publisher) fill(m *Message, pl *plan) {
	r := &p.record
	r.Exchange, r.Key, r.Properties, r.Payload = m.Exchange, m.Key, m.Properties, m.Payload
	r.Format, r.QoS, r.ExpireAt, r.Once = m.Format, m.QoS, m.ExpireAt, m.Once
	r.Origin, r.DeadLetter = 0, m.dead
	if pl.noLocal && p.origin != nil {
		r.Origin = p.origin.id
	}
	r.DeliverAt, r.Schedule, r.Repeats, r.FurtherKeys = 0, nil, nil, nil
	r.HiddenKeys = nil
	for _, key := range m.HiddenKeys {
		r.HiddenKeys = record.AppendKey(r.HiddenKeys, key)
	}
	r.OrderingKey = nil
	if pl.keyed {
		r.OrderingKey = p.orderingKey(m)
	}
}

// appendPart writes the record to one shard, and has its confirm wait for what
// the durability asks for. refused are then the queues that refused it, if some may.
func (p *Publisher) appendPart(to uint32, qos uint8, durable durability, may bool) (err error) {
	waiter := p.tracker.waiter(to)
	if durable == inMemory {
		waiter = nil
	}
	var lsn record.LSN
	sync := qos > 0 && durable == onDisk
	if may {
		lsn, p.refused, err = p.b.shards[to].Offer(&p.record, sync, waiter, p.refused[:0])
	} else {
		lsn, err = p.b.shards[to].Publish(&p.record, sync, waiter)
	}
	if err != nil {
		return p.b.storageError(err)
	}
	if durable != inMemory && lsn != 0 {
		p.tracker.add(to, lsn)
	}
	return nil
}

// Settled returns the number up to which all publishes are confirmed: as
// durable as their streams ask for. An error means that the later ones never
// will be (ErrStorage, ErrClosed). It may be called from any goroutine.
func (p *Publisher) Settled() (uint64, error) {
	n, err := p.tracker.settled()
	return n, p.b.storageError(err)
}

// Refused appends to dst the numbers up to a settled one that stand for publishes which
// a queue refused, since it was last asked: ranges by their first and last number. It
// may be called from any goroutine.
func (p *Publisher) Refused(dst [][2]uint64, upTo uint64) [][2]uint64 {
	return p.tracker.takeRefused(dst, upTo)
}

// Close forgets the publisher. What it published stays.
func (p *Publisher) Close() { p.plans = nil }
