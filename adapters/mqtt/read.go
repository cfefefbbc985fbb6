package mqtt

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// maxGathered is how many acknowledged positions are gathered before they are
// handed to the engine.
const maxGathered = 256

// reader is what the reading goroutine of a connection owns.
type reader struct {
	packets  *wire.Reader
	aliases  session.AliasesIn
	*parsed       // nil while the reader waits
	answers  bool // something was queued for the writer in this burst
	acked    bool // acknowledgements were gathered in this burst
	progress bool // a whole packet has come since the last read
	deadline time.Time
	grant    grant
}

// parsed is what packets are parsed into. A connection that waits for some has none.
type parsed struct {
	publish wire.Publish
	ack     wire.Ack
	message core.Message
}

var parsedPool = sync.Pool{New: func() any { return new(parsed) }}

// hold makes sure that there is something to parse packets into.
func (r *reader) hold() {
	if r.parsed == nil {
		r.parsed, _ = parsedPool.Get().(*parsed)
	}
}

func (r *reader) drop() {
	if r.parsed != nil {
		parsedPool.Put(r.parsed)
		r.parsed = nil
	}
}

// read handles packets until the connection ends. It returns errGoodbye, the
// client's fault, or what reading or the engine answered.
func (c *conn) read(ctx context.Context) error {
	r := &c.reader
	r.progress = true
	defer r.drop()
	defer c.endBurst()
	for {
		h, body, ok, err := r.packets.Packet()
		if err != nil {
			return err
		}
		if ok {
			r.progress = true
			r.hold()
			if err := c.handle(ctx, h, body); err != nil {
				return err
			}
			continue
		}
		c.endBurst()
		r.drop()
		if err := c.awaitBytes(); err != nil {
			return err
		}
		if err := r.packets.Fill(); err != nil {
			if c.keepAlive > 0 && c.ending.Load() == nil && isTimeout(err) {
				return &wire.Error{Reason: wire.KeepAliveTimeout, Detail: "keep alive timeout"}
			}
			return fmt.Errorf("read: %w", err)
		}
	}
}

// endBurst hands over what the packets of one read have gathered.
func (c *conn) endBurst() {
	r := &c.reader
	if r.acked {
		r.acked = false
		c.shared.settleGathered(c)
	}
	if r.answers {
		r.answers = false
		c.flush.wake()
	}
}

// awaitBytes sets the deadline for the next packet: one and a half times the
// keep alive, and up to an eighth more so that it is not set for each read. A
// packet that never becomes whole does not move it.
func (c *conn) awaitBytes() error {
	r := &c.reader
	if c.keepAlive == 0 {
		if r.deadline.IsZero() {
			r.deadline = time.Now()
			if err := c.nc.SetReadDeadline(time.Time{}); err != nil {
				return fmt.Errorf("clear deadline: %w", err)
			}
		}
	} else if r.progress {
		r.progress = false
		slack := min(c.keepAlive/8, time.Second)
		if until := time.Now().Add(c.keepAlive + c.keepAlive/2); until.After(r.deadline) {
			r.deadline = until.Add(slack)
			if err := c.nc.SetReadDeadline(r.deadline); err != nil {
				return fmt.Errorf("set deadline: %w", err)
			}
		}
	}
	if c.ending.Load() != nil { // whoever ended it set a deadline that must hold
		if err := c.nc.SetReadDeadline(time.Now().Add(lingerTime)); err != nil {
			return fmt.Errorf("set deadline: %w", err)
		}
	}
	return nil
}

// handle does what one packet asks for. body is valid until it returns.
func (c *conn) handle(ctx context.Context, h wire.Header, body []byte) error {
	if c.ending.Load() != nil {
		return nil // told to go: what it still sends is not taken
	}
	switch h.Type {
	case wire.TypePublish:
		return c.onPublish(h.Flags, body)
	case wire.TypePuback, wire.TypePubrec, wire.TypePubcomp, wire.TypePubrel:
		return c.onAck(h.Type, body)
	case wire.TypePingreq:
		return c.onPing(body)
	case wire.TypeSubscribe:
		return c.onSubscribe(ctx, h.Flags, body)
	case wire.TypeUnsubscribe:
		return c.onUnsubscribe(ctx, h.Flags, body)
	case wire.TypeDisconnect:
		return c.onDisconnect(body)
	case wire.TypeConnect:
		return &wire.Error{Reason: wire.ProtocolError, Detail: "second CONNECT"}
	case wire.TypeAuth:
		return c.onAuth(body)
	default:
		return &wire.Error{Reason: wire.ProtocolError, Detail: "packet that only a server sends"}
	}
}

func (c *conn) onPing(body []byte) error {
	if len(body) > 0 {
		return &wire.Error{Reason: wire.MalformedPacket, Detail: "PINGREQ with a body"}
	}
	if c.out.reserve() {
		c.out.put(wire.AppendPingresp(c.out.bytes()))
		c.out.mu.Unlock()
		c.reader.answers = true
	}
	return nil
}

func (c *conn) onAuth(body []byte) error {
	if !c.v5 {
		return &wire.Error{Reason: wire.MalformedPacket, Detail: "AUTH before MQTT 5"}
	}
	if err := wire.CheckAuth(body); err != nil {
		return err
	}
	return &wire.Error{Reason: wire.BadAuthMethod, Detail: "enhanced authentication is not supported"}
}

func (c *conn) onDisconnect(body []byte) error {
	d, err := wire.DecodeDisconnect(body, c.v5)
	if err != nil {
		return err
	}
	if d.HasSessionExpiry {
		if !c.expires && d.SessionExpiry > 0 {
			return &wire.Error{Reason: wire.ProtocolError, Detail: "session expiry after CONNECT without one"}
		}
		c.expiry, _ = c.srv.cfg.capExpiry(d.SessionExpiry)
		c.session.SetExpiry(c.expiry)
	}
	if d.Reason == wire.Success { // now, since the client may be back before all is closed
		c.dropWill()
	}
	return errGoodbye
}

// onAck takes the acknowledgement of a message that was sent to the client, or
// the PUBREL of one that came from it.
func (c *conn) onAck(t wire.Type, body []byte) error {
	a := &c.reader.ack
	if err := a.Decode(t, body, c.v5); err != nil {
		return err
	}
	c.reader.answers = true // a place in the window may be free, or an answer is due
	if t == wire.TypePubrel {
		return c.onPubrel(a.PacketID)
	}
	answer, err := c.shared.acknowledge(c, t, a)
	if err != nil {
		return err
	}
	switch answer {
	case session.Settled:
		c.reader.acked = true
	case session.Wrong:
		return &wire.Error{Reason: wire.ProtocolError, Detail: "acknowledgement of another QoS"}
	case session.Unknown:
		if t == wire.TypePubrec && !a.Reason.Failed() {
			c.reply(wire.TypePubrel, a.PacketID, wire.PacketIDNotFound)
		}
	case session.Record, session.Repeat:
	}
	return nil
}

// reply queues an acknowledgement that waits for nothing.
func (c *conn) reply(t wire.Type, id uint16, reason wire.Reason) {
	if c.out.reserve() {
		c.out.put(wire.AppendAck(c.out.bytes(), t, id, reason, "", c.v5))
		c.out.mu.Unlock()
	}
}
