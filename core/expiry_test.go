package core_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// What is over, and the timer has not yet looked at, does not make a queue too long:
// the living keep their place.
func TestLengthCountsTheLiving(t *testing.T) {
	now := &aged{Clock: clock.System}
	w := newWorldWith(t, 1, func(_ *core.Config, d *core.Deps) { d.Clock = now })
	w.declare("q", map[string]any{"x-max-length": int64(2)})
	p := w.publisher(nil)
	p.send(amqp("", "q", "living"))
	p.send(w.expiring(now, "q", "over", time.Minute))
	p.confirmed()
	now.move(2 * time.Minute)
	p.send(amqp("", "q", "new"))
	p.confirmed()
	c, wake := w.consume("q")
	want(t, w.take(c, wake, 2), "living", "new")
}

// What is unacknowledged when more comes than may wait is not dropped, also under
// confirms, and counts again when it comes back.
func TestLengthPassesOverTheUnacknowledged(t *testing.T) {
	w := newWorld(t, 1)
	w.declare("q", map[string]any{"x-max-length": int64(2)})
	c, wake := w.consume("q", core.NewLimit(3))
	p := w.publisher(nil)
	p.numbers("q", 1, 3)
	held := w.take(c, wake, 3)
	p.numbers("q", 4, 9)
	if st, err := w.CheckQueue("/", "q", ""); err != nil || st.Ready != 2 || st.Unsettled != 3 {
		t.Errorf("got %+v, %v, want 2 that wait beside 3", st, err)
	}
	c.Settle(core.Ack, held[1].Position)
	want(t, w.take(c, wake, 1), "8")
	c.Settle(core.Requeue, held[2].Position)
	want(t, w.take(c, wake, 1), "3!")
	if n := w.Stats().Overflowed; n != 4 {
		t.Errorf("%d messages were dropped, want 4 to 7", n)
	}
}

// A clock that goes back ends nothing before its time, and what was over stays so,
// also over a crash.
func TestClockGoesBack(t *testing.T) {
	now := &aged{Clock: clock.System}
	w := newWorldWith(t, 1, func(_ *core.Config, d *core.Deps) { d.Clock = now })
	w.declare("q", ttl(time.Minute))
	w.publisher(nil).numbers("q", 1, 2)
	now.move(2 * time.Minute)
	if n := w.ready("q"); n != 0 {
		t.Fatalf("%d messages are ready after their time", n)
	}
	w.publisher(nil).numbers("q", 3, 4) // ends 3 minutes from the start
	now.move(-time.Hour)
	w.publisher(nil).numbers("q", 5, 6)
	for _, step := range []struct {
		pass time.Duration
		want uint64
	}{{0, 4}, {30 * time.Second, 4}, {time.Minute, 2}, {50 * time.Minute, 2}, {10 * time.Minute, 0}} {
		now.move(step.pass)
		for _, again := range []func(){w.crash, func() {}, w.restart} {
			again()
			if n := w.ready("q"); n != step.want {
				t.Fatalf("%v later %d messages are ready, want %d", step.pass, n, step.want)
			}
		}
	}
}

// Crashes in the midst of an expiry keep what is to live and nothing else, whatever
// of the acks, the index and the rewritten segments is on the disk.
func TestCrashesWhileMessagesExpire(t *testing.T) {
	now := &aged{Clock: clock.System}
	w := newWorldWith(t, 1, func(_ *core.Config, d *core.Deps) { d.Clock = now })
	w.declare("q", nil)
	w.declare("hour", ttl(time.Hour))
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "q"}))
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "hour"}))
	const rounds, each = 12, 40
	var living []string
	for round := range rounds {
		p := w.publisher(nil)
		for i := range each {
			m := amqp("amq.fanout", "", strconv.Itoa(round*each+i))
			if i%4 > 0 {
				m.ExpireAt = now.Now().Add(time.Duration(i%4) * time.Minute).UnixMilli()
			} else {
				living = append(living, string(m.Payload))
			}
			p.send(m)
		}
		p.confirmed()
		for left := uint64(3); ; left-- {
			w.eventually("q", uint64(len(living))+left*each/4)
			w.eventually("hour", uint64(len(living))+left*each/4)
			if left == 0 {
				break
			}
			now.move(time.Minute)
			if w.ready("q"); w.rng.IntN(2) == 0 {
				w.crash()
			}
		}
		if round%3 == 2 {
			w.loseOne(1)
		}
	}
	c, wake := w.consume("q")
	want(t, w.take(c, wake, len(living)), living...)
	now.move(2 * time.Hour)
	w.eventually("hour", 0)
}
