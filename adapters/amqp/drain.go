package amqp

import (
	"context"
	"errors"
)

// errShutdown ends the reader when the server stops.
var errShutdown = errors.New("server is shutting down")

// drain ends the connection for a server that stops. Nothing more is delivered; the client
// may acknowledge what it has, and do all else, until nothing is unacknowledged or its
// grace is over. It returns when the reader has to end, or working is done because it did.
func (c *connection) drain(working context.Context) {
	if grace := c.conn.DrainGrace; grace > 0 {
		c.out.mu.Lock()
		c.out.quiet = true
		c.out.mu.Unlock()
		c.draining.Store(true)
		c.nudge()
		over := c.srv.cfg.Clock.NewTimer(grace)
		defer over.Stop()
		select {
		case <-over.C:
		case <-working.Done():
			return
		}
	}
	c.interrupt(errShutdown)
}

// settledAll tells whether the client owes no acknowledgement. One that has not logged in
// does not.
func (c *connection) settledAll() bool {
	if c.state != running {
		return true
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	for _, ch := range c.channels {
		if ch.unacked.len() > 0 {
			return false
		}
	}
	return true
}
