package core_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// heldWorld has queues, in different shards where there are several, that get what is
// published to the topic exchange with keys held.#.
type heldWorld struct {
	*world
}

func newHeldWorld(t *testing.T, shards int) *heldWorld {
	t.Helper()
	w := &heldWorld{newWorldWith(t, shards, calmLetters)}
	for _, q := range txQueues {
		w.queue(q)
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: q, Key: "held.#"}))
	}
	return w
}

// later is a message that is due in a while.
func (w *heldWorld) later(body string, in time.Duration) core.Message {
	w.t.Helper()
	m := amqp(core.TopicExchange, "held."+body, body)
	var err error
	m.DeliverAt, err = w.DueIn(in.Milliseconds())
	w.must(err)
	return m
}

func (w *heldWorld) schedule(name, body string, in time.Duration) core.Message {
	w.t.Helper()
	m := w.later(body, in)
	m.Schedule, m.ReplacesAny = []byte(name), true
	return m
}

// hold publishes messages, and waits for the confirms.
func (w *heldWorld) hold(ms ...core.Message) {
	w.t.Helper()
	p := w.publisher(nil)
	for i := range ms {
		if got := p.send(ms[i]); !got.Routed {
			w.t.Fatalf("%s is not held", ms[i].Payload)
		}
	}
	p.confirmed()
}

// cancel gives up a schedule, and tells whether there was one.
func (w *heldWorld) cancel(name string) bool {
	w.t.Helper()
	p := w.publisher(nil)
	done, found, err := p.p.Cancel([]byte(name))
	w.must(err)
	p.n = done.Seq
	p.confirmed()
	return found
}

// came returns what is in the queues, which must be the same in all.
func (w *heldWorld) came() []string {
	w.t.Helper()
	all := map[string][]string{}
	for _, s := range w.everything() {
		all[s[:1]] = append(all[s[:1]], s[2:])
	}
	for _, q := range txQueues {
		if !slices.Equal(all[q], all["a"]) {
			w.t.Fatalf("queue %s has %v, queue a %v", q, all[q], all["a"])
		}
	}
	return all["a"]
}

// alike tells whether all queues have the same.
func (w *heldWorld) alike() bool {
	all := map[string][]string{}
	for _, s := range w.everything() {
		all[s[:1]] = append(all[s[:1]], s[2:])
	}
	return !slices.ContainsFunc(txQueues, func(q string) bool { return !slices.Equal(all[q], all["a"]) })
}

func (w *heldWorld) wantCame(when string, want ...string) {
	w.t.Helper()
	if got := w.came(); !slices.Equal(got, want) {
		w.t.Fatalf("%s: %v came, want %v", when, got, want)
	}
}

func (w *heldWorld) wantHeld(when string, want uint64) {
	w.t.Helper()
	if got := w.HeldMessages("/"); got != want {
		w.t.Fatalf("%s: %d messages are held, want %d", when, got, want)
	}
}

func TestHeldIsDueAtItsTime(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(strconv.Itoa(shards), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newHeldWorld(t, shards)
				w.hold(w.later("2", 2*time.Second), w.later("1", time.Second), w.later("3", 3*time.Second))
				until(999 * time.Millisecond)
				w.wantCame("before the first")
				w.wantHeld("before the first", 3)
				until(2 * time.Millisecond)
				w.wantCame("at the first", "1")
				until(998 * time.Millisecond)
				w.wantCame("before the second", "1")
				until(2 * time.Millisecond)
				w.wantCame("at the second", "1", "2")
				w.restart()
				w.wantCame("after a restart", "1", "2")
				w.wantHeld("after a restart", 1)
				until(2 * time.Second)
				w.wantCame("at the third", "1", "2", "3")
				w.wantHeld("at last", 0)
			})
		})
	}
}

func TestHeldOverdueAtAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 1)
		var ms []core.Message
		for i := range 20 {
			ms = append(ms, w.later(fmt.Sprintf("%02d", 19-i), time.Duration(20-i)*time.Second))
		}
		w.hold(ms...)
		w.close()
		until(time.Hour)
		w.open()
		until(100 * time.Millisecond)
		c, wake := w.consume("a")
		got := bodies(w.take(c, wake, 20))
		if !slices.IsSorted(got) {
			t.Errorf("not in the order of their times: %v", got)
		}
		w.wantHeld("at last", 0)
	})
}

func TestHeldKeepsWhatTheMessageHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 3)
		m := w.later("x", time.Second)
		m.Properties = []byte("properties")
		m.ExpireAt = time.Now().Add(5 * time.Second).UnixMilli()
		w.hold(m)
		until(1100 * time.Millisecond)
		for _, q := range txQueues {
			d, g, _, ok, err := w.Get(t.Context(), "/", q, "", false)
			w.must(err)
			if !ok {
				t.Fatalf("queue %s has nothing", q)
			}
			if string(d.Message.Properties) != "properties" || string(d.Message.Key) != "held.x" || d.Message.QoS != 1 {
				t.Errorf("queue %s: got %+v", q, d.Message)
			}
			if got := d.Message.ExpireAt - time.Now().UnixMilli(); got < 4800 || got > 5000 {
				t.Errorf("queue %s: expires in %d ms, want 5 s from when it was due", q, got)
			}
			g.Settle(core.Requeue, d.Position)
		}
		until(5 * time.Second)
		w.wantCame("after it has expired")
	})
}

func TestHeldIsRoutedWhenItIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 3)
		m := w.later("x", time.Second)
		m.Key, m.MoreKeys = []byte("first"), [][]byte{[]byte("second")}
		n := w.later("y", time.Second)
		n.Exchange = []byte("gone")
		_, err := w.publisher(nil).p.Publish(&n)
		if err == nil {
			t.Error("held for an exchange that is not there")
		}
		w.hold(m)
		for _, q := range txQueues {
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: q, Key: "second"}))
		}
		until(2 * time.Second)
		w.wantCame("bound after the publish", "x")
	})
}

func TestHeldBecomesTheRetainedValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 3)
		for i := range 8 {
			m := mqtt(fmt.Sprintf("t/%d", i), "v", 1)
			m.Retain = true
			var err error
			m.DeliverAt, err = w.DueIn(1000)
			w.must(err)
			w.hold(m)
		}
		until(1100 * time.Millisecond)
		w.restart()
		s, c, _ := w.session("reader", 0, true)
		_, err := s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "t/#", QoS: 1, Retained: true}})
		w.must(err)
		if got := w.take(s, c, 8); string(got[0].Message.Payload) != "v" {
			t.Errorf("got %s, want v", got[0].Message.Payload)
		}
	})
}

func TestScheduleIsReplaced(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newHeldWorld(t, 3)
			w.hold(w.schedule("s", "old", time.Second), w.schedule("s", "older", 5*time.Second), w.schedule("t", "other", 2*time.Second))
			if restart {
				w.restart()
			}
			w.hold(w.schedule("s", "new", 3*time.Second))
			w.wantHeld("after all", 2)
			if restart {
				w.restart()
			}
			until(10 * time.Second)
			w.wantCame("at last", "new", "other")
			w.hold(w.schedule("s", "again", time.Second))
			until(10 * time.Second)
			w.wantCame("at last", "again", "new", "other")
		})
	}
}

func TestScheduleIsCancelled(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newHeldWorld(t, 3)
			w.hold(w.schedule("s", "x", time.Second), w.schedule("sx", "y", time.Second))
			if restart {
				w.restart()
			}
			if !w.cancel("s") || w.cancel("s") || w.cancel("unknown") {
				t.Error("a schedule is cancelled once, an unknown one never")
			}
			w.wantHeld("after the cancel", 1)
			if restart {
				w.restart()
			}
			if w.cancel("s") {
				t.Error("cancelled once more")
			}
			until(10 * time.Second)
			w.wantCame("at last", "y")
			if w.cancel("sx") {
				t.Error("cancelled what was delivered")
			}
		})
	}
}

