package core_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// willWorld has queues, in different shards where there are several, that get the wills
// of clients. Wills are sent once they are allowed.
type willWorld struct {
	*world
}

func newWillWorld(t *testing.T, shards int) *willWorld {
	t.Helper()
	w := &willWorld{newWorldWith(t, shards, calmLetters)}
	for _, q := range txQueues {
		w.queue(q)
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: q, Key: "will.#"}))
	}
	return w
}

// allow has wills sent.
func (w *willWorld) allow() { w.GuardWills(func(core.WillOf) bool { return true }) }

// client connects a client with a will, whose payload is the client.
func (w *willWorld) client(client string, expiry, delay time.Duration) (*core.Session, bool) {
	w.t.Helper()
	m := mqtt("will/"+client, client, 1)
	m.Retain = true
	return w.clientWith(client, expiry, &core.Will{Message: m, Delay: delay})
}

func (w *willWorld) clientWith(client string, expiry time.Duration, will *core.Will) (*core.Session, bool) {
	w.t.Helper()
	s, present, err := w.OpenSession(w.t.Context(), "/", core.SessionSpec{
		ClientID: client, Owner: "guest", Expiry: expiry, Will: will, Notify: func() {},
		Live: func(*core.Message, []core.SubID) bool { return true },
	})
	w.must(err)
	return s, present
}

// settled waits until no will is left.
func (w *willWorld) settled() {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for w.Stats().WillsKept > 0 {
		select {
		case <-tick.C:
		case <-w.t.Context().Done():
			w.t.Fatal("wills are left")
		}
	}
}

// sent returns the wills that were sent: the bodies in each of the queues, which must be
// the same in all.
func (w *willWorld) sent() []string {
	w.t.Helper()
	all := map[string][]string{}
	for _, s := range w.everything() {
		all[s[:1]] = append(all[s[:1]], s[2:])
	}
	for _, q := range txQueues {
		if !slices.Equal(all[q], all["a"]) {
			w.t.Fatalf("queue %s got wills %v, queue a %v", q, all[q], all["a"])
		}
	}
	return all["a"]
}

func (w *willWorld) wantSent(when string, want ...string) {
	w.t.Helper()
	if got := w.sent(); !slices.Equal(got, want) {
		w.t.Fatalf("%s: wills %v were sent, want %v", when, got, want)
	}
}

// eachWillCrash ends the process before each step on the disk of what do does with a
// world that prepare has made, with none, some and all of what was not synced kept, and
// has the wills that are left sent twice: at the start after that, and at one more.
func eachWillCrash(t *testing.T, prepare, do func(w *willWorld), check func(w *willWorld, step, reached int)) {
	for _, of := range []struct{ shards, kept int }{{1, 50}, {3, 0}, {3, 50}, {3, 100}} {
		t.Run(fmt.Sprintf("shards=%d/kept=%d", of.shards, of.kept), func(t *testing.T) {
			for step := 0; ; step++ {
				w := newWillWorld(t, of.shards)
				w.allow()
				prepare(w)
				reached := w.crashDuring(step, of.kept, func() { do(w) })
				w.allow()
				w.settled()
				check(w, step, reached)
				before := w.sent()
				w.restart()
				w.allow()
				w.settled()
				w.wantSent("after one more start", before...)
				if reached == notReached {
					return
				}
			}
		})
	}
}

// TestWillIsSentOnceOverCrashes crashes while a will is sent.
func TestWillIsSentOnceOverCrashes(t *testing.T) {
	for name, expiry := range map[string]time.Duration{"clean": 0, "persistent": time.Hour} {
		t.Run(name, func(t *testing.T) {
			var lost *core.Session
			eachWillCrash(t, func(w *willWorld) { lost, _ = w.client("c", expiry, 0) },
				func(w *willWorld) { w.must(lost.Close(w.t.Context())) },
				func(w *willWorld, step, _ int) {
					w.wantSent("crash at step "+strconv.Itoa(step), "c")
					w.retains("c")
				})
		})
	}
}

