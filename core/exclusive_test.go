package core_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// TestExclusiveSubscriptions has claims of filters, which end with their subscriptions.
func TestExclusiveSubscriptions(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		a, _, _ := w.session("a", time.Hour, false)
		b, _, _ := w.session("b", time.Hour, false)
		claims := func(s *core.Session, want bool) {
			t.Helper()
			if got := s.Claim("t"); got != want {
				t.Fatalf("claim: got %v, want %v", got, want)
			}
		}
		subscribe := func(s *core.Session, exclusive bool) {
			t.Helper()
			_, err := s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "t", QoS: 1, Exclusive: exclusive}})
			w.must(err)
		}
		claims(a, true)
		claims(b, false)
		a.Unclaim("t") // nothing came of it
		claims(b, true)
		subscribe(b, true)
		b.Unclaim("t") // it is there
		claims(a, false)
		claims(b, true)
		w.restart()
		a, _, _ = w.session("a", time.Hour, false)
		claims(a, false)
		w.restartWithoutIndex()
		a, _, _ = w.session("a", time.Hour, false)
		claims(a, false)
		b, _, _ = w.session("b", time.Hour, false)
		if subs := b.Subscriptions(); len(subs) != 1 || !subs[0].Exclusive {
			t.Fatalf("got %v, want the exclusive subscription", subs)
		}
		subscribe(b, false)
		claims(a, true)
		subscribe(a, true)
		_, err := a.Unsubscribe(t.Context(), []string{"t"})
		w.must(err)
		claims(b, true)
		subscribe(b, true)
		w.session("b", time.Hour, true) // ends the session before
		claims(a, true)
		subscribe(a, true)
		w.must(a.Close(t.Context()))
		next, _, _ := w.session("a", time.Hour, false) // goes on with it
		claims(next, true)
		other, _, _ := w.session("other", 0, true)
		claims(other, false)
	})
}

// TestClaimOfATakeover has a connection give up its claim when the next one of its session
// has claimed the filter already: it stays with the session.
func TestClaimOfATakeover(t *testing.T) {
	w := newWorld(t, 1)
	old, _, _ := w.session("a", time.Hour, false)
	other, _, _ := w.session("other", time.Hour, false)
	if !old.Claim("t") {
		t.Fatal("the filter is free and was not given")
	}
	next, _, _ := w.session("a", time.Hour, false)
	if !next.Claim("t") {
		t.Fatal("the session has the filter, and its next connection did not get it")
	}
	old.Unclaim("t")
	if other.Claim("t") {
		t.Error("given to two sessions")
	}
	next.Unclaim("t")
	if !other.Claim("t") {
		t.Error("given up, and still held")
	}
}
