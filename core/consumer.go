package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// Limit is a prefetch limit that consumers share: how many unsettled
// deliveries they may hold together. A limit of 0 is none.
type Limit = queue.Limit

// NewLimit makes a limit of n unsettled deliveries. After Set, call Kick on
// the consumers that it counts.
func NewLimit(n uint32) *Limit { return queue.NewLimit(n) }

// receiver is a consumer of a shard: of a queue, or of a stream queue.
type receiver interface {
	Hint() shard.Hint
	Fetch(dst []shard.Ref, n int) ([]shard.Ref, error)
	Settle(offsets []record.Offset, giveBack bool) (n int)
	Unfetch(refs []shard.Ref)
	Kick()
	Active() bool
	Remove() (left int)
	Reject(offsets []record.Offset, why shard.Reason) (n int)
	shard.Settler
}

// Consumer receives from one queue.
type Consumer struct {
	b         *Broker
	ns        *namespace
	q         *declared
	c         receiver
	stream    *shard.GroupConsumer // c, on a stream queue; else nil
	s         *shard.Shard
	spec      ConsumeSpec
	refs      []shard.Ref
	offsets   []record.Offset
	over      []record.Offset // likewise, of what has expired
	hint      shard.Hint
	record    record.Message
	cancelled bool
}

// Consume attaches a consumer. ErrNotFound, ErrLocked; ErrInUse when there is
// an exclusive consumer, or another one and this is to be exclusive, or when it
// is to be exclusive on a queue with a single active consumer.
// On a stream queue it may wait for the log, for a group that is new; ErrInvalid
// when a group, a start or a filter is named and the queue is none.
func (b *Broker) Consume(ctx context.Context, namespace string, spec ConsumeSpec) (*Consumer, error) {
	ns, q, err := b.queue(namespace, spec.Queue, spec.Owner)
	if err != nil {
		return nil, err
	}
	if q.kept != nil {
		return b.consumeStream(ctx, ns, q, spec)
	}
	if spec.Group != "" || spec.Start != (Start{}) || spec.Match != nil {
		return nil, &Error{
			Reason: ErrInvalid, Kind: "queue", Name: spec.Queue, Namespace: namespace, Detail: "it is no stream queue",
		}
	}
	s := b.shards[q.shard]
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if q.deleted {
		return nil, ns.notFound("queue", spec.Queue)
	}
	st, err := s.QueueStats(q.stream)
	if err != nil {
		return nil, ns.notFound("queue", spec.Queue)
	}
	spec.Exclusive = spec.Exclusive && q.spec.queueType() != quorumQueue
	if q.exclusive || spec.Exclusive && (st.Consumers > 0 || q.sharing != queue.Shared) {
		return nil, &Error{Reason: ErrInUse, Kind: "queue", Name: spec.Queue, Namespace: namespace}
	}
	c := &Consumer{b: b, ns: ns, q: q, s: s, spec: spec}
	cancelled := spec.Cancelled
	if cancelled == nil {
		cancelled = func() {}
	}
	if c.c, err = s.Consume(q.stream, spec.Limits, spec.Priority, spec.Notify, cancelled); err != nil {
		return nil, ns.notFound("queue", spec.Queue)
	}
	c.hint = c.c.Hint()
	q.exclusive = spec.Exclusive
	b.counters.consumers.Add(1)
	return c, nil
}

// maxPassed is about how many messages that a consumer's filter does not match one call
// of Next passes over.
const maxPassed = 256

// Next appends up to limit deliveries to dst, without blocking. When it returns fewer,
// Notify is called when there may be more: with a filter perhaps before it returns. An error
// means that a message could not be read: it is the next one still, and what is
// returned with the error is good.
func (c *Consumer) Next(dst []Delivery, limit int) ([]Delivery, error) {
	now := c.b.deps.Clock.Now().UnixMilli()
	first, passed := len(dst), 0
	for len(dst)-first < limit {
		if passed >= maxPassed { // the caller has others to serve
			c.spec.Notify()
			break
		}
		var err error
		if c.refs, err = c.c.Fetch(c.refs[:0], limit-(len(dst)-first)); err != nil {
			return dst, c.b.storageError(err)
		}
		if len(c.refs) == 0 {
			if len(dst) == first {
				c.hint.Reset()
			}
			break
		}
		c.offsets, c.over = c.offsets[:0], c.over[:0]
		for i := range c.refs {
			ref := &c.refs[i]
			d := Delivery{Position: position(ref, c.q.shard), Redelivered: ref.Redelivered, Returns: ref.Returns}
			err := c.b.read(c.s, ref.LSN, &c.hint, &c.record, &d.Message)
			truncated := err != nil && c.stream != nil && c.stream.Truncated(ref.Offset)
			if err != nil && !truncated && !errors.Is(err, errLost) {
				c.done()
				c.c.Unfetch(c.refs[i:])
				if errors.Is(err, shard.ErrLeft) {
					return dst, nil // cancelled meanwhile
				}
				return dst, err
			}
			if err != nil && !truncated {
				c.b.missing(ref)
			}
			if err != nil {
				c.offsets = append(c.offsets, ref.Offset)
				continue
			}
			if c.stream == nil && d.Message.expired(now) {
				c.over = append(c.over, ref.Offset)
				continue
			}
			dst = append(dst, d)
			if c.spec.Match != nil && !c.spec.Match(&dst[len(dst)-1].Message) { // d stays on the stack
				dst[len(dst)-1] = Delivery{}
				dst = dst[:len(dst)-1]
				c.offsets = append(c.offsets, ref.Offset)
				passed++
				continue
			}
			if c.spec.NoAck {
				c.offsets = append(c.offsets, ref.Offset)
			}
		}
		c.done()
	}
	c.b.counters.delivered.Add(uint64(len(dst) - first))
	c.ns.delivers(c.q, dst[first:], c.spec.NoAck, now)
	return dst, nil
}

