package core_test

import (
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// end of a session races the next connection of the same client.
func TestEndRacesReconnect(t *testing.T) {
	lost := 0
	for round := range 40 {
		w := newWorld(t, 1)
		s, _, _ := w.session("dev", time.Hour, false)
		var fs []string
		for i := range 300 {
			fs = append(fs, "f/"+strconv.Itoa(i))
		}
		w.subscribe(s, fs...)
		s.SetExpiry(0) // DISCONNECT with expiry 0
		done := make(chan error)
		go func() { done <- s.Close(t.Context()) }()
		<-time.After(time.Duration(round*20) * time.Microsecond)
		s2, _, _ := w.session("dev", time.Hour, false)
		w.subscribe(s2, "keep")
		w.must(<-done)
		p := w.publisher(nil)
		p.send(mqtt("keep", "x", 1))
		p.confirmed()
		w.crash()
		_, _, present := w.session("dev", time.Hour, false)
		if !present {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of 40 durable sessions with a confirmed message were gone after a crash", lost)
	}
}

// the same with a transient session: no delivery or no wake-up.
func TestTransientEndRacesReconnect(t *testing.T) {
	w := newWorld(t, 1)
	var fs []string
	for i := range 300 {
		fs = append(fs, "f/"+strconv.Itoa(i))
	}
	bad := map[string]int{}
	for round := range 150 {
		s, _, _ := w.session("dev", 0, true)
		w.subscribe(s, fs...)
		done := make(chan error)
		go func() { done <- s.Close(t.Context()) }()
		<-time.After(time.Duration(round*3) * time.Microsecond)
		s2, wake, _ := w.session("dev", 0, true)
		var specs []core.SubscriptionSpec
		for i := range fs {
			specs = append(specs, core.SubscriptionSpec{Filter: fs[len(fs)-1-i], QoS: 1})
		}
		_, err := s2.Subscribe(t.Context(), specs)
		w.must(<-done)
		if err != nil {
			bad["subscribe: "+strings.SplitN(err.Error(), "stream", 2)[0]]++
		} else {
			for len(wake) > 0 {
				<-wake
			}
			p := w.publisher(nil)
			for _, f := range fs {
				p.send(mqtt(f, "x", 1))
			}
			p.confirmed()
			got, err := s2.Next(nil, 1000)
			w.must(err)
			if len(got) != len(fs) {
				bad["missing deliveries"]++
			}
		}
		w.must(s2.Close(t.Context()))
	}
	if len(bad) > 0 {
		t.Errorf("150 reconnects: %v", bad)
	}
}

// SetExpiry of a fenced handle.
func TestFencedSetExpiry(t *testing.T) {
	w := newWorld(t, 1)
	old, _, _ := w.session("dev", time.Hour, false)
	s, _, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	old.SetExpiry(0) // the old connection's DISCONNECT, read late
	w.must(old.Close(t.Context()))
	w.must(s.Close(t.Context()))
	if _, _, present := w.session("dev", time.Hour, false); !present {
		t.Error("the session with an expiry of 1 h is gone: a fenced handle changed it")
	}
}

// Recover of a fenced handle.
func TestFencedRecover(t *testing.T) {
	w := newWorld(t, 1)
	old, _, _ := w.session("dev", time.Hour, false)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	p := w.publisher(nil)
	p.send(mqtt("a", "0", 1))
	p.confirmed()
	want(t, w.take(s, wake, 1), "0")
	old.Recover()
	got, err := s.Next(nil, 10)
	w.must(err)
	if len(got) > 0 {
		t.Errorf("got %v again, still in flight on the new connection", bodies(got))
	}
}

// data race of SetExpiry.
func TestSetExpiryRace(t *testing.T) {
	w := newWorld(t, 1)
	old, _, _ := w.session("dev", time.Hour, false)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 200 {
			old.SetExpiry(time.Hour)
		}
	})
	for range 20 {
		s, _, _ := w.session("dev", time.Hour, false)
		w.must(s.Close(t.Context()))
	}
	wg.Wait()
}
