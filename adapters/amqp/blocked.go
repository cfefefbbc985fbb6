package amqp

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// While disk or memory is low a publish is held, and what follows it on its
// channel is held too: an ack that overtook the publish before it could settle
// a message whose successor is then lost. Other channels go on until they
// publish. The connection is read as long as little enough is held, so that
// heartbeats and connection.close still arrive; then it is not read until there
// is room. Nothing that is held was accepted, so nothing accepted is dropped
// when the connection ends meanwhile.
const (
	// heldPerConnection is how many bytes a connection may hold beside its first
	// publish before it is not read any more.
	heldPerConnection = 64 << 10
	// heldInAll bounds that for all connections together.
	heldInAll = 32 << 20
)

// blockade is what a connection holds. It belongs to the reader.
type blockade struct {
	channels []*channel // with a complete publish each, in the order of these
	frames   []byte     // what came behind on those channels
	bytes    int        // held beside the first publish
	stop     func()     // ends the engine's notices; nil while nothing is held
	told     bool       // connection.blocked was sent
}

// errNudged ends a wait for frames because held ones may go on.
var errNudged = errors.New("publishers go on")

// block holds the complete publish of the channel.
func (c *connection) block(ch *channel) {
	b := &c.blocked
	ch.content.keep()
	ch.held = true
	b.channels = append(b.channels, ch)
	c.withheld.Store(true)
	if len(b.channels) > 1 {
		c.hold(len(ch.content.names) + len(ch.content.payload))
	}
	if b.stop == nil {
		b.stop = c.srv.broker.OnPressure(c.pressureChanged)
	}
	if reason := c.srv.broker.Pressure().Reason; c.client.blocked && !b.told && reason != "" {
		b.told = true
		c.out.reply(0, &wire.ConnectionBlocked{Reason: reason})
	}
}

// holdFrame holds a frame of a channel whose publish is held.
func (c *connection) holdFrame(f wire.Frame) {
	b := &c.blocked
	b.frames = wire.AppendFrame(b.frames, f.Type, f.Channel, f.Payload)
	c.hold(len(f.Payload) + wire.FrameOverhead)
}

// hold counts bytes that are held; a negative number gives them back.
func (c *connection) hold(n int) {
	c.blocked.bytes += n
	c.srv.held.Add(int64(n))
}

// overfull tells that the connection must not be read now.
func (c *connection) overfull() bool {
	return len(c.blocked.channels) > 0 &&
		(c.blocked.bytes >= heldPerConnection || c.blocked.bytes > 0 && c.srv.held.Load() >= heldInAll)
}

// pressureChanged is called by the engine, from any goroutine.
func (c *connection) pressureChanged(p core.Pressure) {
	if !p.Any() {
		c.nudge()
	}
}

// unblock goes on with what is held, if there is no pressure any more. What
// meets new pressure is held again.
func (c *connection) unblock(ctx context.Context) error {
	b := &c.blocked
	if len(b.channels) == 0 || c.srv.broker.Pressure().Any() {
		return nil
	}
	channels, frames := b.channels, b.frames
	b.channels, b.frames = nil, nil
	c.hold(-b.bytes)
	for _, ch := range channels {
		ch.held = false
		if err := ch.completed(); err != nil {
			if err := c.channelFailed(ctx, ch, wire.IDBasicPublish, err); err != nil {
				return err
			}
		}
	}
	for len(frames) > 0 {
		f, n, _, err := wire.ParseFrame(frames, c.limits.frameMax)
		if err != nil || n == 0 {
			return fmt.Errorf("read held frames: %w", errors.Join(err, wire.ErrFrame))
		}
		frames = frames[n:]
		if err := c.channelFrame(ctx, f); err != nil {
			return err
		}
	}
	if len(b.channels) == 0 {
		c.endBlockade()
		if b.told {
			b.told = false
			c.out.reply(0, &wire.ConnectionUnblocked{})
		}
	}
	return nil
}

// endBlockade forgets what is held.
func (c *connection) endBlockade() {
	b := &c.blocked
	if b.stop != nil {
		b.stop()
		b.stop = nil
	}
	c.hold(-b.bytes)
	b.channels, b.frames = nil, nil
	c.withheld.Store(false)
}

// lastWords is the answer to the client's connection.close. A client that does
// not ask for confirms has to be told that publishes were not taken.
func (c *connection) lastWords() []byte {
	silent := func(ch *channel) bool { return ch.publisher == nil || !ch.publisher.confirming }
	var words []byte
	if slices.ContainsFunc(c.blocked.channels, silent) {
		reply := refuse(codeResourceError, "%s: held publishes were not taken", c.srv.broker.Pressure().Reason)
		words = wire.AppendMethod(words, 0, &wire.ConnectionClose{
			ReplyCode: reply.code, ReplyText: reply.replyText(), FailingMethod: wire.IDBasicPublish,
		})
	}
	return wire.AppendMethod(words, 0, &wire.ConnectionCloseOK{})
}
