package core_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// a purge that finds nothing throws away acks that are not in the log yet.
func TestPurgeOfEmptyQueueForgetsAcks(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 3 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	p.confirmed()
	c, wake := w.consume("q")
	got := w.take(c, wake, 3)
	for _, d := range got {
		c.Settle(core.Ack, d.Position)
	}
	n, err := w.PurgeQueue(t.Context(), "/", "q", "")
	w.must(err)
	if n != 0 {
		t.Fatalf("purged %d", n)
	}
	<-time.After(300 * time.Millisecond) // thirty times AckDelay
	w.must(c.Cancel(t.Context()))
	w.restart() // a clean stop
	st, err := w.CheckQueue("/", "q", "")
	w.must(err)
	if st.Ready != 0 {
		t.Errorf("%d settled messages are back after a clean restart, want 0", st.Ready)
	}
}

// overlapping filters: one cursor stops at its mark, the other goes on.
func TestMarkSplitsOverlappingFilters(t *testing.T) {
	w := newWorld(t, 1)
	s, _, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "#", "a/b")
	w.must(s.Close(t.Context()))
	p := w.publisher(nil)
	const n = 9000
	for i := range n {
		topic := "x"
		if i >= 8900 {
			topic = "a/b"
		}
		p.send(mqtt(topic, strconv.Itoa(i), 1))
	}
	p.confirmed()
	s, wake, _ := w.session("dev", time.Hour, false)
	seen := map[string]int{}
	last := -1
	dup, unflagged, back := 0, 0, 0
	deadline := time.After(5 * time.Second)
	total := 0
loop:
	for {
		got, err := s.Next(nil, 20000)
		w.must(err)
		for _, d := range got {
			total++
			v, _ := strconv.Atoi(string(d.Message.Payload))
			if seen[string(d.Message.Payload)]++; seen[string(d.Message.Payload)] > 1 {
				dup++
				if !d.Redelivered {
					unflagged++
				}
			}
			if v < last {
				back++
			}
			last = v
			s.Settle(d.Position)
		}
		if len(got) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-time.After(500 * time.Millisecond):
			break loop
		case <-deadline:
			break loop
		}
	}
	if dup > 0 || back > 0 || total != n {
		t.Errorf("%d deliveries of %d messages: %d duplicates, %d of them unflagged, order went back %d times", total, n, dup, unflagged, back)
	}
}

// the same at SUBSCRIBE under load, with small Nexts.
func TestSubscribeOverlapUnderLoad(t *testing.T) {
	for round := range 60 {
		w := newWorld(t, 1)
		s, wake, _ := w.session("dev", time.Hour, false)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			pub, _ := w.NewPublisher("/", nil, nil)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				m := mqtt("a/b", strconv.Itoa(i), 1)
				_, _ = pub.Publish(&m)
			}
		})
		sub := make(chan struct{})
		go func() {
			defer close(sub)
			w.subscribe(s, "#", "a/b", "a/+", "+/b", "a/#", "+/+")
		}()
		seen := map[string]bool{}
		end := time.After(40 * time.Millisecond)
		bad := ""
		run := true
		for run {
			got, err := s.Next(nil, 100)
			w.must(err)
			for _, d := range got {
				if seen[string(d.Message.Payload)] && !d.Redelivered {
					bad = string(d.Message.Payload)
				}
				seen[string(d.Message.Payload)] = true
				s.Settle(d.Position)
			}
			select {
			case <-end:
				run = false
			default:
			}
		}
		_ = wake
		close(stop)
		wg.Wait()
		<-sub
		if bad != "" {
			t.Fatalf("round %d: message %s came twice without a flag", round, bad)
		}
	}
}

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

