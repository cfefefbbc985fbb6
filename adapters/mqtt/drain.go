package mqtt

import (
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// drainPhase is how far a connection is on its way to the goodbye of a server that stops.
// First the client completes what it has been sent, and everything else goes on; then what
// it has sent is answered. So neither side sends again what the other has.
type drainPhase = uint32

const (
	serving   drainPhase = iota
	settling             // no PUBLISH leaves
	answering            // and none is taken
)

const shutdownText = "server is shutting down"

// startDrain begins the end of a connection whose server stops. It does not block.
func (c *conn) startDrain() {
	grace := c.nc.DrainGrace
	if grace <= 0 {
		c.end(wire.ServerShuttingDown, shutdownText)
		return
	}
	c.shared.hold(c)
	c.drain.Store(settling)
	c.inMu.Lock()
	c.drainTimer = time.AfterFunc(grace, c.drainLate)
	c.srv.counters.draining.Add(1)
	c.inMu.Unlock()
	c.flush.wake()
}

// drainLate ends the phase that has taken too long.
func (c *conn) drainLate() {
	c.inMu.Lock()
	late := c.drain.Swap(answering) == answering
	if !late {
		c.drainTimer.Reset(lingerTime)
	}
	c.inMu.Unlock()
	if late {
		c.end(wire.ServerShuttingDown, shutdownText)
	} else {
		c.flush.wake()
	}
}

// stopDrain is called when the connection has ended.
func (c *conn) stopDrain() {
	c.inMu.Lock()
	defer c.inMu.Unlock()
	if c.drainTimer != nil {
		c.drainTimer.Stop()
		c.srv.counters.draining.Add(-1)
	}
}

// drainOn takes the connection to the next phase when it is time, and ends it behind the
// last answer. It belongs to the writing goroutine.
func (c *conn) drainOn() {
	phase := c.drain.Load()
	if phase == serving || phase == settling && !c.shared.idle(c) {
		return
	}
	c.inMu.Lock()
	c.drain.Store(answering)
	answered := c.in.Idle()
	c.inMu.Unlock()
	if answered {
		c.end(wire.ServerShuttingDown, shutdownText)
	}
}

// hold keeps messages from being sent on the connection; what was sent is completed.
func (sh *shared) hold(c *conn) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.owner == c {
		sh.inflight.Hold()
	}
}

// idle tells that the client owes no acknowledgement.
func (sh *shared) idle(c *conn) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.owner != c || sh.inflight.Idle()
}
