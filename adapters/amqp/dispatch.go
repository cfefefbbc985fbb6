package amqp

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/gateway"
)

// frame does what one frame asks for. An error ends the connection.
func (c *connection) frame(ctx context.Context, f wire.Frame) error {
	if f.Type == wire.FrameHeartbeat {
		if f.Channel != 0 {
			return refuse(codeUnexpectedFrame, "heartbeat on channel %d", f.Channel)
		}
		return nil
	}
	if f.Channel != 0 {
		if c.state != running {
			return refuse(codeChannelError, "unexpected frame on channel %d in connection state %v", f.Channel, c.state)
		}
		return c.channelFrame(ctx, f)
	}
	if f.Type != wire.FrameMethod {
		return refuse(codeUnexpectedFrame, "content frame on channel 0")
	}
	m, err := parseMethod(f.Payload)
	if err != nil {
		return err
	}
	if err := c.method(ctx, m); err != nil {
		if reply, ok := errors.AsType[*replyError](err); ok && reply.method == 0 {
			reply.method = m.ID()
		}
		return err
	}
	return nil
}

func parseMethod(payload []byte) (wire.Method, error) {
	id, args, err := wire.SplitMethod(payload)
	if err != nil {
		return nil, &replyError{code: codeFrameError, text: err.Error()}
	}
	m, err := wire.ParseMethod(id, args)
	if err != nil {
		return nil, malformed(id, err)
	}
	return m, nil
}

// malformed is the answer to a method that can't be read.
func malformed(id wire.MethodID, err error) *replyError {
	if errors.Is(err, wire.ErrUnknownMethod) {
		return &replyError{code: codeCommandInvalid, text: err.Error(), method: id}
	}
	return &replyError{code: codeFrameError, text: err.Error(), method: id}
}

// method does what a method on channel 0 asks for.
func (c *connection) method(ctx context.Context, m wire.Method) error {
	switch m := m.(type) {
	case *wire.ConnectionClose:
		if err := c.unblock(ctx); err != nil {
			return err
		}
		return errClosed
	case *wire.ConnectionStartOK:
		if c.state == starting {
			return c.login(ctx, m)
		}
	case *wire.ConnectionTuneOK:
		if c.state == tuning {
			return c.tune(m)
		}
	case *wire.ConnectionOpen:
		if c.state == opening {
			return c.open(m)
		}
	case *wire.ConnectionUpdateSecret:
		if c.state == running {
			// Logins are by password, which is not asked for again.
			c.out.reply(0, &wire.ConnectionUpdateSecretOK{})
			return nil
		}
	}
	return refuse(codeChannelError, "unexpected method in connection state %v", c.state)
}

func (c *connection) login(ctx context.Context, m *wire.ConnectionStartOK) error {
	c.client = readCapabilities(m.ClientProperties)
	who, err := readLogin(c.conn, m.Mechanism, m.Response)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(ctx, c.deadline)
	defer cancel()
	principal, err := c.srv.auth.Login(ctx, gateway.Login{
		User:      who.user,
		Password:  who.password,
		Certified: who.certified,
		Loopback:  c.conn.Loopback,
		Remote:    c.conn.RemoteAddr().String(),
	})
	if err != nil {
		refused := refuse(codeAccessRefused, "Login was refused using authentication mechanism %s."+
			" For details see the broker logfile.", m.Mechanism)
		refused.cause = err
		return refused
	}
	c.principal = principal
	c.mechanism, c.about = m.Mechanism, slices.Clone(m.ClientProperties)
	c.log = c.log.With(slog.String("user", principal.User))
	c.state = tuning
	cfg := &c.srv.cfg
	c.out.reply(0, &wire.ConnectionTune{
		ChannelMax: cfg.ChannelMax,
		FrameMax:   cfg.FrameMax,
		Heartbeat:  uint16(cfg.Heartbeat.Seconds()),
	})
	return nil
}