// retains looks for the retained value of a client's will.
func (w *willWorld) retains(client string) {
	w.t.Helper()
	s, wake, _ := w.session("reader", 0, true)
	w.subscribe(s, "will/"+client)
	if got := w.take(s, wake, 1); !got[0].Retained || string(got[0].Message.Payload) != client {
		w.t.Fatalf("got %v, want the retained will", bodies(got))
	}
	w.must(s.Close(w.t.Context()))
}

// TestWillOfAClientThatConnectsInACrash crashes while a client connects: it may be sent,
// and is once the client is connected.
func TestWillOfAClientThatConnectsInACrash(t *testing.T) {
	sent, unsent := 0, 0
	eachWillCrash(t, func(*willWorld) {}, func(w *willWorld) { w.client("c", 0, 0) },
		func(w *willWorld, _, reached int) {
			switch got := w.sent(); {
			case len(got) == 1:
				sent++
			case len(got) > 1 || reached == notReached:
				w.t.Fatalf("wills %v were sent", got)
			default:
				unsent++
			}
		})
	if sent == 0 || unsent == 0 {
		t.Errorf("%d wills sent and %d not: the test does not meet both", sent, unsent)
	}
}

// TestWillThatWasDroppedStaysDropped crashes while a client says goodbye, and after it.
func TestWillThatWasDroppedStaysDropped(t *testing.T) {
	var polite *core.Session
	eachWillCrash(t, func(w *willWorld) { polite, _ = w.client("c", time.Hour, 0) },
		func(w *willWorld) { w.must(polite.DropWill()) },
		func(w *willWorld, _, reached int) {
			if got := w.sent(); len(got) > 1 || reached == notReached && len(got) > 0 {
				w.t.Fatalf("wills %v were sent", got)
			}
		})
}

// TestWillOfASessionTakenOver crashes while another connection goes on with a session
// whose will has no delay.
func TestWillOfASessionTakenOver(t *testing.T) {
	eachWillCrash(t, func(w *willWorld) { w.client("c", time.Hour, 0) },
		func(w *willWorld) {
			s, _ := w.clientWith("c", time.Hour, nil)
			w.must(s.Close(w.t.Context()))
		},
		func(w *willWorld, step, _ int) { w.wantSent("crash at step "+strconv.Itoa(step), "c") })
}

// until has time go on.
func until(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestWillDelayCountsOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWillWorld(t, 3)
		w.allow()
		lost, _ := w.client("lost", time.Hour, 10*time.Second)
		w.client("there", time.Hour, 10*time.Second) // is lost with the broker
		short, _ := w.client("short", 4*time.Second, 10*time.Second)
		w.must(lost.Close(t.Context()))
		w.must(short.Close(t.Context())) // its session ends before the delay
		until(3 * time.Second)
		w.restart()
		w.allow()
		w.wantSent("before the delay")
		until(2 * time.Second)
		w.wantSent("after the end of the session", "short")
		until(6 * time.Second)
		w.wantSent("after the delay", "lost", "short")
		w.restart()
		w.allow()
		until(3 * time.Second)
		w.wantSent("10 s after the first start", "lost", "short", "there")
		if n := w.Stats().WillsKept; n != 0 {
			t.Errorf("%d wills are kept", n)
		}
	})
}

func TestWillOverdueAtAStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWillWorld(t, 1)
		w.allow()
		lost, _ := w.client("lost", time.Hour, 10*time.Second)
		w.must(lost.Close(t.Context()))
		rest()
		w.close()
		until(time.Minute)
		w.open()
		w.allow()
		until(time.Second)
		w.wantSent("after the start", "lost")
	})
}

func TestWillIsCancelledByAReconnect(t *testing.T) {
	for _, restart := range []string{"none", "before", "while"} {
		t.Run(restart, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWillWorld(t, 3)
				w.allow()
				s, _ := w.client("c", time.Hour, 10*time.Second)
				if restart == "while" { // it is connected
					w.restart()
				} else {
					w.must(s.Close(t.Context()))
				}
				until(5 * time.Second)
				if restart == "before" {
					w.restart()
				}
				w.allow()
				s, present := w.clientWith("c", time.Hour, nil)
				if !present {
					t.Fatal("the session is lost")
				}
				until(20 * time.Second)
				w.must(s.Close(t.Context()))
				w.restart()
				w.allow()
				until(20 * time.Second)
				w.wantSent("after the reconnect")
			})
		})
	}
}

func TestDelayedWillOfASessionThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWillWorld(t, 1)
		w.allow()
		s, _ := w.client("c", time.Hour, time.Minute)
		w.must(s.Close(t.Context()))
		w.session("c", 0, true) // a clean start ends the session
		w.wantSent("after the clean start", "c")
		other, _ := w.client("other", time.Hour, time.Minute)
		other.SetExpiry(0)
		w.must(other.Close(t.Context()))
		w.wantSent("after the disconnect", "c", "other")
	})
}

func TestWillThatMayNotBeSentIsDropped(t *testing.T) {
	w := newWillWorld(t, 1)
	var asked []core.WillOf
	w.GuardWills(func(of core.WillOf) bool {
		asked = append(asked, of)
		return false
	})
	s, _ := w.client("c", 0, 0)
	w.must(s.Close(t.Context()))
	if len(asked) != 1 || asked[0].Client != "c" || asked[0].Owner != "guest" || string(asked[0].Key) != "will/c" {
		t.Errorf("asked for %v", asked)
	}
	w.restart()
	w.allow()
	w.settled()
	w.wantSent("after a restart")
}

// TestManyWillsAreSentAtAStart has more wills than are sent together, and queues that
// refuse some, of which one makes dead letters of them.
func TestManyWillsAreSentAtAStart(t *testing.T) {
	const n = 600
	w := newWillWorld(t, 3)
	w.queue("dead")
	bounded := map[string]any{"x-max-length": int64(10), "x-overflow": "reject-publish"}
	spilling := deadTo("", "dead")
	spilling["x-max-length"], spilling["x-overflow"] = int64(10), "reject-publish-dlx"
	w.declare("full", bounded)
	w.declare("spilling", spilling)
	for _, q := range []string{"full", "spilling"} {
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: q, Key: "will.#"}))
	}
	for i := range n {
		w.client(strconv.Itoa(i), 0, 0)
	}
	w.restart() // nobody closes the sessions
	w.allow()
	w.settled()
	if got := len(w.sent()); got != n {
		t.Errorf("%d wills were sent, want %d", got, n)
	}
	for q, want := range map[string]uint64{"full": 10, "spilling": 10, "dead": n - 10} {
		if got := w.ready(q); got != want {
			t.Errorf("queue %s has %d messages, want %d", q, got, want)
		}
	}
	if got := w.Stats().Wills; got != n {
		t.Errorf("counted %d wills, want %d", got, n)
	}
}

func TestWillExpiresCountedFromWhenItIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWillWorld(t, 1)
		w.allow()
		s, _ := w.clientWith("c", time.Hour, &core.Will{
			Message: mqtt("will/c", "c", 1), Delay: 10 * time.Second, Expires: true, Expiry: 5 * time.Second,
		})
		w.must(s.Close(t.Context()))
		until(11 * time.Second)
		w.wantSent("after the delay", "c")
		until(6 * time.Second)
		w.wantSent("after it has expired")
	})
}

// TestWillOfADeletedNamespace ends a namespace with a will in it.
func TestWillOfADeletedNamespace(t *testing.T) {
	w := newWillWorld(t, 1)
	w.allow()
	_, err := w.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "gone"})
	w.must(err)
	_, _, err = w.OpenSession(t.Context(), "gone", core.SessionSpec{
		ClientID: "c", Owner: "guest", Expiry: time.Hour, Notify: func() {},
		Live: func(*core.Message, []core.SubID) bool { return true },
		Will: &core.Will{Message: mqtt("will/c", "c", 1), Delay: time.Minute},
	})
	w.must(err)
	w.must(w.EndSessions(t.Context(), "gone"))
	if n := w.Stats().WillsKept; n != 0 {
		t.Errorf("%d wills are kept", n)
	}
}
