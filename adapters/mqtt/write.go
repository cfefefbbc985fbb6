package mqtt

import (
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// write is the writing goroutine: it gathers acknowledgements that are due and
// deliveries that have room, writes them with one call, and ends when there is
// nothing left.
func (c *conn) write() {
	defer func() {
		if r := recover(); r != nil {
			c.recovered(r)
			c.flush.rest()
		}
	}()
	for {
		more := false
		if c.ending.Load() == nil && !c.mayReceive() {
			c.end(wire.NotAuthorized, "a subscription is not allowed any more")
		}
		if c.ending.Load() == nil {
			c.storeHeld()
			c.gatherAcks()
			more = c.gatherDeliveries()
			c.drainOn()
		}
		buf, last := c.out.take()
		if buf == nil {
			if last {
				c.closeWrite()
			}
			if !more && c.flush.rest() {
				return
			}
			continue
		}
		c.limitWrite()
		_, err := c.nc.Write(*buf)
		c.out.release(buf)
		if err != nil {
			c.writeFailed(err)
		}
	}
}

// stalled is how long a client that is bound to a keep alive may take nothing
// of what is written to it, at least.
const stalled = time.Minute

// limitWrite bounds the next write: a client that does not read can't be seen
// to be alive, since it is not read either. Its session goes on without it.
func (c *conn) limitWrite() {
	if c.keepAlive > 0 {
		c.tolerate(c.nc.SetWriteDeadline(time.Now().Add(max(2*c.keepAlive, stalled))))
	}
}

// writeFailed ends a connection that can't be written to. The reader finds out
// at once, because its deadline has passed.
func (c *conn) writeFailed(err error) {
	if !goneAway(err) {
		c.log().Debug("write", slog.Any("error", err))
	}
	c.end(wire.UnspecifiedError, "")
	c.out.mu.Lock()
	c.out.buf = nil
	c.out.mu.Unlock()
	c.tolerate(c.nc.SetReadDeadline(time.Now()))
}

// closeWrite tells the peer that nothing follows, where the transport can.
func (c *conn) closeWrite() {
	if half, ok := c.nc.Conn.(interface{ CloseWrite() error }); ok {
		c.tolerate(half.CloseWrite())
	}
}

// gatherAcks appends the acknowledgements whose publishes are settled.
func (c *conn) gatherAcks() {
	c.inMu.Lock()
	waiting := c.in.Waiting()
	c.inMu.Unlock()
	if !waiting {
		return
	}
	var settled uint64
	if p := c.publisher.Load(); p != nil {
		var err error
		if settled, err = p.Settled(); err != nil {
			c.fail("settle publishes", err)
		}
	}
	stored, err := c.session.Stored()
	if err != nil {
		c.fail("store session", err)
	}
	c.inMu.Lock()
	defer c.inMu.Unlock()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.closed {
		return
	}
	b := c.out.bytes()
	sent := uint64(0)
	for {
		a, ok := c.in.NextAck(settled)
		if !ok {
			break
		}
		t := wire.TypePuback
		if a.QoS == 2 {
			t = wire.TypePubrec
		}
		b = wire.AppendAck(b, t, a.ID, wire.Reason(a.Reason), c.tellable(a.Detail), c.v5)
		sent++
	}
	for {
		comp, ok := c.in.NextComp(stored)
		if !ok {
			break
		}
		b = wire.AppendAck(b, wire.TypePubcomp, comp.ID, wire.Reason(comp.Reason), "", c.v5)
	}
	c.out.put(b)
	c.answers.Add(-int64(sent))
	c.srv.counters.acknowledged.Add(sent)
	c.inRoom.Broadcast()
}

// tellable is the reason string that the client may be sent: none when it did
// not ask for them or takes only small packets.
func (c *conn) tellable(detail string) string {
	if !c.problemInfo || c.out.maxPacket > 0 && len(detail)+16 > c.out.maxPacket {
		return ""
	}
	return detail
}

// fail ends the connection for an error of the engine: what the client sent can
// no longer be confirmed.
func (c *conn) fail(doing string, err error) {
	if c.ending.Load() == nil {
		c.log().Warn("connection ended", slog.String("doing", doing), slog.Any("error", err))
	}
	c.end(reasonsFor(err).disconnect, "")
}
