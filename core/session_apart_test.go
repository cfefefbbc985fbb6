package core_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// TestValuesOfAConnectionThatLeft has a client leave before the values that end its
// deliveries are committed. Its next connection deletes the values, as a client does that
// has completed QoS 2, and then there is a crash: nothing comes again.
func TestValuesOfAConnectionThatLeft(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		s, wake, _ := w.session("dev", time.Hour, false)
		w.subscribe(s, "t/+")
		p := w.publisher(nil)
		const messages = 9
		for n := range messages { // in every shard some
			p.send(mqtt(fmt.Sprintf("t/%d", n), "done", 1))
		}
		p.confirmed()
		synced := make(chan struct{})
		w.onSync(func() error {
			<-synced
			return nil
		})
		for i, d := range w.take(s, wake, messages) {
			_, err := s.Put(uint32(i+1), []byte{1}, d.Position)
			w.must(err)
		}
		w.must(s.Close(t.Context()))
		close(synced)

		s, wake, present := w.session("dev", time.Hour, false)
		if !present {
			t.Fatal("the session is lost")
		}
		if _, err := s.Stored(); err != nil { // as before each delivery
			t.Fatal(err)
		}
		var last uint64
		for n := range messages {
			var err error
			last, err = s.Put(uint32(n+1), nil)
			w.must(err)
		}
		stored(w, s, wake, last)
		w.crash()
		s, wake, _ = w.session("dev", time.Hour, false)
		p = w.publisher(nil)
		p.send(mqtt("t/0", "new", 1))
		p.confirmed()
		if got := w.take(s, wake, 1); string(got[0].Message.Payload) != "new" {
			t.Errorf("got %v, want the new message", bodies(got))
		}
		if got, err := s.Next(nil, messages); err != nil || len(got) > 0 {
			t.Errorf("got %v, %v, want nothing more", bodies(got), err)
		}
	})
}

// stored waits until the session's values up to n are durable.
func stored(w *world, s *core.Session, wake chan struct{}, n uint64) {
	w.t.Helper()
	for {
		got, err := s.Stored()
		w.must(err)
		if got >= n {
			return
		}
		select {
		case <-wake:
		case <-w.t.Context().Done():
			w.t.Fatal("values are not stored")
		}
	}
}

// TestValuesThatACrashKept crashes twice: the first time the values are kept and the
// settlings in other shards are not, and the second time the values have been deleted.
func TestValuesThatACrashKept(t *testing.T) {
	w := newWorld(t, 3)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "t/+")
	p := w.publisher(nil)
	const messages = 9
	for n := range messages {
		p.send(mqtt(fmt.Sprintf("t/%d", n), "done", 1))
	}
	p.confirmed()
	positions := map[uint32]core.Position{}
	for i, d := range w.take(s, wake, messages) {
		positions[uint32(i+1)] = d.Position
		_, err := s.Put(uint32(i+1), []byte{1}, d.Position)
		w.must(err)
	}
	w.subscribe(s, "behind/the/values") // they are durable with it, and nobody asked for them yet
	w.crash()
	s, wake, _ = w.session("dev", time.Hour, false)
	kept := map[uint32]bool{}
	s.Values(func(key uint32, _ []byte) { kept[key] = true })
	if len(kept) != messages {
		t.Fatalf("%d values were kept, want %d", len(kept), messages)
	}
	var last uint64
	for key, position := range positions {
		s.SettleKept(position)
		var err error
		last, err = s.Put(key, nil)
		w.must(err)
	}
	stored(w, s, wake, last)
	w.crash()
	s, wake, _ = w.session("dev", time.Hour, false)
	p = w.publisher(nil)
	p.send(mqtt("t/0", "new", 1))
	p.confirmed()
	if got := w.take(s, wake, 1); string(got[0].Message.Payload) != "new" {
		t.Errorf("got %v, want the new message", bodies(got))
	}
	if got, err := s.Next(nil, messages); err != nil || len(got) > 0 {
		t.Errorf("got %v, %v, want nothing more", bodies(got), err)
	}
}
