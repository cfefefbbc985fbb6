package core

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/core/shard"
)

// Transaction gathers publishes and settlements that take effect together at its
// Commit: after a crash all of them have, or none. It holds what it was given in
// memory, up to [Config.MaxTransaction]. It belongs to one goroutine, that of its
// publisher.
//
// Together means durable together. Consumers may see what lies in one shard before
// what lies in another.
type Transaction struct {
	p       *Publisher
	parts   []part // by shard
	later   []func()
	size    int
	limit   int    // of size
	count   uint64 // of publishes
	nowhere uint64 // of those that matched nothing
	counts  []txCount
	acks    map[Holder]uint64 // deliveries that the commit acknowledges

	// moves is of dead letters: a queue that refuses one goes without it, and the
	// transaction does not fail for that.
	moves *moves
}

// part is what a transaction does in one shard.
type part struct {
	change shard.Change
	ttls   [][]int64             // of change.Messages, see planPart; nil while none has any
	holds  map[shard.Settler]int // places in change.Settle
	// refuses tells that a queue among those of the messages may refuse them.
	refuses bool
}

// settlement returns what the change settles by one settler.
func (p *part) settlement(by shard.Settler) *shard.Settlement {
	i, known := p.holds[by]
	if !known {
		if p.holds == nil {
			p.holds = map[shard.Settler]int{}
		}
		i = len(p.change.Settle)
		p.holds[by] = i
		p.change.Settle = append(p.change.Settle, shard.Settlement{By: by})
	}
	return &p.change.Settle[i]
}

// Holder is who holds unsettled deliveries: a [Consumer] or a [Getter].
type Holder interface {
	// Settle settles deliveries at once, without a transaction.
	Settle(outcome Outcome, positions ...Position)
	// AckTimeout is how long the queue lets deliveries be unacknowledged, 0 for
	// ever; false when it does not say.
	AckTimeout() (time.Duration, bool)
	// settler returns who settles them in their shard.
	settler() shard.Settler
	// buries tells that what is discarded becomes a dead letter.
	buries() bool
	// acked counts deliveries that were acknowledged.
	acked(n uint64)
}

func (c *Consumer) settler() shard.Settler { return c.c }

func (g *Getter) settler() shard.Settler { return g.s.Taken(g.q.stream) }

func (c *Consumer) acked(n uint64) { c.ns.acks(c.q, n) }

func (g *Getter) acked(n uint64) { g.ns.acks(g.q, n) }

func (c *Consumer) buries() bool { return c.q.buries.Load() }

func (g *Getter) buries() bool { return g.q.buries.Load() }

// settledSize is what a transaction counts for a delivery that it settles, in bytes.
const settledSize = 64

// Begin begins a transaction.
func (p *Publisher) Begin() *Transaction {
	return &Transaction{p: p, parts: make([]part, len(p.b.shards)), limit: p.b.cfg.MaxTransaction}
}

// Empty tells whether the transaction has nothing to commit.
func (t *Transaction) Empty() bool { return t.size == 0 }

// Publish routes the message now and adds it. The message is copied. Errors are
// those of [Publisher.Publish], and ErrLimit when the transaction would become too
// large; then the message is not added. Exactly-once publishes are ErrUnsupported.
func (t *Transaction) Publish(m *Message) (routed bool, err error) {
	p := t.p
	if len(m.Payload) > p.b.cfg.MaxMessageSize && !m.dead {
		return false, ErrTooLarge
	}
	if m.Once.Session != 0 {
		return false, fmt.Errorf("exactly-once publish in a transaction: %w", ErrUnsupported)
	}
	if m.DeliverAt != 0 {
		return t.hold(m)
	}
	inbox := p.inbox(m)
	if inbox != nil && len(m.MoreKeys) == 0 {
		if err := t.grow(messageSize(m)); err != nil {
			return false, err
		}
		t.count++
		t.counted(p.ns.exchanges.of("").of(p.number), 1)
		t.deliver(m, inbox, nil)
		return true, nil
	}
	pl, err := p.route(m)
	if err != nil {
		return false, err
	}
	parts, live := pl.stored, pl.live1
	if m.QoS == 0 {
		parts, live = pl.queued, pl.live0
	}
	if stored := len(parts) > 0 || m.Retain; stored && !p.admitted(m, pl, parts) {
		p.b.counters.blocked.Add(1)
		return false, ErrPressure
	}
	if len(parts) > 0 && pl.highest > 0 {
		if pl, parts, err = p.prioritised(pl, m); err != nil {
			return false, err
		}
	}
	routed = len(parts)+len(live) > 0 || inbox != nil
	if t.moves != nil {
		if parts, err = t.moves.sift(m, parts); err != nil {
			return false, err
		}
	}
	if err := t.grow(messageSize(m) * (1 + len(parts))); err != nil {
		return false, err
	}
	t.count++
	t.counted(pl.exchange, pl.reaches)
	if len(parts)+len(live) == 0 && inbox == nil {
		t.nowhere++
	}
	t.append(m, pl, parts)
	if len(live) > 0 || inbox != nil {
		t.deliver(m, inbox, live)
	}
	return routed, nil
}

