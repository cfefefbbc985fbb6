package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// channel is one channel of a connection. Its fields belong to the reader,
// but for those guarded by the output's lock, which the writer uses too.
type channel struct {
	id uint16
	c  *connection

	closing   bool   // channel.close was sent, its answer is awaited
	held      bool   // its publish is held, see blockade
	lastQueue string // the queue that an empty name means
	content   content
	message   core.Message // reused for each publish
	publisher *publisher   // nil until the first publish or confirm.select
	replies   *replies     // of direct reply-to; nil without
	rewritten []byte       // properties that the server changed
	tx        *transaction // nil before tx.select

	prefetch       uint16      // for consumers started from now on; changed under c.out.mu
	globalPrefetch uint16      // changed under c.out.mu
	limit          *core.Limit // shared by all consumers of the channel
	taken          []unackedDelivery
	counts         counts

	// Guarded by c.out.mu:
	consumers map[string]*consumer
	unacked   unacked
	lastTag   uint64
	confirmer *publisher // the one of confirm.select; nil without
	shown     *publisher // publisher, for those who look after the broker
	inTx      *txCounts  // nil before tx.select
}

func newChannel(c *connection, id uint16) *channel {
	return &channel{id: id, c: c}
}

func channelLimitText(opened int, limit uint16) string {
	return fmt.Sprintf("number of channels opened (%d) has reached the negotiated channel_max (%d)", opened, limit)
}

func (ch *channel) broker() *core.Broker { return ch.c.srv.broker }

func (ch *channel) reply(m wire.Method) { ch.c.out.reply(ch.id, m) }

// frame does what a frame asks for. It returns the method that the frame
// belongs to, for the error.
func (ch *channel) frame(ctx context.Context, f wire.Frame) (wire.MethodID, error) {
	switch f.Type {
	case wire.FrameHeader:
		if err := ch.content.header(f.Payload, ch.broker().MaxMessageSize()); err != nil {
			return wire.IDBasicPublish, err
		}
	case wire.FrameBody:
		if err := ch.content.body(f.Payload); err != nil {
			return wire.IDBasicPublish, err
		}
	default:
		return ch.methodFrame(ctx, f.Payload)
	}
	if !ch.content.complete() {
		return wire.IDBasicPublish, nil
	}
	return wire.IDBasicPublish, ch.completed()
}

// completed takes the complete content, or holds it while disk or memory is low.
func (ch *channel) completed() error {
	err := ch.publish()
	if errors.Is(err, core.ErrPressure) {
		ch.c.block(ch)
		return nil
	}
	ch.content.reset()
	return err
}

// methodFrame does what a method asks for. Those that come with every message
// take a way that allocates nothing.
func (ch *channel) methodFrame(ctx context.Context, payload []byte) (wire.MethodID, error) {
	id, args, err := wire.SplitMethod(payload)
	if err != nil {
		return id, malformed(id, err)
	}
	if ch.content.expected() {
		return id, refuse(codeUnexpectedFrame, "method %v while content of basic.publish is expected", id)
	}
	switch id {
	case wire.IDBasicPublish:
		var m wire.BasicPublish
		if err := m.Parse(args); err != nil {
			return id, malformed(id, err)
		}
		ch.content.begin(&m)
		return id, nil
	case wire.IDBasicAck, wire.IDBasicNack, wire.IDBasicReject:
		s, err := wire.ParseSettlement(id, args)
		if err != nil {
			return id, malformed(id, err)
		}
		outcome := core.Ack
		if id != wire.IDBasicAck {
			outcome = core.Discard
			if s.Requeue {
				outcome = core.Requeue
			}
		}
		if ch.tx != nil {
			return id, ch.acknowledgeInTx(s.Tag, s.Multiple, outcome)
		}
		return id, ch.acknowledge(s.Tag, s.Multiple, outcome)
	default:
		m, err := wire.ParseMethod(id, args)
		if err != nil {
			return id, malformed(id, err)
		}
		ch.c.settle() // what follows sees the acknowledgements before it
		return id, ch.method(ctx, m)
	}
}

