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
	"github.com/tidegate/tidegate/core/schedule"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
)

const (
	// dueAtOnce is how many held messages are delivered together at the most, and
	// dueBytes how many bytes of those that go to other shards, or one message.
	dueAtOnce = 1024
	dueBytes  = 1 << 20
	// dueLook is how often the clock is looked at while messages are held: it may have
	// been set, which no timer tells.
	dueLook = time.Second
	// duePublishers bounds the namespaces that a publisher is kept of.
	duePublishers = 64
)

// deliveries delivers the held messages of one shard when they are due: each change ends
// some, and has them where they are routed to now. Its loop alone uses it.
type deliveries struct {
	b          *Broker
	s          *shard.Shard
	home       uint32          // number of s
	ctx        context.Context //nolint:containedctx // of the loop
	timer      *clock.Timer
	publishers map[string]*Publisher
	hint       shard.Hint
	record     record.Message
	taken      []schedule.Entry
	// homeless are messages that are due and whose namespace, or exchange, the metadata
	// does not know: they stay held, by what they wait for.
	homeless map[needed][]schedule.Entry
	failed   bool
}

// needed is what a message needs when it is due.
type needed struct{ namespace, exchange string }

// deliverHeld is the loop that delivers what a shard holds.
func (b *Broker) deliverHeld(ctx context.Context, home int) work.Loop {
	d := &deliveries{
		b: b, s: b.shards[home], home: uint32(home), ctx: ctx, timer: b.deps.Clock.NewTimer(0),
		publishers: map[string]*Publisher{}, homeless: map[needed][]schedule.Entry{}, hint: shard.GetHint(ctx, record.StreamID(home)),
	}
	return work.Loop{Name: "held messages", Turn: d.turn}
}

// turn delivers what is due, or waits for that.
func (d *deliveries) turn(wait bool) work.State {
	if d.ctx.Err() != nil || d.failed {
		d.timer.Stop()
		return work.Ended
	}
	if wait {
		select {
		case <-d.ctx.Done():
			return work.Worked
		case <-d.timer.C:
		case <-d.s.Due():
		}
	} else if !work.Took(d.timer.C) && !work.Took(d.s.Due()) {
		return work.Idle
	}
	d.round()
	return work.Worked
}

// round delivers all that is due, part by part.
func (d *deliveries) round() {
	d.retry()
	for d.ctx.Err() == nil && !d.failed {
		var next int64
		var ok bool
		var err error
		d.taken, next, ok, err = d.s.TakeDue(d.taken[:0], d.b.deps.Clock.Now().UnixMilli(), dueAtOnce)
		if err == nil && len(d.taken) == 0 {
			d.hint.Reset()
			d.arm(next, ok)
			return
		}
		if err == nil {
			err = d.deliver(d.taken)
		}
		if err != nil {
			d.trouble(err)
			return
		}
	}
}

// arm has the next round come when something is due, or the clock is to be looked at.
func (d *deliveries) arm(next int64, ok bool) {
	switch {
	case !ok && len(d.homeless) > 0:
		d.timer.Reset(dueLook)
		return
	case !ok:
		d.timer.Stop()
		return
	}
	d.timer.Reset(min(dueLook, max(0, time.UnixMilli(next).Sub(d.b.deps.Clock.Now()))))
}

// retry puts back what may have a place again.
func (d *deliveries) retry() {
	for of, entries := range d.homeless {
		if _, known := d.b.known(of); known {
			delete(d.homeless, of)
			d.s.ReturnDue(entries)
		}
	}
}