// TestHeldInATransaction has all of a transaction, or nothing, held.
func TestHeldInATransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 3)
		p := w.publisher(nil)
		tx := p.p.Begin()
		for _, body := range []string{"1", "2", "3", "4"} {
			m := w.later(body, time.Second)
			_, err := tx.Publish(&m)
			w.must(err)
		}
		m := amqp(core.TopicExchange, "held.now", "0")
		_, err := tx.Publish(&m)
		w.must(err)
		named := w.schedule("s", "5", time.Second)
		if _, err := tx.Publish(&named); err == nil {
			t.Error("a schedule with a name in a transaction")
		}
		w.wantHeld("before the commit", 0)
		w.must(tx.Commit())
		w.wantHeld("after the commit", 4)
		w.wantCame("after the commit", "0")
		w.restart()
		until(2 * time.Second)
		w.wantCame("at last", "0", "1", "2", "3", "4")
	})
}

// TestHeldNeverEarly has the wall clock of the publisher between two milliseconds.
func TestHeldNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 1)
		for _, into := range []time.Duration{0, 1, 400 * time.Microsecond, 999999} {
			<-time.After(into)
			begin := time.Now()
			at, err := w.DueIn(1)
			w.must(err)
			if got := time.UnixMilli(at).Sub(begin); got < time.Millisecond || got >= 2*time.Millisecond {
				t.Errorf("%v into the millisecond: due in %v, want 1 ms to 2 ms", into, got)
			}
		}
		if _, err := w.DueIn(time.Hour.Milliseconds() * 24 * 366); err == nil {
			t.Error("due in more than a year")
		}
	})
}

// eachHeldCrash ends the process before each step on the disk of what do does with a
// world that prepare has made, with none, some and all of what was not synced kept.
func eachHeldCrash(t *testing.T, prepare, do func(w *heldWorld), check func(w *heldWorld, reached bool)) {
	for _, of := range []struct{ shards, kept int }{{1, 50}, {3, 0}, {3, 50}, {3, 100}} {
		t.Run(fmt.Sprintf("shards=%d/kept=%d", of.shards, of.kept), func(t *testing.T) {
			for step := 0; ; step++ {
				w := newHeldWorld(t, of.shards)
				prepare(w)
				reached := w.crashDuring(step, of.kept, func() { do(w) })
				check(w, reached != notReached)
				before := w.came()
				w.loseIndexCleanly()
				w.wantCame("after one more start without index", before...)
				if reached == notReached {
					return
				}
			}
		})
	}
}

// lives tells whether the crash is still to come.
func (w *heldWorld) lives() bool {
	_, err := w.store.Get(w.t.Context(), "x")
	return !errors.Is(err, metadata.ErrUnavailable)
}

// loseIndexCleanly stops, loses the indexes, and starts again.
func (w *heldWorld) loseIndexCleanly() {
	w.t.Helper()
	w.close()
	w.loseIndex()
	w.open()
}

// drained waits until nothing is held, and all of what was is in each of the queues.
func (w *heldWorld) drained() {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.HeldMessages("/") > 0 || !w.alike() {
		select {
		case <-tick.C:
		case <-w.t.Context().Done():
			w.t.Fatal("messages are held")
		}
	}
}

// TestHeldIsDeliveredOnceOverCrashes crashes while messages are held and delivered.
func TestHeldIsDeliveredOnceOverCrashes(t *testing.T) {
	confirmed := false
	eachHeldCrash(t, func(*heldWorld) { confirmed = false }, func(w *heldWorld) {
		w.hold(w.later("x", time.Millisecond), w.later("y", 0))
		confirmed = w.lives()
		w.drained()
	}, func(w *heldWorld, reached bool) {
		w.drained()
		got := w.came()
		if !reached || confirmed {
			w.wantCame("after the confirms", "x", "y")
		}
		for _, body := range []string{"x", "y"} {
			if n := len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s != body })); n > 1 {
				w.t.Fatalf("%s came %d times", body, n)
			}
		}
	})
}