func (ch *channel) method(ctx context.Context, m wire.Method) error {
	switch m := m.(type) {
	case *wire.ChannelOpen:
		return refuse(codeChannelError, "second 'channel.open' seen")
	case *wire.ChannelClose:
		ch.await() // whoever knows of the close finds the messages
		ch.release(ctx)
		ch.c.dropChannel(ch.id)
		ch.reply(&wire.ChannelCloseOK{})
		return nil
	case *wire.ChannelFlow:
		if !m.Active {
			return refuse(codeNotImplemented, "active=false")
		}
		ch.reply(&wire.ChannelFlowOK{Active: true})
		return nil
	case *wire.ChannelFlowOK, *wire.ChannelCloseOK, *wire.BasicCancelOK:
		return nil
	case *wire.AccessRequest:
		ch.reply(&wire.AccessRequestOK{Ticket: 1})
		return nil
	case *wire.ExchangeDeclare:
		return ch.exchangeDeclare(ctx, m)
	case *wire.ExchangeDelete:
		return ch.exchangeDelete(ctx, m)
	case *wire.ExchangeBind:
		return ch.exchangeBind(ctx, m)
	case *wire.ExchangeUnbind:
		return ch.exchangeUnbind(ctx, m)
	case *wire.QueueDeclare:
		return ch.queueDeclare(ctx, m)
	case *wire.QueueDelete:
		return ch.queueDelete(ctx, m)
	case *wire.QueuePurge:
		return ch.queuePurge(ctx, m)
	case *wire.QueueBind:
		return ch.queueBind(ctx, m)
	case *wire.QueueUnbind:
		return ch.queueUnbind(ctx, m)
	case *wire.BasicQos:
		return ch.qos(m)
	case *wire.BasicConsume:
		return ch.consume(ctx, m)
	case *wire.BasicCancel:
		return ch.cancel(ctx, m)
	case *wire.BasicGet:
		return ch.get(ctx, m)
	case *wire.BasicRecover:
		return ch.recover(m.Requeue, true)
	case *wire.BasicRecoverAsync:
		return ch.recover(m.Requeue, false)
	case *wire.ConfirmSelect:
		return ch.confirmSelect(m)
	case *wire.TxSelect:
		return ch.txSelect()
	case *wire.TxCommit:
		return ch.txCommit()
	case *wire.TxRollback:
		return ch.txRollback()
	}
	return refuse(codeCommandInvalid, "unexpected method %v on channel %d", m.ID(), ch.id)
}

// release gives back what the channel held: what it has not acknowledged goes
// back to the queues, and its consumers end. In this order: who follows a single
// active consumer must not get what comes behind the messages that go back.
func (ch *channel) release(ctx context.Context) {
	ch.content.reset()
	ch.stopReplies()
	consumers := ch.detach()
	ch.dropTx()
	for _, d := range ch.taken {
		ch.c.settlements.add(core.Requeue, d)
	}
	ch.forgetTaken()
	for _, k := range consumers {
		k.returnPending()
	}
	ch.c.settle()
	for _, k := range consumers {
		if err := k.engine.Cancel(ctx); err != nil {
			ch.c.log.Warn("consumer not cancelled", slog.String("queue", k.queue), slog.Any("error", err))
		}
	}
	ch.stopPublisher()
}

// detach takes consumers and unacknowledged deliveries away from the writer.
// The deliveries are in taken.
func (ch *channel) detach() []*consumer {
	ch.c.out.mu.Lock()
	defer ch.c.out.mu.Unlock()
	consumers := make([]*consumer, 0, len(ch.consumers))
	for _, k := range ch.consumers {
		k.stopped = true
		consumers = append(consumers, k)
	}
	clear(ch.consumers)
	ch.taken, _ = ch.unacked.take(ch.taken[:0], 0, true)
	return consumers
}

// forgetTaken drops the references of taken and keeps its room for the next time.
func (ch *channel) forgetTaken() {
	clear(ch.taken)
	ch.taken = ch.taken[:0]
	if cap(ch.taken) > 4096 {
		ch.taken = nil
	}
}
