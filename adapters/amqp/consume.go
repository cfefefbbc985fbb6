package amqp

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"math"
	"slices"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// randomName returns the prefix with 22 random characters behind it.
func randomName(prefix string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return prefix + base64.RawURLEncoding.EncodeToString(b[:])
}

func (ch *channel) consume(ctx context.Context, m *wire.BasicConsume) error {
	if m.Queue == replyToQueue {
		return ch.consumeReplies(m)
	}
	queue, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	tag := m.ConsumerTag
	if tag == "" {
		tag = randomName("amq.ctag-")
	}
	args, err := plainTable(m.Arguments)
	if err != nil {
		return err
	}
	priority, err := ch.checkConsumer(tag, queue, args)
	if err != nil {
		return err
	}
	stream, err := ch.streamReading(queue, m, args)
	if err != nil {
		return err
	}
	if ch.limit == nil {
		ch.limit = core.NewLimit(uint32(ch.globalPrefetch))
	}
	limits := []*core.Limit{ch.limit}
	if ch.prefetch > 0 {
		limits = append(limits, core.NewLimit(uint32(ch.prefetch)))
	}
	k := &consumer{
		ch: ch, tag: tag, queue: queue, noAck: m.NoAck, exclusive: m.Exclusive, prefetch: ch.prefetch,
		args: slices.Clone(m.Arguments), stream: stream.is,
	}
	engine, err := ch.broker().Consume(ctx, ch.c.namespace, core.ConsumeSpec{
		Queue:     queue,
		Owner:     ch.c.conn.ID,
		Exclusive: m.Exclusive,
		Priority:  priority,
		NoAck:     m.NoAck,
		Group:     stream.group,
		Start:     stream.start,
		Match:     stream.match,
		Limits:    limits,
		Notify:    k.notify,
		Cancelled: k.cancelled,
	})
	if errors.Is(err, core.ErrInUse) {
		return refuse(codeAccessRefused, "%s in exclusive use", object("queue", queue, ch.c.namespace))
	}
	if err != nil {
		return err
	}
	k.engine, k.settler.engine = engine, engine
	ch.startConsumer(k, m.NoWait)
	return nil
}

// checkConsumer checks what can be refused before the engine is asked, in
// RabbitMQ's order, and returns the consumer's priority.
func (ch *channel) checkConsumer(tag, queue string, args map[string]any) (priority int64, err error) {
	ch.c.out.mu.Lock()
	_, used := ch.consumers[tag]
	count := len(ch.consumers)
	ch.c.out.mu.Unlock()
	if used || ch.replies.has(tag) {
		return 0, refuse(codeNotAllowed, "attempt to reuse consumer tag '%s'", tag)
	}
	if most := ch.c.srv.cfg.MaxConsumers; count >= most {
		return 0, refuse(codeNotAllowed, "number of consumers of channel %d has reached the limit (%d)", ch.id, most)
	}
	if err := ch.c.permit(gateway.Read, "queue", queue); err != nil {
		return 0, err
	}
	if err := ch.checkPrefetch(queue); err != nil {
		return 0, err
	}
	return checkConsumeArguments(args, object("queue", queue, ch.c.namespace))
}

// checkPrefetch refuses a queue that is not there, or not for this connection,
// and a quorum queue behind the prefetch limit of the whole channel: programs
// rely on the refusal to tell whether they may use one.
func (ch *channel) checkPrefetch(queue string) error {
	if _, err := ch.broker().CheckQueue(ch.c.namespace, queue, ch.c.conn.ID); err != nil {
		return err
	}
	if ch.globalPrefetch == 0 {
		return nil
	}
	info, err := ch.broker().Queue(ch.c.namespace, queue)
	if err == nil && info.Args["x-queue-type"] == "quorum" {
		err = refuse(codeNotImplemented, "%s does not support global qos", object("queue", queue, ch.c.namespace))
	}
	return err
}

// startConsumer lets deliveries flow, behind the consume-ok.
func (ch *channel) startConsumer(k *consumer, noWait bool) {
	o := ch.c.out
	o.mu.Lock()
	if ch.consumers == nil {
		ch.consumers = map[string]*consumer{}
	}
	ch.consumers[k.tag] = k
	if !noWait {
		o.waitRoom()
		o.appendMethod(ch.id, &wire.BasicConsumeOK{ConsumerTag: k.tag})
	}
	k.started = true
	o.mu.Unlock()
	if !k.noAck {
		ch.c.watchAcks(&k.settler)
	}
	o.ready.add(k) // what was announced before the start was passed over
}

func (ch *channel) cancel(ctx context.Context, m *wire.BasicCancel) error {
	if ch.replies.has(m.ConsumerTag) {
		ch.stopReplies()
	}
	o := ch.c.out
	o.mu.Lock()
	k := ch.consumers[m.ConsumerTag]
	if k != nil {
		k.stopped = true
		delete(ch.consumers, m.ConsumerTag)
		o.tick()
		o.buf = k.flush(o.open())
	}
	o.mu.Unlock()
	if k != nil {
		if err := k.engine.Cancel(ctx); err != nil {
			return err
		}
	}
	if !m.NoWait {
		ch.reply(&wire.BasicCancelOK{ConsumerTag: m.ConsumerTag})
	}
	return nil
}

func (ch *channel) get(ctx context.Context, m *wire.BasicGet) error {
	queue, err := ch.queueName(m.Queue)
	if err != nil {
		return err
	}
	if err := ch.c.permit(gateway.Read, "queue", queue); err != nil {
		return err
	}
	ch.c.awaitPublishes()
	o := ch.c.out
	o.mu.Lock()
	full := ch.full() && !m.NoAck
	o.mu.Unlock()
	if full {
		return refuse(codeResourceError, "channel %d has %d unacknowledged deliveries", ch.id, ch.c.srv.cfg.MaxUnacked)
	}
	d, getter, left, ok, err := ch.broker().Get(ctx, ch.c.namespace, queue, ch.c.conn.ID, m.NoAck)
	if errors.Is(err, core.ErrUnsupported) {
		return refuse(codeNotImplemented, "basic.get not supported by stream queues %s",
			object("queue", queue, ch.c.namespace))
	}
	if err != nil {
		return err
	}
	if !ok {
		o.mu.Lock()
		ch.counts.gotEmpty++
		o.mu.Unlock()
		ch.reply(&wire.BasicGetEmpty{})
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitRoom()
	ch.counts.gave(m.NoAck, d.Redelivered)
	var s *settler
	if !m.NoAck {
		s = &settler{engine: getter}
		o.tick()
		ch.c.watchAcks(s)
	}
	e := ch.c.envelope(&d.Message)
	if d.Returns > 0 {
		e.properties = ch.c.stamp(e.properties, headerReturns, uint64(d.Returns))
	}
	o.appendMethod(ch.id, &wire.BasicGetOK{
		DeliveryTag:  ch.track(s, d.Position),
		Redelivered:  d.Redelivered,
		Exchange:     d.Message.Exchange,
		RoutingKey:   e.key,
		MessageCount: clampCount(left),
	})
	o.buf = wire.AppendContent(o.open(), ch.id, ch.c.limits.frameMax, e.properties, d.Message.Payload)
	return nil
}

// clampCount fits a count into the 32 bits that it has in answers.
func clampCount(n uint64) uint32 { return uint32(min(n, math.MaxUint32)) }