// messageSize is what a message needs in a transaction, for each shard.
func messageSize(m *Message) int {
	size := len(m.Payload) + len(m.Properties) + len(m.Key) + len(m.Exchange) + recordOverhead
	for _, key := range m.HiddenKeys {
		size += len(key) + binary.MaxVarintLen64
	}
	return size
}

// grow counts n bytes more.
func (t *Transaction) grow(n int) error {
	if limit := t.limit; t.size+n > limit {
		return &Error{
			Reason: ErrLimit, Kind: "transaction", Namespace: t.p.ns.name, Arg: "max-transaction",
			Current: strconv.Itoa(limit),
		}
	}
	t.size += n
	return nil
}

// txCount is publishes to an exchange, which count when they are committed.
type txCount struct {
	exchange          *stripe
	published, routed uint64
}

func (t *Transaction) counted(exchange *stripe, reaches uint64) {
	if n := len(t.counts); n == 0 || t.counts[n-1].exchange != exchange {
		t.counts = append(t.counts, txCount{exchange: exchange})
	}
	c := &t.counts[len(t.counts)-1]
	c.published++
	c.routed += reaches
}

// took counts what the commit has carried out.
func (t *Transaction) took() {
	t.p.counts.published.Add(t.count)
	t.p.counts.unroutable.Add(t.nowhere)
	for _, c := range t.counts {
		c.exchange.published.Add(c.published)
		c.exchange.routed.Add(c.routed)
	}
	for h, n := range t.acks {
		h.acked(n)
	}
}

// append adds the message to the parts of its shards.
func (t *Transaction) append(m *Message, pl *plan, parts []planPart) {
	t.p.fill(m, pl)
	r := &t.p.record
	r.Deadlines = nil // are of the commit
	retain := m.Retain
	for i := range parts {
		to := &parts[i]
		r.Streams, r.Retain = to.streams, m.Retain && to.shard == pl.home
		retain = retain && !r.Retain
		durable := to.durable
		if r.Retain {
			durable = max(durable, pl.retained)
		}
		t.add(to.shard, to.ttls, m.QoS > 0 && durable == onDisk)
		t.parts[to.shard].refuses = t.parts[to.shard].refuses || to.refuses
	}
	if retain { // no stream lies where the retained value does
		r.Streams, r.Retain = nil, true
		t.add(pl.home, nil, m.QoS > 0 && pl.retained == onDisk)
	}
}

// add adds the publisher's record to the part of a shard.
func (t *Transaction) add(to uint32, ttls []int64, sync bool) {
	part := &t.parts[to]
	c := &part.change
	if ttls != nil || part.ttls != nil {
		for len(part.ttls) < c.Messages.Len() {
			part.ttls = append(part.ttls, nil)
		}
		part.ttls = append(part.ttls, ttls)
	}
	c.Messages.AddMessage(&t.p.record)
	c.Sync = c.Sync || sync
}

// deliver has a copy of the message handed over at the commit to those who get it
// from memory.
func (t *Transaction) deliver(m *Message, inbox func(m *Message) bool, live []liveTarget) {
	kept := *m
	kept.Exchange, kept.Key = bytes.Clone(m.Exchange), bytes.Clone(m.Key)
	kept.Properties, kept.Payload = bytes.Clone(m.Properties), bytes.Clone(m.Payload)
	kept.MoreKeys, kept.HiddenKeys = nil, nil
	b := t.p.b
	t.later = append(t.later, func() {
		if inbox != nil && !inbox(&kept) {
			b.counters.dropped.Add(1)
		}
		t.p.offer(&kept, live)
	})
}

// Settle adds settlements of deliveries that the holder has. ErrLimit when the
// transaction would become too large; then none is added. Requeue puts them back
// after the commit; that needs no record. So does Discard with deliveries of a queue
// that has dead letters.
func (t *Transaction) Settle(h Holder, outcome Outcome, positions ...Position) error {
	if err := t.grow(settledSize * len(positions)); err != nil || len(positions) == 0 {
		return err
	}
	if outcome == Requeue || outcome == Discard && h.buries() {
		all := append([]Position(nil), positions...)
		t.later = append(t.later, func() { h.Settle(outcome, all...) })
		return nil
	}
	if outcome == Ack {
		if t.acks == nil {
			t.acks = map[Holder]uint64{}
		}
		t.acks[h] += uint64(len(positions))
	}
	s := t.parts[positions[0].Shard].settlement(h.settler())
	for j := range positions {
		s.Offsets = append(s.Offsets, positions[j].Offset)
	}
	return nil
}
