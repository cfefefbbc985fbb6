package amqp

import (
	"bytes"
	"errors"
	"math"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// publish hands the complete content to the engine.
func (ch *channel) publish() error {
	t := &ch.content
	if t.immediate {
		return refuse(codeNotImplemented, "immediate=true")
	}
	exchange := t.names[:t.exchange]
	if err := ch.permitPublish(exchange, t.names[t.exchange:t.key]); err != nil {
		return err
	}
	asks, err := ch.checkProperties(&t.properties)
	if err != nil {
		return err
	}
	ch.message = core.Message{
		Format:     core.FormatAMQP,
		Exchange:   exchange,
		Key:        t.names[t.exchange:t.key],
		Properties: t.names[t.key:],
		Payload:    t.payload,
		ExpireAt:   asks.expireAt,

		PriorityKnown: true,
	}
	if t.properties.Has(wire.FlagPriority) {
		ch.message.Priority = t.properties.Priority
	}
	if string(exchange) == delayedExchange {
		return ch.cancelSchedule(ch.message.Key, &t.properties)
	}
	if asks.delay || asks.reply || asks.copies {
		if err := ch.rewrite(&ch.message, t.properties, asks); err != nil {
			return err
		}
	}
	if t.properties.Has(wire.FlagDeliveryMode) && t.properties.DeliveryMode == 2 {
		ch.message.QoS = 1
	}
	return ch.hand(&ch.message, t.mandatory)
}

// hand publishes the message, and returns it when it was mandatory and matched nothing.
func (ch *channel) hand(m *core.Message, mandatory bool) error {
	if err := ch.needPublisher(); err != nil {
		return err
	}
	if ch.tx != nil {
		return ch.publishInTx(m, mandatory)
	}
	ch.publisher.boundRefused()
	if mandatory && ch.publisher.confirming {
		ch.publisher.hold()
		defer ch.publisher.unhold()
	}
	routed, err := ch.publisher.publish(m)
	if errors.Is(err, core.ErrFull) {
		return nil // told by a nack, if the client wants that
	}
	if err != nil {
		return ch.publishError(err)
	}
	switch {
	case !routed && mandatory:
		ch.giveBack(m)
	case !routed:
		ch.counts.unroutable.Add(1)
	}
	return nil
}

// needPublisher makes the channel's publisher unless there is one.
func (ch *channel) needPublisher() error {
	if ch.publisher != nil {
		return nil
	}
	p, err := newPublisher(ch, false)
	if err == nil {
		p.use()
	}
	return err
}

// giveBack sends basic.return with a message that matched nothing.
func (ch *channel) giveBack(m *core.Message) { ch.sendBack(codeNoRoute, m) }

// sendBack sends basic.return with the message, and the code that says why.
func (ch *channel) sendBack(code uint16, m *core.Message) {
	o := ch.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waitRoom()
	ch.counts.returned++
	if code == codeNoRoute {
		ch.counts.unroutable.Add(1)
		ch.publisher.engine.Returned()
	}
	o.appendMethod(ch.id, &wire.BasicReturn{
		ReplyCode:  code,
		ReplyText:  codeNames[code],
		Exchange:   string(m.Exchange),
		RoutingKey: string(m.Key),
	})
	o.buf = wire.AppendContent(o.buf, ch.id, ch.c.limits.frameMax, m.Properties, m.Payload)
}

// publishError is the answer to a publish that the engine refused.
func (ch *channel) publishError(err error) error {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Arg == "internal" {
		return refuse(codeAccessRefused, "cannot publish to internal %s", object("exchange", e.Name, ch.c.namespace))
	}
	if errors.Is(err, core.ErrTooLarge) {
		return refuse(codePreconditionFailed, "message size %d is larger than configured max size %d",
			len(ch.content.payload), ch.broker().MaxMessageSize())
	}
	return err
}

// asks is what the properties of a message ask of the server.
type asks struct {
	expireAt int64 // see [core.Message]
	reply    bool  // the answer is to come directly to the channel
	copies   bool  // headers have further routing keys
	delay    bool  // headers may say when it is to be delivered
}

// checkProperties checks the properties that the server acts on.
func (ch *channel) checkProperties(p *wire.Properties) (a asks, err error) {
	if p.Flags&^(wire.FlagContentType|wire.FlagContentEncoding|wire.FlagDeliveryMode|wire.FlagPriority) == 0 {
		return a, nil // the usual case
	}
	if p.Has(wire.FlagReplyTo) && string(p.ReplyTo) == replyToQueue {
		if ch.replies == nil {
			return a, refuse(codePreconditionFailed, "fast reply consumer does not exist")
		}
		a.reply = true
	}
	if p.Has(wire.FlagExpiration) {
		ttl, reason := parseExpiration(p.Expiration)
		if reason != "" {
			return a, refuse(codePreconditionFailed, "invalid expiration '%s': %s", p.Expiration, reason)
		}
		a.expireAt = ch.c.srv.cfg.Clock.Now().Add(ttl).UnixMilli()
	}
	if err = a.checkHeaders(p.Headers); err != nil {
		return a, err
	}
	if user := ch.c.principal.User; p.Has(wire.FlagUserID) && string(p.UserID) != user &&
		!ch.c.principal.HasTag(gateway.TagImpersonator) {
		return a, refuse(codePreconditionFailed, "user_id property set to '%s' but authenticated user was '%s'",
			p.UserID, user)
	}
	return a, nil
}

// parseExpiration reads decimal milliseconds; reason tells what is wrong with them.
func parseExpiration(b []byte) (ttl time.Duration, reason string) {
	digits := b
	negative := len(digits) > 0 && digits[0] == '-'
	if negative || len(digits) > 0 && digits[0] == '+' {
		digits = digits[1:]
	}
	n, ms := 0, int64(0)
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		ms = min(ms, math.MaxInt64/10-1)*10 + int64(digits[n]-'0')
		n++
	}
	switch {
	case n == 0:
		return 0, "no_integer"
	case n < len(digits):
		return 0, `{leftover_string,"` + string(digits[n:]) + `"}`
	case negative && ms > 0:
		return 0, "{value_negative," + string(b) + "}"
	case ms > longestTerm.Milliseconds():
		return 0, "{value_too_large," + string(bytes.TrimLeft(digits, "0")) + "}"
	}
	return time.Duration(ms) * time.Millisecond, ""
}

// refusedHeaders are headers that would change where or when a message goes,
// and that this version does not act on. Delivering as if they were not there
// would be worse than a refusal.
var refusedHeaders = map[string]bool{
	"x-schedule": true,
	"x-txn":      true,
}

// checkHeaders refuses headers that ask for what is not there, and notes what others ask
// for.
func (a *asks) checkHeaders(t wire.Table) error {
	for it := t.Iter(); it.Next(); {
		if refusedHeaders[string(it.Name())] {
			return refuse(codeNotImplemented, "header '%s' is not supported in this version", it.Name())
		}
		a.delay = a.delay || asksDelay(it.Name())
		a.copies = a.copies || string(it.Name()) == headerCC || string(it.Name()) == headerBCC
	}
	return nil
}
