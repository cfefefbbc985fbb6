package mqtt

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// While disk or memory is low, an MQTT 5 client is told so by 0x97. MQTT 3.1.1
// has no such answer: its publishes are held, in order, and their
// acknowledgements withheld. Up to these limits the connection is still read,
// because acks that come on it make room. The writing goroutine stores what is
// held when the alarm has ended. What a lost connection held was never
// acknowledged; the client sends it again.
const (
	// heldPerClient is how many bytes a connection may hold beside its first publish.
	heldPerClient = 1 << 20
	// heldInAll bounds that for all connections together.
	heldInAll = 64 << 20
)

// heldPublish is one publish that waits for room.
type heldPublish struct {
	message core.Message
	id      uint16
	cancel  bool // of what is held under the message's Schedule, and no message
}

func (h *heldPublish) size() int {
	return len(h.message.Key) + len(h.message.Properties) + len(h.message.Payload)
}

// holding is what a connection holds.
type holding struct {
	// count is the length of queue; only the reader makes it grow, so that the
	// reader may publish past an empty one.
	count atomic.Int64
	stop  func() // ends the engine's notices; the reader's, nil before the first hold

	// Guarded by conn.inMu:
	queue []heldPublish
	bytes int // beside the first of the queue
}

// pressed answers a publish that the engine does not take now.
func (c *conn) pressed(p *wire.Publish, m *core.Message) error {
	if c.v5 {
		detail := c.srv.broker.Pressure().Reason
		return c.refusePublish(p, reasonsFor(core.ErrPressure).ack, detail)
	}
	c.withhold(m, p.PacketID)
	return nil
}

// withhold holds the publish, and waits for room to do so.
func (c *conn) withhold(m *core.Message, id uint16) { c.withholdOne(m, id, false) }

// withholdOne is withhold, also for a cancel.
func (c *conn) withholdOne(m *core.Message, id uint16, cancel bool) {
	h := &c.held
	one := heldPublish{message: *m, id: id, cancel: cancel}
	c.inMu.Lock()
	if !c.mayHold(one.size()) {
		c.inMu.Unlock()
		c.reader.answers = true
		c.endBurst()
		c.inMu.Lock()
		for !c.mayHold(one.size()) && c.ending.Load() == nil {
			c.inRoom.Wait()
		}
	}
	one.message.Key = bytes.Clone(m.Key) // the reader's buffer is used again
	one.message.Schedule = bytes.Clone(m.Schedule)
	one.message.Properties, one.message.Payload = bytes.Clone(m.Properties), bytes.Clone(m.Payload)
	if len(h.queue) > 0 {
		c.countHeld(one.size())
	}
	h.queue = append(h.queue, one)
	h.count.Store(int64(len(h.queue)))
	c.inMu.Unlock()
	if h.stop == nil {
		h.stop = c.srv.broker.OnPressure(func(p core.Pressure) {
			if !p.Any() {
				c.flush.wake()
			}
		})
	} else if !c.srv.broker.Pressure().Any() {
		c.flush.wake() // the notice may have come before
	}
}

// mayHold tells whether there is room to hold n bytes more. c.inMu is held.
func (c *conn) mayHold(n int) bool {
	h := &c.held
	return len(h.queue) == 0 || len(h.queue) < int(c.srv.cfg.ReceiveMaximum) &&
		h.bytes+n <= heldPerClient && c.srv.held.Load()+int64(n) <= heldInAll
}

// countHeld counts n bytes as held, or as given back. c.inMu is held.
func (c *conn) countHeld(n int) {
	c.held.bytes += n
	c.srv.held.Add(int64(n))
}

// storeHeld publishes what is held, as far as there is room. It belongs to the
// writing goroutine.
func (c *conn) storeHeld() {
	for c.held.count.Load() > 0 {
		c.inMu.Lock()
		one := &c.held.queue[0]
		c.inMu.Unlock()
		result, err := c.storeOne(one)
		ack := session.PendingAck{ID: one.id, QoS: one.message.QoS}
		switch {
		case errors.Is(err, core.ErrPressure):
			return
		case errors.Is(err, core.ErrFull) && c.v5:
			ack.Reason, ack.Detail = uint8(reasonsFor(err).ack), err.Error()
		case err != nil:
			c.fail("publish what was held", err)
			return
		}
		ack.Seq = result.Seq
		c.inMu.Lock()
		c.in.Answer(ack)
		c.answers.Add(1)
		c.unhold()
		c.inRoom.Broadcast()
		c.inMu.Unlock()
	}
}

// storeOne publishes what was held, or cancels what it says.
func (c *conn) storeOne(one *heldPublish) (core.Published, error) {
	if !one.cancel {
		return c.publish(&one.message)
	}
	done, found, err := c.cancel(one.message.Schedule)
	if err == nil && !found {
		err = fmt.Errorf("no schedule '%s': %w", one.message.Schedule, core.ErrNotFound)
	}
	return done, err
}

// unhold takes the first out of the queue. c.inMu is held.
func (c *conn) unhold() {
	h := &c.held
	h.queue[0] = heldPublish{}
	h.queue = h.queue[1:]
	if len(h.queue) == 0 {
		h.queue = nil
	} else { // it is the first now, which does not count
		c.countHeld(-h.queue[0].size())
	}
	h.count.Store(int64(len(h.queue)))
}

// dropHeld gives up what is held, at the end of the connection.
func (c *conn) dropHeld() {
	if c.held.stop == nil {
		return
	}
	c.held.stop()
	c.inMu.Lock()
	defer c.inMu.Unlock()
	c.countHeld(-c.held.bytes)
	c.held.queue = nil
	c.held.count.Store(0)
}

// publish hands a message to the engine. The reader and, with what is held, the
// writer do.
func (c *conn) publish(m *core.Message) (core.Published, error) {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	p, err := c.openPublisher()
	if err != nil {
		return core.Published{}, err
	}
	return p.Publish(m)
}

// openPublisher returns the connection's publisher, made when it is needed first.
// c.publishing is held.
func (c *conn) openPublisher() (*core.Publisher, error) {
	p := c.publisher.Load()
	if p == nil {
		var err error
		if p, err = c.srv.broker.NewPublisher(c.namespace, c.session, c.settled); err != nil {
			return nil, fmt.Errorf("open publisher: %w", err)
		}
		c.publisher.Store(p)
	}
	return p, nil
}
