package amqp

import (
	"errors"
	"sync/atomic"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// publisher is what a channel publishes through, and the feed of its confirms.
// The engine counts from 1 for each, so the numbers of the one that is made at
// confirm.select are the delivery tags of confirms.
type publisher struct {
	ch         *channel
	engine     *core.Publisher
	confirming bool
	queued     atomic.Bool
	unasked    int         // refused since the last await; the reading goroutine's own
	refused    [][2]uint64 // scratch, guarded by the output's lock
	// last is the number of the latest publish.
	last atomic.Uint64
	// held is 0, or the number from which on nothing may be confirmed yet:
	// that of a mandatory publish whose basic.return may have to go first.
	held atomic.Uint64

	// Guarded by the output's lock:
	stopped bool
	settled uint64 // confirmed to the client, if it wants that
	failed  bool   // what is not settled never will be
}

// newPublisher makes the channel's publisher.
func newPublisher(ch *channel, confirming bool) (*publisher, error) {
	p := &publisher{ch: ch, confirming: confirming}
	engine, err := ch.broker().NewPublisher(ch.c.namespace, nil, func() { ch.c.out.ready.add(p) })
	if err != nil {
		return nil, err
	}
	p.engine = engine
	return p, nil
}

// use makes the publisher the channel's. Who counts publishes goes on from those of the
// one before.
func (p *publisher) use() {
	ch := p.ch
	ch.publisher = p
	ch.c.out.mu.Lock()
	defer ch.c.out.mu.Unlock()
	if ch.shown != nil {
		ch.counts.published += ch.shown.last.Load()
	}
	ch.shown = p
	if p.confirming {
		ch.confirmer = p
	}
}

// confirmSelect changes to a publisher whose publishes are confirmed.
func (ch *channel) confirmSelect(m *wire.ConfirmSelect) error {
	if ch.tx != nil {
		return refuse(codePreconditionFailed, "cannot switch from tx to confirm mode")
	}
	if ch.publisher == nil || !ch.publisher.confirming {
		p, err := newPublisher(ch, true)
		if err != nil {
			return err
		}
		ch.await() // what comes next must not overtake what was published without confirms
		ch.stopPublisher()
		p.use()
	}
	if !m.NoWait {
		ch.reply(&wire.ConfirmSelectOK{})
	}
	return nil
}

// stopPublisher ends the channel's publisher. What it published stays.
func (ch *channel) stopPublisher() {
	p := ch.publisher
	if p == nil {
		return
	}
	ch.c.out.mu.Lock()
	p.stopped = true
	ch.c.out.mu.Unlock()
	p.engine.Close()
}

// awaitPublishes waits until all publishes of the connection are in their queues, so
// that a method that looks at a queue finds them there, whichever channel they came on.
func (c *connection) awaitPublishes() {
	for _, ch := range c.channels {
		ch.await()
	}
}

// await waits until all publishes of the channel are in their queues.
func (ch *channel) await() {
	p := ch.publisher
	if p == nil {
		return
	}
	o := ch.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for p.settled < p.last.Load() && !p.failed && !o.hasty {
		o.ready.signal()
		o.room.Wait()
	}
}

// publish hands over a message.
func (p *publisher) publish(m *core.Message) (routed bool, err error) {
	published, err := p.engine.Publish(m)
	if err != nil && !errors.Is(err, core.ErrFull) {
		return false, err
	}
	p.last.Store(published.Seq)
	if err != nil {
		p.unasked++
	}
	return published.Routed, err
}

// maxUnasked is how many publishes may be refused before the client has taken the
// answers: the engine remembers their numbers until then.
const maxUnasked = 1024

// boundRefused waits for the answers to refused publishes to go out, once there may be
// many.
func (p *publisher) boundRefused() {
	if p.unasked >= maxUnasked {
		p.ch.await()
		p.unasked = 0
	}
}

// hold keeps the next publish unconfirmed until unhold.
func (p *publisher) hold() { p.held.Store(p.last.Load() + 1) }

// unhold ends hold, and has the writer look again for what it skipped.
func (p *publisher) unhold() {
	p.held.Store(0)
	p.ch.c.out.ready.add(p)
}

func (p *publisher) announced() *atomic.Bool { return &p.queued }

// fill appends one confirm for all publishes that are settled since the last, and more
// where some of them were refused. Numbers are settled in their order, so each may
// always speak for all before.
func (p *publisher) fill(buf []byte, _ int) (out []byte, more bool) {
	if p.stopped {
		return buf, false
	}
	settled, err := p.engine.Settled()
	held := p.held.Load()
	if held != 0 && settled >= held {
		settled = held - 1
	}
	p.refused = p.engine.Refused(p.refused[:0], settled)
	for _, r := range p.refused {
		buf = p.confirm(buf, r[0]-1, false)
		buf = p.confirm(buf, r[1], true)
	}
	buf = p.confirm(buf, settled, false)
	if err != nil && held == 0 {
		p.failed = true
		buf = p.confirm(buf, p.last.Load(), true)
	}
	return buf, false
}

// confirm appends the confirm, or the refusal, of all publishes up to a number. A
// refusal says so of one alone too, as RabbitMQ does.
func (p *publisher) confirm(buf []byte, upTo uint64, refused bool) []byte {
	if upTo <= p.settled {
		return buf
	}
	if p.confirming {
		buf = wire.AppendConfirm(buf, p.ch.id, upTo, refused || upTo-p.settled > 1, refused)
	}
	if p.confirming && !refused {
		p.ch.counts.confirmed += upTo - p.settled
		p.engine.Confirmed(upTo - p.settled)
	}
	p.settled = upTo
	return buf
}