// done settles what needs no ack: the expired, and everything without acks.
func (c *Consumer) done() {
	if len(c.offsets) > 0 {
		c.c.Settle(c.offsets, false)
	}
	if len(c.over) > 0 {
		c.c.Reject(c.over, shard.Expired)
	}
}

// gaveUp turns the error of who did not want to wait any longer into the reason.
func gaveUp(ctx context.Context, err error) error {
	if errors.Is(err, shard.ErrLeft) && ctx.Err() != nil {
		return fmt.Errorf("read a message: %w", context.Cause(ctx))
	}
	return err
}

func position(ref *shard.Ref, shard uint32) Position {
	return Position{Stream: ref.Stream, Offset: ref.Offset, LSN: ref.LSN, Shard: shard}
}

// errLost tells that the log has not got a message: that a stream refers to it
// means that its loss was accepted. The reference is settled as if the message
// had expired.
var errLost = errors.New("message lost")

// read fills m from the log. Its slices are shared with other readers.
func (b *Broker) read(s *shard.Shard, lsn LSN, h *shard.Hint, r *record.Message, m *Message) error {
	at, err := s.Record(lsn, h, r)
	return b.asRead(at, err, r, m)
}

// asRead makes a message of the record that was read.
func (b *Broker) asRead(at int64, err error, r *record.Message, m *Message) error {
	if errors.Is(err, shard.ErrNotFound) {
		return errLost
	}
	if err != nil {
		return b.storageError(err)
	}
	*m = Message{
		Format: r.Format, Exchange: r.Exchange, Key: r.Key, Properties: r.Properties, Payload: r.Payload,
		QoS: r.QoS, Retain: r.Retain, Time: at, ExpireAt: r.ExpireAt, Once: r.Once,
	}
	return nil
}

// missing counts a message that a stream refers to and the log has not got, and
// tells of it: each time, their number has doubled.
func (b *Broker) missing(ref *shard.Ref) {
	if n := b.counters.missing.Add(1); n&(n-1) == 0 {
		b.deps.Log.Error("message is not in the log: passed over", slog.Uint64("so_far", n),
			slog.Uint64("lsn", uint64(ref.LSN)), slog.Uint64("stream", uint64(ref.Stream)))
	}
}

// Settle settles deliveries of this consumer. It is safe from any goroutine,
// works after Cancel, and ignores positions already settled. Deliveries of a
// NoAck consumer are settled already.
func (c *Consumer) Settle(outcome Outcome, positions ...Position) {
	var room [64]record.Offset
	offsets := room[:0]
	for i := range positions {
		offsets = append(offsets, positions[i].Offset)
	}
	acked := outcome == Ack
	if c.stream != nil && c.spec.Group == "" {
		outcome = Ack // a reader for itself gets each message once
	}
	if outcome == Discard && c.q.buries.Load() {
		c.c.Reject(offsets, shard.Rejected) // is settled when it has moved
		return
	}
	n := c.c.Settle(offsets, outcome == Requeue)
	if outcome != Requeue {
		c.b.counters.settled.Add(uint64(n))
	}
	if acked {
		c.ns.acks(c.q, uint64(n))
	}
}

// AckTimeout is how long the queue lets deliveries be unacknowledged, 0 for ever;
// false when it does not say. It may change with policies. The engine keeps the
// time to itself: who holds deliveries for a client gives them back.
func (c *Consumer) AckTimeout() (time.Duration, bool) { return c.q.ackLimit() }

