package core_test

import (
	"testing"

	"github.com/tidegate/tidegate/core"
)

// TestReturnsAreKept has messages of a quorum queue come back before and after
// crashes and stops: the counts go on, and so does the limit.
func TestReturnsAreKept(t *testing.T) {
	eachLetterWorld(t, func(t *testing.T, w *world) {
		w.queue("d")
		w.declare("q", with(with(deadTo("", "d"), "x-queue-type", "quorum"), "x-delivery-limit", int64(3)))
		p := w.publisher(nil)
		p.send(amqp("", "q", "1"))
		p.send(amqp("", "q", "2"))
		p.confirmed()
		c, wake := w.consume("q", core.NewLimit(1))
		for n := range uint32(2) {
			c.Settle(core.Requeue, w.returned(c, wake, "1", n))
		}
		w.returned(c, wake, "1", 2)
		p.send(amqp("", "q", "3")) // its confirm comes after the counts are durable
		p.confirmed()
		w.crash()

		c, wake = w.consume("q", core.NewLimit(1))
		c.Settle(core.Requeue, w.returned(c, wake, "1", 2))
		w.returned(c, wake, "1", 3)
		w.restart()

		c, wake = w.consume("q", core.NewLimit(1))
		c.Settle(core.Requeue, w.returned(c, wake, "1", 3))
		wantLetters(t, w.letters("d", 1), "1 delivery_limit@q")
		c.Settle(core.Ack, w.returned(c, wake, "2", 0))
		c.Settle(core.Requeue, w.returned(c, wake, "3", 0))
		w.returned(c, wake, "3", 1)
		w.restart()
		w.restart() // what the checkpoint has stays in it

		c, wake = w.consume("q", core.NewLimit(1))
		w.returned(c, wake, "3", 1)
	})
}

// TestReturnsComeFromTheLog loses the index: the counts come back with what the log
// still has.
func TestReturnsComeFromTheLog(t *testing.T) {
	w := newWorldWith(t, 1, calmLetters)
	w.declare("q", map[string]any{"x-queue-type": "quorum"})
	p := w.publisher(nil)
	p.send(amqp("", "q", "1"))
	p.confirmed()
	c, wake := w.consume("q", core.NewLimit(1))
	c.Settle(core.Requeue, w.returned(c, wake, "1", 0))
	w.returned(c, wake, "1", 1)
	w.restartWithoutIndex()
	c, wake = w.consume("q", core.NewLimit(1))
	w.returned(c, wake, "1", 1)
}

// TestManyReturnsAreKept has more messages come back at once than one record tells of.
func TestManyReturnsAreKept(t *testing.T) {
	const many = 20_000
	w := newWorldWith(t, 1, calmLetters)
	w.declare("q", map[string]any{"x-queue-type": "quorum"})
	p := w.publisher(nil)
	for range many {
		p.send(amqp("", "q", "x"))
	}
	p.confirmed()
	c, wake := w.consume("q", core.NewLimit(many))
	var all []core.Position
	for _, d := range w.take(c, wake, many) {
		all = append(all, d.Position)
	}
	c.Settle(core.Requeue, all...)
	for range 2 { // the second batch has the rest
		p.send(amqp("", "q", "later"))
		p.confirmed()
	}
	w.crash()
	c, wake = w.consume("q", core.NewLimit(many))
	for i, d := range w.take(c, wake, many) {
		if d.Returns != 1 {
			t.Fatalf("message %d came back %d times, want 1", i, d.Returns)
		}
	}
}

// returned takes one message, which came back so often.
func (w *world) returned(r receiver, wake chan struct{}, body string, times uint32) core.Position {
	w.t.Helper()
	d := w.take(r, wake, 1)
	if got := string(d[0].Message.Payload); got != body || d[0].Returns != times {
		w.t.Fatalf("got %q, which came back %d times, want %q and %d", got, d[0].Returns, body, times)
	}
	return d[0].Position
}