func (c *connection) tune(m *wire.ConnectionTuneOK) error {
	settled, err := negotiate(&c.srv.cfg, m)
	if err != nil {
		return err
	}
	c.limits = settled
	// The size that was settled is that of the whole frame; the overhead is
	// granted on top because some clients count the payload.
	c.reader.SetLimit(settled.frameMax)
	c.out.setHeartbeat(settled.heartbeat)
	c.state = opening
	return nil
}

func (c *connection) open(m *wire.ConnectionOpen) error {
	switch name := m.VirtualHost; {
	case !c.srv.broker.HasNamespace(name):
		return refuse(codeNotAllowed, "vhost %s not found", name)
	case !c.principal.CanAccess(name):
		return refuse(codeNotAllowed, "access to vhost '%s' refused for user '%s'", name, c.principal.User)
	default:
		c.namespace = name
	}
	if err := c.announce(); err != nil {
		c.namespace = ""
		return refuse(codeNotAllowed, "%v", err)
	}
	c.state = running
	c.out.reply(0, &wire.ConnectionOpenOK{})
	return nil
}

// channelFrame hands a frame to its channel. Errors that only concern the
// channel close it; the others are returned.
func (c *connection) channelFrame(ctx context.Context, f wire.Frame) error {
	ch := c.channels[f.Channel]
	if ch == nil {
		return c.openChannel(f)
	}
	switch {
	case ch.held:
		c.holdFrame(f)
		return nil
	case ch.closing:
		return c.closingFrame(ch, f)
	}
	method, err := ch.frame(ctx, f)
	if err == nil {
		return nil
	}
	return c.channelFailed(ctx, ch, method, err)
}

// channelFailed closes the channel for an error of the method; an error that
// concerns more than the channel is returned.
func (c *connection) channelFailed(ctx context.Context, ch *channel, method wire.MethodID, err error) error {
	reply := replyTo(err)
	if reply.method == 0 {
		reply.method = method
	}
	if reply.hard() {
		return reply
	}
	c.log.Info("closing channel", slog.Int("channel", int(ch.id)), slog.String("error", reply.Error()))
	c.settle()
	ch.release(ctx)
	ch.closing = true
	c.out.reply(ch.id, &wire.ChannelClose{
		ReplyCode:     reply.code,
		ReplyText:     reply.replyText(),
		FailingMethod: reply.method,
	})
	return nil
}

func (c *connection) openChannel(f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return refuse(codeChannelError, "expected 'channel.open'")
	}
	m, err := parseMethod(f.Payload)
	if err != nil {
		return err
	}
	if _, ok := m.(*wire.ChannelOpen); !ok {
		if m.ID() == wire.IDChannelCloseOK {
			return nil // a late answer, of a close that both sides sent
		}
		return &replyError{code: codeChannelError, text: "expected 'channel.open'", method: m.ID()}
	}
	if f.Channel > c.limits.channelMax || len(c.channels) >= int(c.limits.channelMax) {
		return &replyError{
			code:   codeNotAllowed,
			text:   channelLimitText(len(c.channels), c.limits.channelMax),
			method: m.ID(),
		}
	}
	if err := c.conn.OpenChannel(); err != nil {
		return refuse(codeNotAllowed, "%v", err)
	}
	c.addChannel(newChannel(c, f.Channel))
	c.out.reply(f.Channel, &wire.ChannelOpenOK{})
	return nil
}

// closingFrame drops what the client sent before it learned that its channel
// is closed.
func (c *connection) closingFrame(ch *channel, f wire.Frame) error {
	if f.Type != wire.FrameMethod {
		return nil
	}
	id, _, err := wire.SplitMethod(f.Payload)
	if err != nil {
		return malformed(id, err)
	}
	switch id {
	case wire.IDChannelClose:
		c.out.reply(ch.id, &wire.ChannelCloseOK{})
	case wire.IDChannelCloseOK:
		c.dropChannel(ch.id)
	default:
	}
	return nil
}

// settle hands over what the burst has settled so far.
func (c *connection) settle() {
	c.settlements.flush()
}
