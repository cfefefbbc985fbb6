package core_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
)

var errRefused = errors.New("refused")

// back is how a client comes back to its session, without a will.
func back(admit func([]core.Subscription) error) core.SessionSpec {
	return core.SessionSpec{
		ClientID: "c", Owner: "guest", Expiry: time.Hour, Admit: admit, Notify: func() {},
		Live: func(*core.Message, []core.SubID) bool { return true },
	}
}

// TestDelayedWillOutlivesARefusal has a client come back that is refused, or that gives up
// before it is there: the will of its connection before waits on, and is sent.
func TestDelayedWillOutlivesARefusal(t *testing.T) {
	for name, reconnect := range map[string]func(w *willWorld) error{
		"refused": func(w *willWorld) error {
			_, _, err := w.OpenSession(w.t.Context(), "/", back(func(subs []core.Subscription) error {
				if len(subs) != 1 || subs[0].Filter != "mine" {
					w.t.Errorf("asked about %v, want the subscription", subs)
				}
				return errRefused
			}))
			return err
		},
		"gives up": func(w *willWorld) error {
			gone, cancel := context.WithCancel(w.t.Context())
			cancel()
			_, _, err := w.OpenSession(gone, "/", back(nil))
			if errors.Is(err, context.Canceled) {
				return errRefused
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWillWorld(t, 1)
				w.allow()
				s, _ := w.client("c", time.Hour, time.Minute)
				_, err := s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "mine", QoS: 1}})
				w.must(err)
				w.must(s.Close(t.Context()))
				until(30 * time.Second)
				if err := reconnect(w); !errors.Is(err, errRefused) {
					t.Fatalf("got %v, want the refusal", err)
				}
				w.wantSent("before the delay is over")
				until(time.Minute)
				w.wantSent("after the delay", "c")
			})
		})
	}
}

// TestTakeoverThatIsRefused leaves the connection that has the session alone.
func TestTakeoverThatIsRefused(t *testing.T) {
	w := newWillWorld(t, 1)
	w.allow()
	s, _ := w.client("c", time.Hour, time.Hour)
	_, _, err := w.OpenSession(t.Context(), "/", back(func([]core.Subscription) error { return errRefused }))
	if !errors.Is(err, errRefused) {
		t.Fatalf("got %v, want the refusal", err)
	}
	if _, err := s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "mine", QoS: 1}}); err != nil {
		t.Errorf("the connection that was there: %v", err)
	}
}

// TestTakeoverThatGivesUp has the connection that was taken over lost all the same: its
// will is sent after its delay.
func TestTakeoverThatGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWillWorld(t, 1)
		w.allow()
		w.client("c", time.Hour, time.Minute)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := w.OpenSession(gone, "/", back(nil)); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want Canceled", err)
		}
		until(30 * time.Second)
		w.wantSent("before the delay is over")
		until(time.Minute)
		w.wantSent("after the delay", "c")
	})
}

// TestOneWillOfAReconnectOverCrashes crashes while a client comes back within the delay of
// its will, and leaves another: one of the two is sent.
func TestOneWillOfAReconnectOverCrashes(t *testing.T) {
	will := func(body string, delay time.Duration) *core.Will {
		m := mqtt("will/c", body, 1)
		return &core.Will{Message: m, Delay: delay}
	}
	eachWillCrash(t,
		func(w *willWorld) {
			s, _ := w.clientWith("c", time.Hour, will("old", 200*time.Millisecond))
			w.must(s.Close(t.Context()))
		},
		func(w *willWorld) {
			_, _, _ = w.OpenSession(context.Background(), "/", core.SessionSpec{
				ClientID: "c", Owner: "guest", Expiry: time.Hour, Will: will("new", 0), Notify: func() {},
				Live: func(*core.Message, []core.SubID) bool { return true },
			})
		},
		func(w *willWorld, step, _ int) {
			if got := w.sent(); len(got) != 1 || got[0] != "old" && got[0] != "new" {
				t.Errorf("crash before step %d: wills %v were sent, want one", step, got)
			}
		})
}
