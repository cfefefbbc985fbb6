package core_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// numbers publishes numbered messages and waits for their confirms.
func (p *publisher) numbers(queue string, from, to int) {
	p.w.t.Helper()
	for i := from; i <= to; i++ {
		p.send(amqp("", queue, strconv.Itoa(i)))
	}
	p.confirmed()
}

func TestQueueKeepsItsLength(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("index_lost=%v", lost), func(t *testing.T) {
			w := newWorld(t, 1)
			w.declare("q", map[string]any{"x-max-length": int64(3)})
			p := w.publisher(nil)
			p.numbers("q", 1, 20)
			if n := w.ready("q"); n != 3 {
				t.Errorf("%d messages wait, want 3", n)
			}
			if n := w.Stats().Overflowed; n != 17 {
				t.Errorf("%d messages were dropped, want 17", n)
			}
			w.crash()
			if lost {
				w.close()
				w.loseIndex()
				w.open()
			}
			c, wake := w.consume("q", core.NewLimit(1))
			got := w.take(c, wake, 1)
			want(t, got, "18")
			p = w.publisher(nil)
			p.numbers("q", 21, 22) // 18 is in flight and does not count
			c.Settle(core.Requeue, got[0].Position)
			w.must(c.Cancel(t.Context()))
			c, wake = w.consume("q")
			want(t, w.take(c, wake, 3), "20", "21", "22")
		})
	}
}

// Nothing waits in a queue of length 0, but who has room gets what comes.
func TestQueueOfNoLength(t *testing.T) {
	w := newWorld(t, 1)
	w.declare("q", map[string]any{"x-max-length": int64(0)})
	p := w.publisher(nil)
	p.numbers("q", 1, 3)
	if n := w.ready("q"); n != 0 {
		t.Errorf("%d messages wait", n)
	}
	c, wake := w.consume("q", core.NewLimit(2))
	p.numbers("q", 4, 6)
	want(t, w.take(c, wake, 2), "4", "5")
	if more, err := c.Next(nil, 1); err != nil || len(more) > 0 {
		t.Errorf("got %v, %v beyond the prefetch", bodies(more), err)
	}
}

// A message without any time to live takes nobody's place.
func TestLengthAndTimeToLive(t *testing.T) {
	w := newWorld(t, 1)
	w.declare("q", map[string]any{"x-max-length": int64(2), "x-message-ttl": time.Hour.Milliseconds()})
	p := w.publisher(nil)
	p.numbers("q", 1, 2)
	p.send(w.expiring(clock.System, "q", "nobody", 0))
	p.confirmed()
	c, wake := w.consume("q")
	want(t, w.take(c, wake, 2), "1", "2")
}

// The bytes that wait are counted over crashes, over a loss of the index and of
// what waited before the limit came, and count bodies alone.
func TestQueueKeepsItsBytes(t *testing.T) {
	for _, lost := range []bool{false, true} {
		t.Run(fmt.Sprintf("index_lost=%v", lost), func(t *testing.T) {
			w := newWorld(t, 1)
			again := func() {
				if w.crash(); lost {
					w.restartWithoutIndex()
				}
			}
			w.declare("q", map[string]any{"x-max-length-bytes": int64(6)})
			p := w.publisher(nil)
			p.numbers("q", 8, 20) // 8 and 9 are one byte long
			if n := w.ready("q"); n != 3 {
				t.Errorf("%d messages wait, want 3", n)
			}
			again()
			p = w.publisher(nil)
			p.numbers("q", 1, 1)
			c, wake := w.consume("q", core.NewLimit(1))
			got := w.take(c, wake, 1)
			want(t, got, "19")
			p.numbers("q", 21, 22) // 19 is in flight and does not count
			again()
			p = w.publisher(nil)
			p.numbers("q", 2, 3)
			c, wake = w.consume("q")
			want(t, w.take(c, wake, 4), "21!", "22!", "2!", "3!") // 19 came back, and was too much
		})
	}
}

// A policy counts the bytes of what was there before it, whether the index has it
// already or not.
func TestPoliciesBoundBytes(t *testing.T) {
	for _, spill := range []int{1, 1 << 20} {
		t.Run(fmt.Sprintf("spill=%d", spill), func(t *testing.T) {
			w := newWorldWith(t, 1, func(c *core.Config, d *core.Deps) {
				calm(c, d)
				c.SpillRefs = spill
			})
			w.queue("q")
			_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "fleeting"})
			w.must(err)
			p := w.publisher(nil)
			for _, q := range []string{"q", "fleeting"} {
				p.numbers(q, 1, 700)
			}
			c, wake := w.consume("q", core.NewLimit(50))
			for _, d := range w.take(c, wake, 50) {
				c.Settle(core.Ack, d.Position)
			}
			w.must(c.Cancel(t.Context()))
			w.govern("p", map[string]any{"max-length-bytes": int64(1000)})
			if q, f := w.ready("q"), w.ready("fleeting"); q != 333 || f != 333 {
				t.Errorf("%d and %d messages wait, want 333", q, f)
			}
			p.numbers("q", 90, 99)
			if n := w.ready("q"); n != 336 { // 1000 bytes: 326 of three, 10 of two
				t.Errorf("%d messages wait, want 336", n)
			}
			w.ungovern("p")
			p.numbers("q", 100, 199)
			w.crash()
			w.govern("p", map[string]any{"max-length-bytes": int64(302)})
			if n := w.ready("q"); n != 101 { // 100 of three bytes and one of two
				t.Errorf("%d messages wait, want 101", n)
			}
		})
	}
}