// known tells whether there is what a message needs, and whether that can be told at all:
// metadata that came back from an old copy, or is away, may know of it later.
func (b *Broker) known(of needed) (sure, known bool) {
	ns, err := b.namespace(of.namespace)
	if err != nil {
		return false, false // a namespace that is deleted takes along what it holds
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	_, known = ns.table.Exchange(of.exchange)
	return b.deps.Catalog.Status().Connected, known
}

// trouble has the next round come in a moment, unless a shard has failed: then the next
// start delivers what is due.
func (d *deliveries) trouble(err error) {
	d.failed = d.failed || d.s.Err() != nil
	switch {
	case d.ctx.Err() != nil:
	case d.failed:
		d.b.deps.Log.Error("held messages not delivered any more", slog.Any("error", err))
	default:
		d.timer.Reset(dueLook)
		if !errors.Is(err, ErrPressure) {
			d.b.deps.Log.Error("held messages not delivered: tried again", slog.Any("error", err))
		}
	}
}

// deliver delivers what was taken. With an error the rest of it is held on.
func (d *deliveries) deliver(taken []schedule.Entry) error {
	for len(taken) > 0 {
		n, err := d.some(taken)
		taken = taken[n:]
		if errors.Is(err, shard.ErrEnded) || n > 0 && errors.Is(err, shard.ErrReserved) {
			err = nil // one was given up: without it, then
			if n == 0 {
				d.s.ReturnDue(taken)
				return nil
			}
		}
		if err != nil {
			d.s.ReturnDue(taken)
			return err
		}
	}
	return nil
}

// some delivers the first of what was taken, and returns how many those were.
func (d *deliveries) some(taken []schedule.Entry) (n int, err error) {
	t := &Transaction{
		p: &Publisher{b: d.b}, parts: make([]part, len(d.b.shards)), limit: math.MaxInt, moves: newMoves(d.b),
	}
	defer t.moves.release()
	for n < len(taken) && t.size < dueBytes {
		if err = d.add(t, taken[n]); err != nil {
			break
		}
		n++
	}
	if errors.Is(err, errHalf) {
		d.failed = true // what is in the transaction must not be committed
		return 0, err
	}
	if n == 0 {
		return 0, err
	}
	_, e := t.commit()
	switch {
	case errors.Is(e, shard.ErrEnded):
		return 0, e
	case e != nil:
		d.failed = true // it is not known what happened: the next start finds out
		return 0, d.b.storageError(e)
	}
	d.b.counters.fired.Add(uint64(n))
	d.b.counters.unroutable.Add(t.nowhere)
	for _, do := range t.later {
		do()
	}
	return n, err
}

// add adds the delivery of one message.
func (d *deliveries) add(t *Transaction, e schedule.Entry) error {
	r := &d.record
	_, err := d.s.Record(e.LSN, &d.hint, r)
	if errors.Is(err, shard.ErrNotFound) {
		d.b.missing(&shard.Ref{LSN: e.LSN}) // its loss was accepted: nobody knows whose it was
		return nil
	}
	if err != nil && !waits(d.b.storageError(err)) {
		// It stays held: others are not to suffer, and the next start tries again.
		d.b.deps.Log.Error("held message can't be read when it is due", slog.Uint64("lsn", uint64(e.LSN)), slog.Any("error", err))
		return nil
	}
	if err != nil {
		return d.b.storageError(err)
	}
	m := Message{
		Format: r.Format, Exchange: r.Exchange, Key: r.Key, Properties: r.Properties, Payload: r.Payload,
		QoS: r.QoS, Retain: r.Retain, ExpireAt: r.ExpireAt, HiddenKeys: hiddenKeys(r.HiddenKeys),
		MoreKeys: hiddenKeys(r.FurtherKeys), Schedule: r.Schedule,
	}
	if t.p, err = d.publisher(string(r.Namespace)); err == nil {
		err = t.fire(&m, r, e, d.home)
	}
	if of := (needed{string(r.Namespace), string(r.Exchange)}); errors.Is(err, ErrNotFound) {
		if sure, known := d.b.known(of); !sure || known {
			d.keep(of, e)
			return nil
		}
	}
	if err != nil && !waits(err) {
		d.b.deps.Log.Warn("held message is dropped when it is due: it can't be published",
			slog.String("namespace", string(r.Namespace)), slog.String("exchange", string(r.Exchange)), slog.Any("error", err))
		t.nowhere++
		t.endHeld(d.home, e, &record.Message{Namespace: r.Namespace, DeliverAt: e.Due, Schedule: r.Schedule})
		return nil
	}
	return err
}

// keep has a message wait for what it needs.
func (d *deliveries) keep(of needed, e schedule.Entry) {
	if len(d.homeless[of]) == 0 {
		d.b.deps.Log.Warn("held messages are due and kept: their namespace or exchange is not known",
			slog.String("namespace", of.namespace), slog.String("exchange", of.exchange))
	}
	d.homeless[of] = append(d.homeless[of], e)
}

// waits tells of an error that is not the message's: it may be delivered later.
func waits(err error) bool {
	for _, of := range []error{ErrPressure, ErrStorage, ErrClosed, errHalf, shard.ErrReserved, shard.ErrLeft} {
		if errors.Is(err, of) {
			return true
		}
	}
	return false
}

// publisher returns the publisher of a namespace.
func (d *deliveries) publisher(namespace string) (*Publisher, error) {
	ns, err := d.b.namespace(namespace)
	if err != nil {
		return &Publisher{b: d.b}, err
	}
	if p := d.publishers[namespace]; p != nil && p.ns == ns {
		return p, nil
	}
	if len(d.publishers) >= duePublishers {
		clear(d.publishers)
	}
	p, err := d.b.NewPublisher(namespace, nil, nil)
	if err != nil {
		return &Publisher{b: d.b}, err
	}
	d.publishers[namespace] = p
	return p, nil
}

// endHeld adds that a message has been due and went nowhere.
func (t *Transaction) endHeld(home uint32, e schedule.Entry, m *record.Message) {
	c := &t.parts[home].change
	c.Fires = append(c.Fires, shard.Firing{
		Entry: e, Body: record.AppendFire(nil, &record.Fire{Body: e.LSN, Message: *m}),
	})
}

// fire adds that a message of a shard is due: where it is routed to now it is from the
// commit on. In its own shard that takes a reference, in others a copy.
func (t *Transaction) fire(m *Message, r *record.Message, e schedule.Entry, home uint32) error {
	p := t.p
	inbox := p.inbox(m)
	pl, err := p.route(m)
	if err != nil {
		return err
	}
	parts, live := pl.stored, pl.live1
	if m.QoS == 0 {
		parts, live = pl.queued, pl.live0
	}
	if (len(parts) > 0 || m.Retain) && !p.b.pressure.admits(t.fireSize(m, parts, home)) {
		return ErrPressure
	}
	if len(parts) > 0 && pl.highest > 0 {
		if pl, parts, err = p.prioritised(pl, m); err != nil {
			return err
		}
	}
	routed := len(parts)+len(live) > 0 || inbox != nil
	if parts, err = t.moves.sift(m, parts); err != nil {
		return err
	}
	spilled := slices.Clone(t.moves.spilled)
	if err := t.grow(t.fireSize(m, parts, home)); err != nil {
		return err
	}
	t.count++
	if !routed {
		t.nowhere++
	}
	t.addFire(m, pl, parts, r, e, home)
	if len(live) > 0 || inbox != nil {
		t.deliver(m, inbox, live)
	}
	err = p.b.spilling(m, spilled, func(letter *Message) ([]spill, error) {
		if _, err := t.Publish(letter); err != nil {
			return nil, unlessNoPlace(err)
		}
		return slices.Clone(t.moves.spilled), nil
	})
	if err != nil {
		return errors.Join(err, errHalf)
	}
	return nil
}

// fireSize is what a message takes in the log when it is due.
func (t *Transaction) fireSize(m *Message, parts []planPart, home uint32) int {
	size := recordOverhead + len(m.Key) + len(m.Exchange)
	for i := range parts {
		if parts[i].shard != home {
			size += messageSize(m)
		}
	}
	return size
}

// addFire adds the records of a message that is due to the parts of its shards.
func (t *Transaction) addFire(
	m *Message, pl *plan, parts []planPart, held *record.Message, e schedule.Entry, home uint32,
) {
	p := t.p
	p.fill(m, pl)
	r := &p.record
	if pl.noLocal {
		r.Origin = held.Origin
	}
	here, retained := planPart{}, m.Retain
	for i := range parts {
		to := &parts[i]
		if to.shard == home {
			here = *to
			continue
		}
		r.Streams, r.Retain, r.Deadlines = to.streams, m.Retain && to.shard == pl.home, nil
		retained = retained && !r.Retain
		t.add(to.shard, to.ttls, true)
		t.parts[to.shard].refuses = t.parts[to.shard].refuses || to.refuses
	}
	if retained && pl.home != home { // no stream lies where the retained value does
		r.Streams, r.Retain = nil, true
		t.add(pl.home, nil, true)
	}
	r.Streams, r.Retain, r.Deadlines = here.streams, m.Retain && pl.home == home, p.deadlines(here.ttls, m.ExpireAt)
	r.DeliverAt, r.Schedule = e.Due, held.Schedule
	r.HiddenKeys = nil // stay with the body
	t.endHeld(home, e, r)
	r.DeliverAt, r.Schedule, r.Deadlines = 0, nil, nil
}
