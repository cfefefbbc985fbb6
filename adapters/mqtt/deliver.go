package mqtt

import (
	"errors"
	"sync"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// maxBatch is how many deliveries are taken from the engine at once.
const maxBatch = 256

// sender is what the writing goroutine of a connection owns.
type sender struct {
	*batch               // nil while nothing is held
	msg    wire.Outgoing // scratch
}

// batch is what the last call of Session.Next gave, and how far it is sent:
// ids[i] is the packet identifier of taken[i], 0 for QoS 0.
type batch struct {
	taken  []core.Delivery
	ids    []uint16
	next   int // index of the first delivery that is not sent
	settle []core.Position
	subIDs []uint32 // scratch for subscription identifiers
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// held tells whether deliveries are taken and not sent.
func (s *sender) held() bool { return s.batch != nil && s.next < len(s.taken) }

// hold makes sure that there is a batch to fill.
func (s *sender) hold() {
	if s.batch == nil {
		s.batch, _ = batches.Get().(*batch)
	}
}

// drop gives the batch back, without references to messages.
func (s *sender) drop() {
	if s.batch == nil {
		return
	}
	clear(s.taken[:cap(s.taken)])
	s.taken, s.ids, s.next, s.settle = s.taken[:0], s.ids[:0], 0, s.settle[:0]
	batches.Put(s.batch)
	s.batch = nil
}

// gatherDeliveries appends messages while the window and the output have room.
// more tells that it stopped for the output and should be called again.
func (c *conn) gatherDeliveries() (more bool) {
	sh := c.shared
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for sh.owner == c {
		waiting, closed := c.out.state()
		if closed || c.hold.Load() {
			return false
		}
		if waiting >= highMark {
			c.session.Withhold() // who knows when the client takes this
			return true
		}
		stored, err := c.session.Stored()
		if err != nil {
			c.fail("store session", err)
			return false
		}
		if c.sendHeldQoS0() {
			continue
		}
		if action, ok := sh.inflight.Next(stored); ok {
			if err := c.perform(sh, action); err != nil {
				c.fail("send", err)
				return false
			}
			continue
		}
		if c.sender.held() {
			return false // waits for the log or for the client
		}
		if !c.takeDeliveries(sh) {
			return false
		}
	}
	return false
}

// takeDeliveries asks the engine for messages, and gives each its place in the
// sending order.
func (c *conn) takeDeliveries(sh *shared) (some bool) {
	s := &c.sender
	room := sh.inflight.Room()
	if room == 0 {
		return false
	}
	s.hold()
	taken, err := c.session.Next(s.taken[:0], min(room, maxBatch))
	s.taken, s.ids, s.next, s.settle = taken, s.ids[:0], 0, s.settle[:0]
	if err != nil || len(taken) == 0 {
		s.taken = s.taken[:0]
		s.drop()
		if err != nil && !errors.Is(err, core.ErrFenced) {
			c.fail("receive", err)
		}
		return false
	}
	sh.proven()
	for i := range taken {
		if err := c.enlist(sh, &taken[i]); err != nil {
			c.fail("record packet identifier", err)
			return false
		}
	}
	if len(s.settle) > 0 {
		sh.settle(c, s.settle...)
	}
	return true
}

// enlist gives a delivery its place in the sending order. QoS 0 is settled
// before it is sent: it may be lost.
func (c *conn) enlist(sh *shared, d *core.Delivery) error {
	s := &c.sender
	qos := c.grantedQoS(d)
	if qos == 0 {
		s.settle = append(s.settle, d.Position)
		s.ids = append(s.ids, 0)
		return nil
	}
	id := sh.inflight.Add(d.Position, qos, d.Shared)
	s.ids = append(s.ids, id)
	if qos == 2 {
		put, err := c.session.Put(uint32(id), session.AppendValue(nil, sh.inflight.Saved(id, session.Waiting)))
		if err != nil {
			return err
		}
		sh.inflight.Storing(id, put)
	}
	return nil
}

// grantedQoS is the QoS at which a delivery is sent.
func (c *conn) grantedQoS(d *core.Delivery) uint8 {
	if len(d.Subscriptions) == 0 {
		return d.Message.QoS
	}
	o, _, ok := c.subs.Load().match(d.Subscriptions, nil)
	if !ok {
		// A subscription made so recently that its options are not known here.
		c.subs.Store(newSubscriptions(c.session.Subscriptions()))
		o, _, _ = c.subs.Load().match(d.Subscriptions, nil)
	}
	if d.Shared && d.Message.Format == core.FormatAMQP {
		return o.qos // of a queue, which has no QoS
	}
	return min(o.qos, d.Message.QoS)
}

// sendHeldQoS0 sends the next held delivery if it needs no packet identifier.
func (c *conn) sendHeldQoS0() bool {
	s := &c.sender
	if !s.held() || s.ids[s.next] != 0 {
		return false
	}
	c.send(&s.taken[s.next], 0, 0, false)
	s.next++
	return true
}

// perform does what the inflight table asks for.
func (c *conn) perform(sh *shared, a session.Action) error {
	if a.Kind == session.SendPubrel {
		c.out.mu.Lock()
		if !c.out.closed {
			c.out.put(wire.AppendAck(c.out.bytes(), wire.TypePubrel, a.ID, wire.Success, "", c.v5))
		}
		c.out.mu.Unlock()
		return nil
	}
	s := &c.sender
	if s.held() && s.ids[s.next] == a.ID {
		d := &s.taken[s.next]
		s.next++
		if c.send(d, a.ID, a.QoS, a.Dup || d.Redelivered && a.QoS == 1 && !d.Shared) {
			return nil
		}
		return c.skip(sh, a)
	}
	d, err := c.session.Reread(a.Position)
	switch {
	case errors.Is(err, core.ErrNotFound):
		c.srv.counters.skippedStale.Add(1)
		return c.skip(sh, a)
	case err != nil:
		return err
	}
	if c.send(&d, a.ID, a.QoS, a.Dup) {
		return nil
	}
	return c.skip(sh, a)
}

// skip ends a message that can't be sent to this client. One of QoS 2 that the
// client may have seen goes on as if it had, or the client would take the next
// message with this packet identifier for the same one.
func (c *conn) skip(sh *shared, a session.Action) error {
	if a.QoS == 2 && a.Dup {
		return sh.record(c, a.ID, a.Position)
	}
	sh.inflight.Drop(a.ID)
	if c.session.Shares(a.Position) { // others may be able to take it
		c.session.Fail(false, a.Position)
		if a.QoS == 1 {
			return nil
		}
	}
	if a.QoS == 2 {
		_, err := c.session.Put(uint32(a.ID), nil, a.Position)
		return err
	}
	sh.settle(c, a.Position)
	return nil
}

// send appends the PUBLISH of a delivery. It returns false when the message
// can't be sent: expired, too large, no legal topic, or no longer asked for.
func (c *conn) send(d *core.Delivery, id uint16, qos uint8, dup bool) bool {
	s := &c.sender
	s.hold()
	var o options
	s.subIDs = s.subIDs[:0]
	if len(d.Subscriptions) > 0 {
		var ok bool
		if o, s.subIDs, ok = c.subs.Load().match(d.Subscriptions, s.subIDs); !ok {
			c.srv.counters.skippedStale.Add(1)
			return false
		}
	}
	p := &s.msg
	if !c.srv.outgoing(p, &d.Message, c.v5, dup && qos == 2) {
		return false
	}
	p.PacketID, p.QoS, p.Dup = id, qos, dup
	p.Retain = d.Retained || o.asPublished && d.Message.Retain
	p.Identifiers, p.Failures = s.subIDs, d.Returns
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.closed {
		return true // it stays in flight
	}
	if !c.out.publish(p) {
		c.srv.counters.skippedLarge.Add(1)
		return false
	}
	c.srv.counters.sent.Add(1)
	return true
}

// live takes a message that is not stored, in the publisher's goroutine.
func (c *conn) live(m *core.Message, ids []core.SubID) bool {
	subs := c.subs.Load()
	if subs == nil {
		return false
	}
	if !c.mayReceive() {
		c.flush.wake() // the writer ends the connection
		return false
	}
	if !c.mayHear(m.Key) {
		return true
	}
	o := c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.open || o.closed || o.len() >= o.limit {
		c.srv.counters.droppedSlow.Add(1)
		return false
	}
	opts, identifiers, ok := subs.match(ids, o.ids[:0])
	o.ids = identifiers
	if !ok {
		return true // not acknowledged yet: the subscription begins after this
	}
	p := &o.msg
	if !c.srv.outgoing(p, m, c.v5, false) {
		return true
	}
	p.PacketID, p.QoS, p.Dup = 0, 0, false
	p.Retain = opts.asPublished && m.Retain
	p.Identifiers = identifiers
	fits := o.publish(p)
	p.Topic, p.Properties, p.Payload = nil, nil, nil // they are the publisher's
	if !fits {
		c.srv.counters.skippedLarge.Add(1)
		return true
	}
	c.srv.counters.sent.Add(1)
	c.flush.wake()
	return true
}

// outgoing fills in what a message of any format is to an MQTT client. It
// returns false, and counts, when the message can't be sent. One that is begun,
// that was sent before and has to be completed, does not expire any more.
func (s *Server) outgoing(p *wire.Outgoing, m *core.Message, v5, begun bool) bool {
	p.V5, p.Payload = v5, m.Payload
	p.Expiry = 0
	if m.ExpireAt != 0 {
		left := m.ExpireAt - s.now().UnixMilli()
		if left <= 0 && !begun {
			s.counters.skippedStale.Add(1)
			return false
		}
		p.Expiry = uint32(min((max(left, 0)+999)/1000, forever))
	}
	if m.Format == core.FormatMQTT {
		p.Topic, p.Properties = m.Key, m.Properties
		return true
	}
	return s.convert(p, m)
}
