package core_test

import (
	"testing"
	"time"
)

// A PUBACK that comes after UNSUBSCRIBE + SUBSCRIBE settles another message.
func TestStaleSettleKillsNewMessage(t *testing.T) {
	for _, early := range []bool{true, false} { // before, or after the new message is there
		w := newWorld(t, 1)
		s, wake, _ := w.session("dev", time.Hour, false)
		w.subscribe(s, "a")
		p := w.publisher(nil)
		p.send(mqtt("a", "old", 1))
		p.confirmed()
		got := w.take(s, wake, 1)
		_, err := s.Unsubscribe(t.Context(), []string{"a"})
		w.must(err)
		w.subscribe(s, "a")
		if early {
			s.Settle(got[0].Position)
		}
		p.send(mqtt("a", "new", 1))
		p.confirmed()
		if !early {
			s.Settle(got[0].Position)
		}
		want(t, w.take(s, wake, 1), "new")
	}
}

// The same with Reserve of a kept position, after a restart.
func TestStaleReserveHidesNewMessage(t *testing.T) {
	w := newWorld(t, 1)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	p := w.publisher(nil)
	p.send(mqtt("a", "old", 2))
	p.confirmed()
	old := w.take(s, wake, 1)[0].Position
	_, err := s.Unsubscribe(t.Context(), []string{"a"})
	w.must(err)
	w.subscribe(s, "a")
	p.send(mqtt("a", "new", 2))
	p.confirmed()
	w.restart()
	s, wake, _ = w.session("dev", time.Hour, false)
	w.must(s.Reserve(old))
	want(t, w.take(s, wake, 1), "new")
}
