package amqp

import (
	"context"
	"time"
)

// A delivery that is not acknowledged for too long closes its channel, so that a
// consumer that hangs does not keep its messages for ever. There is no timer per
// delivery: each has the time of the turn in which it was sent, and the reader
// looks through them now and then.

// longestLook is how far apart the looks are at most.
const longestLook = time.Minute

// timeout is how long the deliveries may be unacknowledged, 0 for ever. The queue's
// own counts before the server's.
func (s *settler) timeout(usual time.Duration) time.Duration {
	if own, given := s.engine.AckTimeout(); given {
		return own
	}
	return usual
}

// watchAcks has the reader look soon enough for deliveries that the settler gets.
func (c *connection) watchAcks(s *settler) {
	c.lookBy(c.srv.cfg.Clock.Now().Add(lookAfter(s.timeout(c.srv.cfg.ConsumerTimeout))))
}

// lookAfter is how far apart the looks are for a timeout. A policy may give one to
// those that have none.
func lookAfter(timeout time.Duration) time.Duration {
	if timeout == 0 {
		return longestLook
	}
	return min(timeout/4, longestLook)
}

func (c *connection) lookBy(at time.Time) {
	if c.look.IsZero() || at.Before(c.look) {
		c.look = at
	}
}

// checkAcks closes the channels with deliveries that were not acknowledged in
// time, if it is time to look for them.
func (c *connection) checkAcks(ctx context.Context) error {
	if c.look.IsZero() {
		return nil
	}
	now := c.srv.cfg.Clock.Now()
	if now.Before(c.look) {
		return nil
	}
	c.look = time.Time{}
	for _, ch := range c.channels {
		if ch.closing {
			continue
		}
		late, again := ch.lateAcks(now)
		if again > 0 {
			c.lookBy(now.Add(again))
		}
		if late == 0 || ch.held { // what is held may acknowledge
			continue
		}
		refused := refuse(codePreconditionFailed, "delivery acknowledgement on channel %d timed out. Timeout value used: %d ms."+
			" This timeout value can be configured, see consumers doc guide to learn more", ch.id, late.Milliseconds())
		if err := c.channelFailed(ctx, ch, 0, refused); err != nil {
			return err
		}
	}
	return nil
}

// lateAcks returns the timeout that a delivery has exceeded, 0 for none, and when to
// look again at the latest, 0 for never.
func (ch *channel) lateAcks(now time.Time) (late, again time.Duration) {
	usual, o := ch.c.srv.cfg.ConsumerTimeout, ch.c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	sooner := func(timeout time.Duration) {
		if next := lookAfter(timeout); again == 0 || next < again {
			again = next
		}
	}
	for _, k := range ch.consumers {
		if !k.noAck {
			sooner(k.settler.timeout(usual))
		}
	}
	elapsed := now.Sub(o.began)
	var last *settler
	var timeout time.Duration
	for _, d := range ch.unacked.unsettled() {
		if d.settler == nil {
			continue
		}
		if d.settler != last {
			last, timeout = d.settler, d.settler.timeout(usual)
			sooner(timeout)
		}
		if timeout > 0 && elapsed-d.at >= timeout {
			late = max(late, timeout)
		}
	}
	return late, again
}