// Put on one shard, settle on another.
func TestPutSettleAcrossShards(t *testing.T) {
	w := newWorld(t, 2)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "t/#")
	p := w.publisher(nil)
	for i := range 20 {
		p.send(mqtt("t/"+strconv.Itoa(i), strconv.Itoa(i), 2))
	}
	p.confirmed()
	got := w.take(s, wake, 20)
	<-time.After(200 * time.Millisecond)
	// Which is the home shard? Try a stalled sync on each.
	for stalled := range 2 {
		dir := fmt.Sprintf("shard-%d", stalled)
		gate := make(chan struct{})
		var blocked atomic.Bool
		f := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSyncData && strings.Contains(op.Path, dir) {
				blocked.Store(true)
				<-gate
			}
			return nil
		})
		w.fail.Store(&f)
		var settle *core.Delivery
		for i := range got {
			if int(got[i].Position.Shard) != stalled {
				settle = &got[i]
			}
		}
		key := uint32(100 + stalled)
		_, err := s.Put(key, []byte("pubrel"), settle.Position)
		w.must(err)
		<-time.After(150 * time.Millisecond) // the other shard writes its acks
		after := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		w.fail.Store(nil)
		close(gate)
		if !blocked.Load() {
			continue // the value went to the other shard
		}
		w.close()
		w.fs = after
		w.open()
		s, _, _ = w.session("dev", time.Hour, false)
		found := false
		s.Values(func(k uint32, _ []byte) { found = found || k == key })
		again, err := s.Next(nil, 100)
		w.must(err)
		redelivered := false
		for _, d := range again {
			redelivered = redelivered || d.Position == settle.Position
		}
		if !found && !redelivered {
			t.Errorf("after a crash the value is lost and its position is settled: neither kept nor delivered again")
		}
		return
	}
	t.Fatal("no shard blocked")
}

// offsets are not published by Close.
func TestCloseDoesNotPublishOffsets(t *testing.T) {
	w := newWorld(t, 1)
	w.must(w.Close())
	cfg := core.DefaultConfig()
	cfg.Shards, cfg.OffsetInterval = 1, time.Hour
	var err error
	w.Broker, err = core.Open(t.Context(), cfg, core.Deps{Dir: "data", FS: w.injected(), Clock: clock.System, Rand: rand.Reader, Catalog: w.cat, Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	w.queue("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "0"))
	c, wake := w.consume("q")
	c.Settle(core.Ack, w.take(c, wake, 1)[0].Position)
	w.must(w.Close())
	offsets, err := w.cat.Offsets(t.Context())
	w.must(err)
	if len(offsets) != 1 {
		t.Errorf("Close published %d offsets, want 1", len(offsets))
	}
}

// the published cursor of a session that left stays.
func TestPublishedCursorStays(t *testing.T) {
	w := newWorld(t, 1)
	keep, _, _ := w.session("keep", time.Hour, false)
	w.subscribe(keep, "a")
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	p := w.publisher(nil)
	p.send(mqtt("a", "0", 1))
	p.confirmed()
	s.Settle(w.take(s, wake, 1)[0].Position)
	has := func() bool {
		offsets, err := w.cat.Offsets(t.Context())
		w.must(err)
		for _, o := range offsets {
			if o.Cursor == s.ID() {
				return true
			}
		}
		return false
	}
	for !has() {
		<-time.After(5 * time.Millisecond)
	}
	w.must(s.Close(t.Context()))
	_, _, _ = w.session("dev", 0, true)
	<-time.After(400 * time.Millisecond) // twenty intervals
	if has() {
		t.Error("the cursor of an ended session is still published")
	}
}

// Get and a read error.
func TestGetReadError(t *testing.T) {
	for _, noAck := range []bool{false, true} {
		w := newWorld(t, 1)
		w.must(w.Close())
		cfg := core.DefaultConfig()
		cfg.Shards, cfg.TailBytes, cfg.CacheBytes = 1, 0, 0
		var err error
		w.Broker, err = core.Open(t.Context(), cfg, core.Deps{Dir: "data", FS: w.injected(), Clock: clock.System, Rand: rand.Reader, Catalog: w.cat, Log: slog.New(slog.DiscardHandler)})
		w.must(err)
		w.queue("q")
		p := w.publisher(nil)
		for i := range 3 {
			p.send(amqp("", "q", strconv.Itoa(i)))
			p.confirmed()
		}
		f := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileReadAt {
				return errorfs.ErrInjected
			}
			return nil
		})
		w.fail.Store(&f)
		_, _, _, _, err = w.Get(t.Context(), "/", "q", "", noAck)
		w.fail.Store(nil)
		if err == nil {
			t.Fatal("no error")
		}
		d, _, _, _, err := w.Get(t.Context(), "/", "q", "", noAck)
		w.must(err)
		if string(d.Message.Payload) != "0" {
			st, _ := w.CheckQueue("/", "q", "")
			t.Errorf("noAck=%v: got %q after a failed Get, want 0; status %+v", noAck, d.Message.Payload, st)
		}
	}
}

// Subscribe given up, then the client comes back.
func TestSubscribeGivenUp(t *testing.T) {
	w := newWorld(t, 1)
	s, _, _ := w.session("dev", time.Hour, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Subscribe(ctx, []core.SubscriptionSpec{{Filter: "a", QoS: 1}})
	if err == nil {
		t.Skip("was committed in time")
	}
	w.must(s.Close(t.Context()))
	s, wake, present := w.session("dev", time.Hour, false)
	t.Logf("present %v, subscriptions %+v", present, s.Subscriptions())
	p := w.publisher(nil)
	got := p.send(mqtt("a", "0", 1))
	p.confirmed()
	t.Logf("routed %v", got.Routed)
	<-time.After(50 * time.Millisecond)
	ds, err := s.Next(nil, 10)
	w.must(err)
	_ = wake
	if got.Routed && len(ds) == 0 {
		t.Error("routed and confirmed to a subscription of the session, never delivered")
	}
}

// plan keys collide.
func TestPlanKeyCollides(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "a\x00b", Type: "fanout"}))
	w.must(w.DeclareExchange(t.Context(), "/", core.ExchangeSpec{Name: "a", Type: "direct"}))
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "a\x00b", Dest: "q"}))
	p := w.publisher(nil)
	p.send(amqp("a\x00b", "c", "x"))
	if got := p.send(amqp("a", "b\x00c", "y")); got.Routed {
		t.Error("routed by the plan of another exchange")
	}
}

