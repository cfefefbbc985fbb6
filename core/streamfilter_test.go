package core_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// TestStreamFilterPassesOver has a reader with room for one delivery choose a few of
// many messages: what it passes over takes no room, and is not all read in one step.
func TestStreamFilterPassesOver(t *testing.T) {
	w := newWorld(t, 1)
	w.stream("s")
	w.fill("s", 2000, 4)
	seen := 0
	wake := make(chan struct{}, 1)
	cons, err := w.Consume(t.Context(), "/", core.ConsumeSpec{
		Queue: "s", Start: core.StartFirst(), Limits: []*core.Limit{core.NewLimit(1)}, Notify: signal(wake),
		Match: func(m *core.Message) bool {
			seen++
			return strings.HasSuffix(string(m.Payload), "999")
		},
	})
	w.must(err)
	ds, err := cons.Next(nil, 64)
	w.must(err)
	if len(ds) != 0 || seen == 0 || seen > 512 {
		t.Errorf("the first step gave %d messages of %d, want none of a few hundred", len(ds), seen)
	}
	for i, want := range []core.Offset{999, 1999} {
		ds = w.take(cons, wake, 1)
		if ds[0].Position.Offset != want {
			t.Errorf("message %d has the offset %d, want %d", i, ds[0].Position.Offset, want)
		}
		cons.Settle(core.Ack, ds[0].Position)
	}
	w.fill("s", 1, 3) // "000": passed over
	p := w.publisher(nil)
	p.send(amqp("", "s", "0999"))
	p.confirmed()
	if ds = w.take(cons, wake, 1); ds[0].Position.Offset != 2001 {
		t.Errorf("what came later has the offset %d, want 2001", ds[0].Position.Offset)
	}
	if seen != 2002 {
		t.Errorf("the filter was asked %d times, want once for each of 2002 messages", seen)
	}
	w.must(cons.Cancel(t.Context()))
}

func TestStreamFilterIsOfStreamsWithoutGroups(t *testing.T) {
	w := newWorld(t, 1)
	w.stream("s")
	w.declare("q", nil)
	match := func(*core.Message) bool { return true }
	for _, spec := range []core.ConsumeSpec{
		{Queue: "s", Group: "g", Match: match, Notify: func() {}},
		{Queue: "q", Match: match, Notify: func() {}},
	} {
		if _, err := w.Consume(t.Context(), "/", spec); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("filter on '%s': got %v, want ErrInvalid", spec.Queue, err)
		}
	}
}