// AckTimeout is that of [Consumer.AckTimeout].
func (g *Getter) AckTimeout() (time.Duration, bool) { return g.q.ackLimit() }

func (q *declared) ackLimit() (time.Duration, bool) {
	d := time.Duration(q.ackTimeout.Load())
	return d, d != noAckTimeout
}

// Active tells whether the consumer is one that gets messages: on a queue with a
// single active consumer only one is, the others wait.
func (c *Consumer) Active() bool { return c.c.Active() }

// Kick looks for deliveries again after a Limit grew or was freed by another consumer.
func (c *Consumer) Kick() { c.c.Kick() }

// Cancel stops deliveries; those handed out by Next stay unsettled, those not
// yet handed out go back. It deletes an auto-delete queue with its last consumer.
func (c *Consumer) Cancel(ctx context.Context) error {
	c.ns.mu.Lock()
	if c.cancelled {
		c.ns.mu.Unlock()
		return nil
	}
	c.cancelled = true
	c.b.counters.consumers.Add(-1)
	left := c.c.Remove()
	c.b.leases.renew(c.q)
	if c.spec.Exclusive {
		c.q.exclusive = false
	}
	drop := left == 0 && c.q.spec.AutoDelete && !c.q.deleted
	c.ns.mu.Unlock()
	if !drop {
		return nil
	}
	return c.b.deleteQueue(ctx, c.ns, c.q)
}

// Getter settles what Get took; same rules as [Consumer.Settle].
type Getter struct {
	s  *shard.Shard
	b  *Broker
	ns *namespace
	q  *declared
}

// Get takes one message from a queue without a consumer. ok is false when the
// queue is empty; ready is what is left. It may wait for the log, for the
// first message after a pause. ErrNotFound, ErrLocked; the latter with the
// argument when the queue has a single active consumer. ErrUnsupported for a
// stream queue.
func (b *Broker) Get(
	ctx context.Context, namespace, name, owner string, noAck bool,
) (d Delivery, g *Getter, ready uint64, ok bool, err error) {
	ns, q, err := b.queue(namespace, name, owner)
	if err != nil {
		return Delivery{}, nil, 0, false, err
	}
	if q.kept != nil {
		return Delivery{}, nil, 0, false, ns.notOnStreams("get", name)
	}
	if q.sharing != queue.Shared {
		return Delivery{}, nil, 0, false, &Error{
			Reason: ErrLocked, Kind: "queue", Name: name, Namespace: namespace,
			Arg: argSingleActive, Current: "true", Detail: q.spec.queueType(),
		}
	}
	b.leases.renew(q)
	s := b.shards[q.shard]
	for {
		ref, left, some, err := s.Get(ctx, q.stream)
		if errors.Is(err, shard.ErrNotFound) {
			return Delivery{}, nil, 0, false, ns.notFound("queue", name)
		}
		if err != nil {
			return Delivery{}, nil, 0, false, b.storageError(err)
		}
		if !some {
			ns.givesNone(q)
			return Delivery{}, nil, 0, false, nil
		}
		d = Delivery{Position: position(&ref, q.shard), Redelivered: ref.Redelivered, Returns: ref.Returns}
		h := shard.GetHint(ctx, q.stream)
		var r record.Message
		err = b.read(s, ref.LSN, &h, &r, &d.Message)
		if err != nil && !errors.Is(err, errLost) {
			s.Untake(&ref)
			return Delivery{}, nil, 0, false, gaveUp(ctx, err)
		}
		if err != nil {
			b.missing(&ref)
		}
		now := b.deps.Clock.Now().UnixMilli()
		expired := err == nil && d.Message.expired(now)
		switch {
		case expired:
			s.RejectTaken(q.stream, []record.Offset{ref.Offset}, shard.Expired)
		case err != nil || noAck:
			s.SettleTaken(q.stream, []record.Offset{ref.Offset}, false)
		}
		if expired || err != nil {
			continue
		}
		b.counters.delivered.Add(1)
		ns.gives(q, &d, noAck, now)
		return d, &Getter{s, b, ns, q}, left, true, nil
	}
}

// Settle settles deliveries taken by Get.
func (g *Getter) Settle(outcome Outcome, positions ...Position) {
	for i := range positions {
		if outcome == Discard && g.q.buries.Load() {
			g.s.RejectTaken(g.q.stream, []record.Offset{positions[i].Offset}, shard.Rejected)
			continue
		}
		n := g.s.SettleTaken(g.q.stream, []record.Offset{positions[i].Offset}, outcome == Requeue)
		if outcome != Requeue {
			g.b.counters.settled.Add(uint64(n))
		}
		if outcome == Ack {
			g.ns.acks(g.q, uint64(n))
		}
	}
}