// once and QoS 0 subscribers.
func TestOnceLiveTwice(t *testing.T) {
	w := newWorld(t, 1)
	n := 0
	s, _, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
		ClientID: "live", Owner: "guest", Notify: func() {},
		Live: func(*core.Message, []core.SubID) bool { n++; return true },
	})
	w.must(err)
	_, err = s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "a", QoS: 0}})
	w.must(err)
	w.queue("q")
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "a"}))
	dev, _, _ := w.session("dev", time.Hour, false)
	p := w.publisher(dev)
	m := mqtt("a", "0", 2)
	m.Once = core.Once{Session: dev.ID(), ID: 7}
	p.send(m)
	p.send(m)
	if n != 1 {
		t.Errorf("live %d times, want 1", n)
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

// The value of a delivery in another shard may go only when the delivery is
// settled for good: else a crash brings it back after it was completed.
func TestCompletedDeliveryStaysSettled(t *testing.T) {
	for topic := range 8 {
		w := newWorld(t, 3)
		s, wake, _ := w.session("dev", time.Hour, false)
		w.subscribe(s, "t/#")
		p := w.publisher(nil)
		p.send(mqtt("t/"+strconv.Itoa(topic), "x", 2))
		p.confirmed()
		pos := w.take(s, wake, 1)[0].Position
		stored := func(n uint64, err error) {
			t.Helper()
			w.must(err)
			for {
				got, err := s.Stored()
				w.must(err)
				if got >= n {
					return
				}
				<-wake
			}
		}
		stored(s.Put(1, []byte("published")))
		stored(s.Put(1, []byte("received"), pos))
		stored(s.Put(1, nil))
		w.crash()
		s, wake, _ = w.session("dev", time.Hour, false)
		p = w.publisher(nil)
		p.send(mqtt("t/"+strconv.Itoa(topic), "next", 2))
		p.confirmed()
		want(t, w.take(s, wake, 1), "next!") // the mark of the log covers it
	}
}
