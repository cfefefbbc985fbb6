package core_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// three filters only, as an ordinary client has.
func TestEndRacesReconnectFewFilters(t *testing.T) {
	lost := 0
	for round := range 200 {
		w := newWorld(t, 3)
		s, _, _ := w.session("dev", time.Hour, false)
		w.subscribe(s, "f/1", "f/2", "f/3")
		s.SetExpiry(0)
		done := make(chan error)
		go func() { done <- s.Close(t.Context()) }()
		<-time.After(time.Duration(round) * time.Microsecond / 2)
		s2, _, _ := w.session("dev", time.Hour, false)
		w.subscribe(s2, "keep")
		w.must(<-done)
		p := w.publisher(nil)
		p.send(mqtt("keep", "x", 1))
		p.confirmed()
		w.crash()
		s2, _, present := w.session("dev", time.Hour, false)
		got, err := s2.Next(nil, 10)
		w.must(err)
		if !present || len(got) == 0 {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 200 durable sessions with a confirmed message were gone after a crash", lost)
	}
}

// transient reconnect with the same filters.
func TestTransientReconnect(t *testing.T) {
	w := newWorld(t, 1)
	var fs []string
	for i := range 300 {
		fs = append(fs, "f/"+strconv.Itoa(i))
	}
	bad := map[string]int{}
	for round := range 200 {
		s, _, _ := w.session("dev", 0, true)
		w.subscribe(s, fs...)
		done := make(chan error)
		go func() { done <- s.Close(t.Context()) }()
		<-time.After(time.Duration(round) * 4 * time.Microsecond)
		s2, wake, _ := w.session("dev", 0, true)
		var specs []core.SubscriptionSpec
		for i := range fs {
			specs = append(specs, core.SubscriptionSpec{Filter: fs[i], QoS: 1})
		}
		_, err := s2.Subscribe(t.Context(), specs)
		w.must(<-done)
		if err != nil {
			bad["subscribe refused"]++
		} else {
			for len(wake) > 0 {
				<-wake
			}
			p := w.publisher(nil)
			dead := 0
			for _, f := range fs {
				p.send(mqtt(f, "x", 1))
				p.confirmed()
				select {
				case <-wake:
				case <-time.After(time.Minute): // a confirm may come just before
					dead++
				}
			}
			if dead > 0 {
				bad["messages without Notify"] += dead
			}
		}
		w.must(s2.Close(t.Context()))
	}
	if len(bad) > 0 {
		t.Errorf("200 reconnects: %v", bad)
	}
}

// a durable queue of the same name replaces a transient one without a word.
func TestDurableReplacesTransient(t *testing.T) {
	w := newWorld(t, 1)
	_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "q"})
	w.must(err)
	cancelled := false
	c, err := w.Consume(t.Context(), "/", core.ConsumeSpec{Queue: "q", Notify: func() {}, Cancelled: func() { cancelled = true }})
	w.must(err)
	streams := w.Stats().Streams
	// Another connection's durable declare that passed its check before ours.
	_, _, err = w.cat.CreateQueue(t.Context(), metadata.Queue{Namespace: "/", Name: "q", Stream: 77})
	w.must(err)
	p := w.publisher(nil)
	p.send(amqp("", "q", "x"))
	p.confirmed()
	got, err := c.Next(nil, 1)
	w.must(err)
	t.Logf("streams %d then %d, consumer got %d", streams, w.Stats().Streams, len(got))
	if len(got) == 0 && !cancelled {
		t.Error("the consumer of the replaced queue gets nothing and is not cancelled; its stream is left over")
	}
	if _, err := w.DeleteQueue(t.Context(), "/", "q", "", false, false); err != nil {
		t.Fatal(err)
	}
	if n := w.Stats().Streams; n != 0 {
		t.Errorf("%d streams left after delete", n)
	}
}
