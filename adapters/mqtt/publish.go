package mqtt

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

var topicExchange = []byte(core.TopicExchange)

// onPublish takes a PUBLISH. Its acknowledgement leaves when the log has it.
func (c *conn) onPublish(flags byte, body []byte) error {
	p := &c.reader.publish
	if err := p.Decode(flags, body, c.v5); err != nil {
		return err
	}
	c.srv.counters.received.Add(1)
	if p.HasAlias {
		topic, ok := c.reader.aliases.Resolve(p.Alias, p.Topic)
		if !ok {
			return &wire.Error{Reason: wire.TopicAliasInvalid, Detail: "topic alias"}
		}
		p.Topic = topic
	}
	if p.QoS > 0 {
		if taken, err := c.admit(p); !taken {
			return err
		}
	}
	d, reason, detail := takeDelay(p)
	if !reason.Failed() {
		reason, detail = c.objection(p, &d)
	}
	if reason.Failed() {
		return c.refusePublish(p, reason, detail)
	}
	if d.cancel {
		return c.cancelSchedule(p, d.name)
	}
	m := c.message(p)
	if err := c.schedule(m, &d); err != nil {
		return c.refuseSchedule(p, err)
	}
	if p.QoS > 0 && c.held.count.Load() > 0 {
		c.withhold(m, p.PacketID) // behind those that came before
		return nil
	}
	result, err := c.publish(m)
	switch {
	case errors.Is(err, core.ErrPressure):
		return c.pressed(p, m)
	case errors.Is(err, core.ErrFenced), errors.Is(err, core.ErrClosed):
		return fmt.Errorf("publish: %w", err)
	case errors.Is(err, core.ErrFull) && p.QoS == 0:
		return nil // the queue goes without
	case err != nil:
		return c.refusePublish(p, reasonsFor(err).ack, err.Error())
	case p.QoS == 0:
		return nil
	}
	ack := session.PendingAck{Seq: result.Seq, ID: p.PacketID, QoS: p.QoS}
	if !result.Routed {
		ack.Reason = uint8(wire.NoMatchingSubscribers)
	}
	c.answer(ack)
	return nil
}

// admit counts the publish against what the client may have unanswered. A 3.1.1
// client, which can't know the limit, waits. One that is not taken, without an error,
// comes after the server's last answer.
func (c *conn) admit(p *wire.Publish) (taken bool, _ error) {
	c.inMu.Lock()
	if !c.v5 && c.in.Full() {
		c.inMu.Unlock()
		c.reader.answers = true
		c.endBurst()
		c.inMu.Lock()
		for c.in.Full() && c.ending.Load() == nil {
			c.inRoom.Wait()
		}
	}
	if c.drain.Load() == answering {
		c.inMu.Unlock()
		return false, nil
	}
	verdict := c.in.Publish(p.QoS, p.PacketID)
	c.inMu.Unlock()
	switch verdict {
	case session.Exceeded:
		return false, &wire.Error{Reason: wire.ReceiveMaximumExceeded, Detail: "receive maximum exceeded"}
	case session.InUse:
		return false, &wire.Error{Reason: wire.ProtocolError, Detail: "packet identifier is in use"}
	default:
		return true, nil
	}
}

// objection tells why the publish is not allowed, or Success.
func (c *conn) objection(p *wire.Publish, d *delay) (wire.Reason, string) {
	switch {
	case p.Topic[0] == '$' && !d.cancel:
		return wire.TopicNameInvalid, "topic is reserved"
	case !c.mayPublish(p.Topic):
		return wire.NotAuthorized, "not allowed to publish"
	case len(p.Payload) > c.srv.broker.MaxMessageSize():
		return wire.QuotaExceeded, "payload too large"
	}
	if name := refusedFeature(p.Properties); name != "" {
		return wire.ImplementationSpecific, "user property '" + name + "' is not supported in this version"
	}
	return wire.Success, ""
}

// refusedFeature returns the first user property that would change where or
// when the message goes and that this version does not act on. Delivering as if
// it were not there would be worse than a refusal.
func refusedFeature(props []byte) string {
	if !bytes.Contains(props, []byte("x-")) {
		return ""
	}
	r := wire.PublishProperties(props)
	for {
		prop, ok, err := r.Next()
		if err != nil || !ok {
			return ""
		}
		if prop.ID != wire.PropUser {
			continue
		}
		switch name := string(prop.Data); name {
		case "x-schedule", "x-txn":
			return name
		}
	}
}

// refusePublish answers a publish that was not taken. Where the protocol has no
// negative answer, at QoS 0 and on 3.1.1, the connection ends: a message must
// not vanish without a word.
func (c *conn) refusePublish(p *wire.Publish, reason wire.Reason, detail string) error {
	if !c.v5 || p.QoS == 0 {
		return &wire.Error{Reason: reason, Detail: detail}
	}
	c.answer(session.PendingAck{ID: p.PacketID, QoS: p.QoS, Reason: uint8(reason), Detail: detail})
	return nil
}

func (c *conn) answer(a session.PendingAck) {
	c.inMu.Lock()
	c.in.Answer(a)
	c.answers.Add(1)
	c.inMu.Unlock()
	c.reader.answers = true
}

// message makes the engine's form of a publish. It lives in the reader's
// scratch; the engine copies what it keeps.
func (c *conn) message(p *wire.Publish) *core.Message {
	m := &c.reader.message
	*m = core.Message{
		Format:     core.FormatMQTT,
		Exchange:   topicExchange,
		Key:        p.Topic,
		Properties: p.Properties,
		Payload:    p.Payload,
		QoS:        p.QoS,
		Retain:     p.Retain,
		Lossy:      p.QoS == 0,
	}
	if p.HasExpiry {
		m.ExpireAt = c.srv.now().UnixMilli() + int64(p.Expiry)*1000
	}
	if p.QoS == 2 {
		m.Once = core.Once{Session: c.session.ID(), ID: p.PacketID}
	}
	return m
}

// onPubrel frees the packet identifier of a QoS 2 message from the client. The
// PUBCOMP leaves when that is durable.
func (c *conn) onPubrel(id uint16) error {
	c.inMu.Lock()
	known, verdict := c.in.Pubrel(id)
	for c.in.CompsFull() && c.ending.Load() == nil {
		c.flush.wake()
		c.inRoom.Wait()
	}
	c.inMu.Unlock()
	if verdict == session.Early {
		return &wire.Error{Reason: wire.ProtocolError, Detail: "PUBREL before PUBREC"}
	}
	put, err := c.session.Release(id)
	comp := session.PendingComp{Put: put, ID: id}
	switch {
	case errors.Is(err, core.ErrNotFound):
		if comp.Put = 0; !known {
			comp.Reason = uint8(wire.PacketIDNotFound)
		}
	case err != nil:
		return fmt.Errorf("release packet identifier: %w", err)
	}
	c.inMu.Lock()
	c.in.Released(comp)
	c.inMu.Unlock()
	return nil
}
