package core

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
)

const (
	// deadAtOnce is how many dead of a shard are moved together at the most.
	deadAtOnce = 1024
	// deadBytes is how many bytes of dead letters are moved together, or one letter.
	deadBytes = 1 << 20
	// deadPause is how long it waits for pressure to end, and how often it looks
	// whether there is a place for what had none.
	deadPause = time.Second
	// makeOwnFor is how long it waits for a queue that it makes, while no others are moved.
	makeOwnFor = 2 * time.Second
	// deadPublishers bounds the namespaces that it keeps a publisher of.
	deadPublishers = 64
)

// deadLetters moves the dead of one shard to where their queues say. Its loop alone
// uses it; the shard's lock is not held while it works.
type deadLetters struct {
	b          *Broker
	s          *shard.Shard
	ctx        context.Context //nolint:containedctx // of the loop
	timer      *clock.Timer
	ticking    bool
	publishers map[*namespace]*Publisher
	taken      []shard.Dead // and not moved yet
	record     record.Message
	homeless   map[record.StreamID]homeless
	failed     bool
}

// homeless is a queue with dead that had no place when its routing graph had a version,
// or whose place was full.
type homeless struct {
	ns      *namespace
	version uint64
	full    bool // then the others of the queue wait behind
}

// errHalf tells that a part of a move is in a transaction, which must not be committed.
var errHalf = errors.New("move not whole")

// moveDead is the loop that moves the dead of a shard.
func (b *Broker) moveDead(ctx context.Context, s *shard.Shard) work.Loop {
	d := &deadLetters{
		b: b, s: s, ctx: ctx, timer: b.deps.Clock.NewTimer(deadPause),
		publishers: map[*namespace]*Publisher{}, homeless: map[record.StreamID]homeless{},
	}
	d.timer.Stop()
	return work.Loop{Name: "dead letters", Turn: d.turn}
}

// turn moves some, or waits for some.
func (d *deadLetters) turn(wait bool) work.State {
	if d.ctx.Err() != nil || d.failed {
		d.timer.Stop()
		return work.Ended
	}
	if !wait {
		switch {
		case work.Took(d.timer.C):
			d.tick()
		case len(d.taken) == 0 && work.Took(d.s.Died()):
			d.round()
		default:
			return work.Idle
		}
		return work.Worked
	}
	died := d.s.Died()
	if len(d.taken) > 0 {
		died = nil // those first
	}
	select {
	case <-d.ctx.Done():
	case <-d.timer.C:
		d.tick()
	case <-died:
		d.round()
	}
	return work.Worked
}

// tick looks again for those who had to wait.
func (d *deadLetters) tick() {
	d.ticking = false
	for id, h := range d.homeless {
		if h.full || h.ns.version.Load() != h.version {
			delete(d.homeless, id)
			d.s.RetryDead(id)
		}
	}
	d.pause(len(d.homeless) > 0)
	d.round()
}

// pause has tick called in a moment.
func (d *deadLetters) pause(needed bool) {
	if needed && !d.ticking {
		d.ticking = true
		d.timer.Reset(deadPause)
	}
}

// round moves all that have died, batch by batch, until some have to wait.
func (d *deadLetters) round() {
	for d.ctx.Err() == nil && !d.failed {
		if len(d.taken) == 0 {
			var err error
			d.taken, err = d.s.TakeDead(d.taken[:0], deadAtOnce, d.ctx.Done())
			if err != nil && len(d.taken) == 0 {
				d.trouble(err)
				return
			}
		}
		if len(d.taken) == 0 {
			d.taken = nil
			return
		}
		n, err := d.move()
		if d.taken = d.taken[n:]; err != nil && (n == 0 || !errors.Is(err, shard.ErrReserved)) {
			d.trouble(err)
			return
		}
	}
}

// move moves the first of those that were taken, and returns how many those were.
func (d *deadLetters) move() (n int, err error) {
	t := &Transaction{
		p: &Publisher{b: d.b}, parts: make([]part, len(d.b.shards)), limit: math.MaxInt, moves: newMoves(d.b),
	}
	defer t.moves.release()
	n, err = d.fill(t)
	if !errors.Is(err, errHalf) {
		if e := d.commit(t); e != nil {
			err = errors.Join(e, errHalf)
		}
	}
	if errors.Is(err, errHalf) {
		d.failed = true // it is not known what happened: the next start finds out
		return 0, err
	}
	return n, err
}

// trouble has the round go on in a moment, unless a shard has failed: what was not
// moved dies again after the next start.
func (d *deadLetters) trouble(err error) {
	d.failed = d.failed || d.s.Err() != nil
	switch {
	case d.ctx.Err() != nil:
	case d.failed:
		d.b.deps.Log.Error("dead letters not moved any more", slog.Any("error", err))
	default:
		d.pause(true)
		if !errors.Is(err, ErrPressure) {
			d.b.deps.Log.Error("dead letters not moved: tried again", slog.Any("error", err))
		}
	}
}

