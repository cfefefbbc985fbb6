package amqp

import (
	"log/slog"
	"time"
)

// nudge makes the reader look at what it holds, wherever it waits. It may be
// called from any goroutine and does not block.
func (c *connection) nudge() {
	c.stop.Lock()
	defer c.stop.Unlock()
	if c.stop.nudged || c.stop.cause != nil {
		return
	}
	c.stop.nudged = true
	c.wakeReader()
}

// wakeReader ends the reader's wait for bytes, or for a nudge. c.stop is locked.
func (c *connection) wakeReader() {
	if err := c.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		c.log.Debug("read deadline not set", slog.Any("error", err))
	}
	select {
	case c.nudges <- struct{}{}:
	default: // one is there already
	}
}

// nudged takes a nudge, or the reason why reading has to end; nil is neither.
// c.stop is locked.
func (c *connection) nudged() error {
	switch {
	case c.stop.cause != nil:
		return c.stop.cause
	case c.stop.nudged:
		c.stop.nudged = false
		return errNudged
	}
	return nil
}

// awaitNudge waits without reading. The other side can't say anything
// meanwhile, so nothing is asked of it; that it is gone shows in heartbeats that
// can't be written.
func (c *connection) awaitNudge() error {
	for {
		c.stop.Lock()
		err := c.nudged()
		c.stop.Unlock()
		if err != nil {
			return err
		}
		<-c.nudges
	}
}
