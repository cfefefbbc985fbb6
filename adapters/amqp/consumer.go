package amqp

import (
	"log/slog"
	"sync/atomic"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// turnSize is how many deliveries a consumer may take in one turn.
const turnSize = 64

// consumer is a consumer of a channel: the feed of its deliveries.
type consumer struct {
	ch     *channel
	tag    string
	queue  string
	noAck  bool
	stream bool // of a stream queue: deliveries tell their offset
	queued atomic.Bool
	// For those who look after the broker:
	exclusive bool
	prefetch  uint16
	args      wire.Table
	// gone is set by the engine when the queue was deleted.
	gone atomic.Bool

	engine  *core.Consumer // set before started
	settler settler

	// Guarded by the output's lock:
	started bool            // consume-ok was appended
	stopped bool            // cancelled, by either side
	left    []core.Delivery // taken from the engine and not yet sent: the buffer was full
	method  wire.BasicDeliver
}

func (k *consumer) announced() *atomic.Bool { return &k.queued }

// notify and cancelled are called by the engine.
func (k *consumer) notify() { k.ch.c.out.ready.add(k) }

func (k *consumer) cancelled() {
	k.gone.Store(true)
	k.notify()
}

// fill appends deliveries. What did not fit is kept for the next turn; nothing
// else keeps references to what the engine handed out.
func (k *consumer) fill(buf []byte, limit int) (out []byte, more bool) {
	if !k.started || k.stopped {
		return buf, false
	}
	if k.gone.Load() {
		return k.end(buf), false
	}
	if k.ch.c.out.quiet {
		return buf, false
	}
	if len(k.left) > 0 {
		n := 0
		for n < len(k.left) && len(buf) < limit {
			buf = k.appendDelivery(buf, &k.left[n])
			n++
		}
		clear(k.left[:n])
		if k.left = k.left[n:]; len(k.left) > 0 {
			return buf, true
		}
		k.left = nil
	}
	if k.ch.full() {
		return buf, false // an acknowledgement announces the consumer again
	}
	o := k.ch.c.out
	batch, err := k.engine.Next(o.batch[:0], turnSize)
	if err != nil {
		return k.fail(buf, batch, err), false
	}
	if len(batch) == 0 {
		return buf, false
	}
	n := 0
	for n < len(batch) && (len(buf) < limit || n == 0) {
		buf = k.appendDelivery(buf, &batch[n])
		n++
	}
	k.left = append(k.left, batch[n:]...)
	clear(batch)
	o.batch = batch
	return buf, n < len(batch) || len(batch) == turnSize
}

// fail sends what came with an error of the engine, and ends the connection: a
// consumer that went on in silence would never get the rest. The output's lock
// is held.
func (k *consumer) fail(buf []byte, batch []core.Delivery, err error) []byte {
	c := k.ch.c
	c.log.Error("message not delivered", slog.String("queue", k.queue), slog.Any("error", err))
	k.stopped = true
	for i := range batch {
		buf = k.appendDelivery(buf, &batch[i])
	}
	clear(batch)
	c.out.batch = batch
	if c.halt(replyTo(err)) {
		c.out.waitNoMore()
	}
	return buf
}

// appendDelivery appends basic.deliver with its content.
func (k *consumer) appendDelivery(buf []byte, d *core.Delivery) []byte {
	ch := k.ch
	var settled *settler
	if !k.noAck {
		settled = &k.settler
	}
	e := ch.c.envelope(&d.Message)
	switch {
	case k.stream:
		e.properties = ch.c.stamp(e.properties, headerOffset, uint64(d.Position.Offset))
	case d.Returns > 0:
		e.properties = ch.c.stamp(e.properties, headerReturns, uint64(d.Returns))
	}
	ch.counts.sent(k.noAck, d.Redelivered)
	k.method.ConsumerTag = k.tag
	k.method.DeliveryTag = ch.track(settled, d.Position)
	k.method.Redelivered = d.Redelivered
	k.method.Exchange, k.method.RoutingKey = d.Message.Exchange, e.key
	buf = k.method.Append(buf, ch.id)
	return wire.AppendContent(buf, ch.id, ch.c.limits.frameMax, e.properties, d.Message.Payload)
}

// track gives a delivery its tag, and keeps it until it is settled unless
// there is nothing to settle. The output's lock is held.
func (ch *channel) track(s *settler, pos core.Position) uint64 {
	ch.lastTag++
	if s != nil {
		ch.unacked.add(unackedDelivery{tag: ch.lastTag, settler: s, pos: pos, at: ch.c.out.elapsed})
	}
	return ch.lastTag
}

// end drops the consumer after its queue was deleted, and tells the client if
// it understands that.
func (k *consumer) end(buf []byte) []byte {
	k.stopped = true
	k.left = nil
	delete(k.ch.consumers, k.tag)
	if !k.ch.c.client.cancelNotify {
		return buf
	}
	return wire.AppendMethod(buf, k.ch.id, &wire.BasicCancel{ConsumerTag: k.tag, NoWait: true})
}

// flush appends what was taken from the engine, however full the buffer is:
// after it the consumer gets nothing more. The output's lock is held.
func (k *consumer) flush(buf []byte) []byte {
	for i := range k.left {
		buf = k.appendDelivery(buf, &k.left[i])
	}
	k.left = nil
	return buf
}

// returnPending gives back what was taken from the engine and never sent.
// The consumer is stopped.
func (k *consumer) returnPending() {
	if !k.noAck {
		for i := range k.left {
			k.ch.c.settlements.add(core.Requeue, unackedDelivery{settler: &k.settler, pos: k.left[i].Position})
		}
	}
	k.left = nil
}