// fill adds the moves of the first dead to a transaction, and returns how many those
// were.
func (d *deadLetters) fill(t *Transaction) (n int, err error) {
	for n < len(d.taken) && t.size < deadBytes {
		if err := d.add(t, &d.taken[n]); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// commit makes the moves happen.
func (d *deadLetters) commit(t *Transaction) error {
	settled, err := t.commit()
	if err != nil {
		return d.b.storageError(err)
	}
	d.b.counters.deadLetters.Add(t.count - t.nowhere)
	d.b.counters.settled.Add(uint64(settled))
	for _, do := range t.later {
		do()
	}
	return nil
}

// add adds the move of one message.
func (d *deadLetters) add(t *Transaction, dead *shard.Dead) error {
	ns, q, to := d.b.afterlifeOf(dead)
	if q == nil {
		return nil // the queue is gone, and its messages with it
	}
	if d.homeless[dead.Stream].full {
		d.s.KeepDead(dead, true)
		return nil
	}
	if to.own && !d.makeOwn(ns, to, dead) {
		d.homeless[dead.Stream] = homeless{ns, ns.version.Load(), true}
		d.pause(true)
		d.s.KeepDead(dead, true)
		return nil
	}
	moved, err := d.publish(t, ns, to, dead)
	full := errors.Is(err, ErrFull)
	if err != nil && !full {
		return err
	}
	if full || !moved && to.strict {
		d.homeless[dead.Stream] = homeless{ns, ns.version.Load(), full}
		d.pause(true)
		d.s.KeepDead(dead, full)
		return nil
	}
	s := t.parts[q.shard].settlement(d.s.Buried(dead.Stream))
	s.Offsets = append(s.Offsets, dead.Offset)
	return nil
}

// afterlifeOf finds the queue of a message and where that sends it now.
func (b *Broker) afterlifeOf(dead *shard.Dead) (*namespace, *declared, afterlife) {
	ns, err := b.namespace(dead.Namespace)
	if err != nil {
		return nil, nil, afterlife{}
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	q := ns.queues[dead.Queue]
	if q == nil || !q.has(dead.Stream) {
		g := ns.shares[dead.Queue]
		if g == nil || g.queue == nil || g.queue.stream != dead.Stream {
			return nil, nil, afterlife{}
		}
		q = g.queue
	}
	return ns, q, q.now.after
}

// makeOwn makes the queue for the dead letters of a group unless it is there; false when that is
// not possible now.
func (d *deadLetters) makeOwn(ns *namespace, to afterlife, dead *shard.Dead) bool {
	if dead.Reason == shard.Expired {
		return true // goes nowhere
	}
	ns.mu.RLock()
	there := ns.queues[to.key] != nil
	ns.mu.RUnlock()
	if there {
		return true
	}
	ctx, cancel := context.WithTimeout(d.ctx, makeOwnFor)
	defer cancel()
	_, err := d.b.DeclareQueue(ctx, ns.name, QueueSpec{Name: to.key, Durable: true})
	if err != nil && d.ctx.Err() == nil {
		d.b.deps.Log.Warn("queue for dead letters not made: tried again", slog.String("namespace", ns.name),
			slog.String("queue", to.key), slog.Any("error", err))
	}
	return err == nil
}

// publish adds the dead letter of a message; false when it has no place to go.
func (d *deadLetters) publish(t *Transaction, ns *namespace, to afterlife, dead *shard.Dead) (bool, error) {
	if !to.there {
		return false, nil // the policy is gone
	}
	if to.own && dead.Reason == shard.Expired {
		return true, nil // it has met its end: nobody failed on it
	}
	var m Message
	hint := shard.GetHint(d.ctx, dead.Stream)
	err := d.b.read(d.s, dead.LSN, &hint, &d.record, &m)
	if errors.Is(err, errLost) {
		d.b.missing(&dead.Ref)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	m.HiddenKeys = hiddenKeys(d.record.HiddenKeys)
	letter, err := d.b.deadLetter(&m, to, dead.Queue, dead.Reason, d.record.DeadLetter)
	if err != nil {
		d.b.deps.Log.Error("dead letter not written", slog.String("namespace", ns.name),
			slog.String("queue", dead.Queue), slog.Any("error", err))
		return false, nil
	}
	if t.p, err = d.publisher(ns); err != nil {
		return false, nil //nolint:nilerr // the namespace is gone
	}
	letter.whole = to.strict
	routed, err := t.Publish(letter)
	if err != nil {
		return false, unlessNoPlace(err)
	}
	err = d.b.spilling(letter, slices.Clone(t.moves.spilled), func(letter *Message) ([]spill, error) {
		if _, err := t.Publish(letter); err != nil {
			return nil, unlessNoPlace(err)
		}
		return slices.Clone(t.moves.spilled), nil
	})
	if err != nil {
		return false, errors.Join(err, errHalf)
	}
	return routed || letter.cycled, nil
}

// publisher returns the publisher of a namespace.
func (d *deadLetters) publisher(ns *namespace) (*Publisher, error) {
	if p := d.publishers[ns]; p != nil {
		return p, nil
	}
	if len(d.publishers) >= deadPublishers {
		clear(d.publishers)
	}
	p, err := d.b.NewPublisher(ns.name, nil, nil)
	if err == nil {
		d.publishers[ns] = p
	}
	return p, err
}
