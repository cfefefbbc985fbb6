package core_test

import (
	"strconv"
	"testing"
	"time"
)

// Reserve out of order.
func TestReserveOutOfOrder(t *testing.T) {
	w := newWorld(t, 1)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	p := w.publisher(nil)
	for i := range 4 {
		p.send(mqtt("a", strconv.Itoa(i), 2))
	}
	p.confirmed()
	got := w.take(s, wake, 3)
	w.must(s.Close(t.Context()))
	w.restart()
	s, wake, _ = w.session("dev", time.Hour, false)
	w.must(s.Reserve(got[2].Position, got[0].Position, got[1].Position)) // as after packet ids wrapped
	want(t, w.take(s, wake, 1), "3")
}

// Reserve with overlapping filters.
func TestReserveTwin(t *testing.T) {
	w := newWorld(t, 1)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a/#", "a/b")
	p := w.publisher(nil)
	p.send(mqtt("a/b", "0", 2))
	p.send(mqtt("a/b", "1", 2))
	p.confirmed()
	got := w.take(s, wake, 1)
	w.must(s.Close(t.Context()))
	w.restart()
	s, wake, _ = w.session("dev", time.Hour, false)
	w.must(s.Reserve(got[0].Position))
	want(t, w.take(s, wake, 1), "1")
}