// TestHeldDeliveryCrashes crashes while a message that was confirmed before is due.
func TestHeldDeliveryCrashes(t *testing.T) {
	var at int64
	eachHeldCrash(t, func(w *heldWorld) {
		m := w.later("x", 30*time.Millisecond)
		at = m.DeliverAt
		w.hold(m)
	}, func(w *heldWorld) {
		w.drained()
	}, func(w *heldWorld, _ bool) {
		w.drained()
		if now := time.Now().UnixMilli(); now < at {
			w.t.Fatalf("came %d ms early", at-now)
		}
		w.wantCame("after the crash", "x")
	})
}

// TestCancelCrashes crashes while a schedule is cancelled, and another replaced.
func TestCancelCrashes(t *testing.T) {
	cancelled := false
	eachHeldCrash(t, func(w *heldWorld) {
		cancelled = false
		w.hold(w.schedule("s", "x", 50*time.Millisecond), w.schedule("r", "old", 50*time.Millisecond))
	}, func(w *heldWorld) {
		found := w.cancel("s")
		w.hold(w.schedule("r", "new", 10*time.Millisecond))
		cancelled = found && w.lives()
	}, func(w *heldWorld, reached bool) {
		w.drained()
		got := w.came()
		if cancelled && slices.Contains(got, "x") {
			w.t.Fatalf("a cancelled schedule was delivered: %v", got)
		}
		if slices.Contains(got, "old") == slices.Contains(got, "new") {
			w.t.Fatalf("a schedule and what replaced it: %v", got)
		}
		if !reached {
			w.wantCame("without a crash", "new")
		}
	})
}

// TestHeldOutlivesUpkeep has held messages, and what was delivered of some, stay when the
// log around them is dropped and rewritten.
func TestHeldOutlivesUpkeep(t *testing.T) {
	for _, lose := range []bool{false, true} {
		t.Run(strconv.FormatBool(lose), func(t *testing.T) {
			w := newHeldWorld(t, 3)
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "a", Key: "other"}))
			p := w.publisher(nil)
			var near []string
			for i := range 100 {
				name := fmt.Sprintf("%03d", i)
				m := w.later(name, time.Hour)
				if i%3 == 0 {
					m = w.later(name, time.Millisecond)
					near = append(near, name)
				}
				p.send(m)
				for range 5 {
					p.send(amqp(core.TopicExchange, "other", "filler filler filler filler filler"))
				}
			}
			p.confirmed()
			held := uint64(100 - len(near))
			for w.HeldMessages("/") > held {
				p.send(amqp(core.TopicExchange, "other", "filler"))
				p.confirmed()
			}
			w.settle("a", "filler")
			for range 400 {
				p.send(amqp("", "nowhere", "x"))
				p.confirmed()
				p.send(amqp(core.TopicExchange, "other", "filler filler filler"))
				p.confirmed()
			}
			w.settle("a", "filler")
			for range 4 {
				w.close()
				if lose {
					w.loseIndex()
				}
				w.open()
				w.wantHeld("after a start", held)
				w.wantCame("after a start", near...)
			}
		})
	}
}

// settle takes what begins with a text out of a queue.
func (w *heldWorld) settle(queue, text string) {
	w.t.Helper()
	for {
		var back []core.Position
		var getter *core.Getter
		took := false
		for {
			d, g, _, ok, err := w.Get(w.t.Context(), "/", queue, "", false)
			w.must(err)
			if !ok {
				break
			}
			getter = g
			if len(d.Message.Payload) >= len(text) && string(d.Message.Payload[:len(text)]) == text {
				g.Settle(core.Ack, d.Position)
				took = true
				continue
			}
			back = append(back, d.Position)
		}
		if len(back) > 0 {
			getter.Settle(core.Requeue, back...)
		}
		if !took {
			return
		}
	}
}
