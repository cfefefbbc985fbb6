package core_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// aged is a clock that is ahead of the system's by as much as it was moved.
// Timers do not know of that.
type aged struct {
	clock.Clock
	by atomic.Int64 // nanoseconds
}

func (c *aged) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.by.Load())) }

// move moves the clock, also back.
func (c *aged) move(by time.Duration) { c.by.Add(int64(by)) }

// ready is how many messages of a queue wait.
func (w *world) ready(queue string) uint64 {
	w.t.Helper()
	st, err := w.CheckQueue("/", queue, "")
	w.must(err)
	return st.Ready
}

// expiring is a message that is over after a time.
func (w *world) expiring(c clock.Clock, queue, body string, ttl time.Duration) core.Message {
	m := amqp("", queue, body)
	m.ExpireAt = c.Now().Add(ttl).UnixMilli()
	return m
}

func ttl(d time.Duration) map[string]any { return map[string]any{"x-message-ttl": d.Milliseconds()} }

func TestMessagesExpireAcrossCrashes(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			now := &aged{Clock: clock.System}
			w := newWorldWith(t, shards, func(_ *core.Config, d *core.Deps) { d.Clock = now })
			w.declare("minute", ttl(time.Minute))
			w.declare("hour", ttl(time.Hour))
			w.queue("free")
			for _, q := range []string{"minute", "hour", "free"} {
				w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
			}
			p := w.publisher(nil)
			p.send(amqp("amq.fanout", "", "all"))
			p.send(w.expiring(now, "free", "long", 3*time.Hour))
			p.send(w.expiring(now, "free", "short", time.Second))
			p.send(w.expiring(now, "hour", "less than an hour", 2*time.Minute))
			p.send(w.expiring(now, "minute", "not longer than a minute", time.Hour))
			p.confirmed()
			for i, step := range []struct {
				pass               time.Duration
				minute, hour, free uint64
			}{
				{0, 2, 2, 3},
				{2 * time.Second, 2, 2, 2}, // behind one that lives longer
				{time.Minute, 0, 2, 2},
				{time.Minute, 0, 1, 2},
				{time.Hour, 0, 0, 2},
				{2 * time.Hour, 0, 0, 1},
			} {
				now.move(step.pass)
				for _, again := range []func(){w.crash, func() {}, w.restart, func() { w.loseOne(i) }} {
					again()
					got := [3]uint64{w.ready("minute"), w.ready("hour"), w.ready("free")}
					if want := [3]uint64{step.minute, step.hour, step.free}; got != want {
						t.Fatalf("step %d: %v messages are ready, want %v", i, got, want)
					}
				}
			}
			c, wake := w.consume("free")
			want(t, w.take(c, wake, 1), "all")
		})
	}
}

// loseOne starts again without the index, in every second step.
func (w *world) loseOne(step int) {
	if step%2 == 0 {
		return
	}
	w.close()
	w.loseIndex()
	w.open()
}

// What is in flight at its deadline may still be settled, and ends when it comes
// back. What is assigned and not yet handed out ends at once.
func TestExpiryOfWhatIsInFlight(t *testing.T) {
	now := &aged{Clock: clock.System}
	w := newWorldWith(t, 1, func(_ *core.Config, d *core.Deps) { d.Clock = now })
	w.declare("q", ttl(time.Minute))
	c, wake := w.consume("q", core.NewLimit(4))
	p := w.publisher(nil)
	for _, body := range []string{"acked", "requeued", "held", "assigned", "ready"} {
		p.send(amqp("", "q", body))
	}
	p.confirmed()
	got := w.take(c, wake, 3)
	want(t, got, "acked", "requeued", "held")
	now.move(2 * time.Minute)
	if more, err := c.Next(nil, 10); err != nil || len(more) > 0 {
		t.Fatalf("after the deadline got %v, %v", bodies(more), err)
	}
	c.Settle(core.Ack, got[0].Position)
	c.Settle(core.Requeue, got[1].Position)
	w.must(c.Cancel(t.Context()))
	if st, err := w.CheckQueue("/", "q", ""); err != nil || st.Ready != 0 || st.Unsettled != 1 {
		t.Errorf("got %+v, %v, want one in flight", st, err)
	}
	w.crash() // its consumer is gone
	if n := w.ready("q"); n != 0 {
		t.Errorf("%d messages are ready after the crash", n)
	}
}

// With a time to live of 0 a message goes to a consumer with room, or to nobody.
func TestNoTimeToLive(t *testing.T) {
	w := newWorld(t, 1)
	w.declare("q", ttl(0))
	w.queue("free")
	p := w.publisher(nil)
	p.send(amqp("", "q", "nobody"))
	p.send(w.expiring(clock.System, "free", "nobody", 0))
	p.confirmed()
	if a, b := w.ready("q"), w.ready("free"); a+b != 0 {
		t.Errorf("%d and %d messages wait for a consumer", a, b)
	}
	for _, queue := range []string{"q", "free"} {
		c, wake := w.consume(queue, core.NewLimit(1))
		p.send(amqp("", queue, "x")) // has the log say that deliveries may begin
		if queue == "free" {
			got := w.take(c, wake, 1)
			c.Settle(core.Ack, got[0].Position)
		}
		p.confirmed()
		p.send(w.expiring(clock.System, queue, "one", 0))
		got := w.take(c, wake, 1)
		p.send(w.expiring(clock.System, queue, "no room", 0))
		p.confirmed()
		c.Settle(core.Requeue, got[0].Position)
		if more, err := c.Next(nil, 10); err != nil || len(more) > 0 {
			t.Errorf("%s: got %v, %v, want nothing", queue, bodies(more), err)
		}
	}
}

// The timer of the shard ends messages with nobody looking.
func TestTimerEndsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calm)
		w.declare("q", ttl(30*time.Second))
		w.declare("far", ttl(time.Hour))
		p := w.publisher(nil)
		for range 100 {
			p.send(amqp("", "q", "x"))
			p.send(amqp("", "far", "x"))
		}
		p.confirmed()
		settled := func() uint64 { return w.Stats().Expired }
		for _, step := range []struct {
			pass time.Duration
			want uint64
		}{{29 * time.Second, 0}, {2 * time.Second, 100}, {58 * time.Minute, 100}, {2 * time.Minute, 200}} {
			<-time.After(step.pass)
			synctest.Wait()
			if got := settled(); got != step.want {
				t.Errorf("%v later %d messages have expired, want %d", step.pass, got, step.want)
			}
		}
	})
}
