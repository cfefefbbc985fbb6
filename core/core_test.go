package core_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata/memory"
)

func TestConfirmedSurvivesCrash(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		w.queue("q")
		p := w.publisher(nil)
		for i := range 10 {
			p.send(amqp("", "q", strconv.Itoa(i)))
		}
		p.confirmed()
		w.crash()
		c, wake := w.consume("q")
		want(t, w.take(c, wake, 10), "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	})
}

func TestSettledStaysSettled(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 6 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	p.confirmed()
	c, wake := w.consume("q", core.NewLimit(4))
	got := w.take(c, wake, 4)
	w.must(c.Cancel(t.Context()))
	c.Settle(core.Ack, got[0].Position, got[2].Position)
	w.restart()
	c, wake = w.consume("q")
	want(t, w.take(c, wake, 4), "1!", "3!", "4", "5")
}

func TestRequeueGoesToItsOldPlace(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 5 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	l := core.NewLimit(3)
	c, wake := w.consume("q", l)
	got := w.take(c, wake, 3)
	c.Settle(core.Requeue, got[2].Position, got[0].Position)
	want(t, w.take(c, wake, 2), "0!", "2!")
	c.Settle(core.Ack, got[1].Position)
	want(t, w.take(c, wake, 1), "3")
}

func TestCompetingConsumersTakeTurns(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	a, wakeA := w.consume("q")
	b, wakeB := w.consume("q")
	p := w.publisher(nil)
	for i := range 4 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	want(t, w.take(a, wakeA, 2), "0", "2")
	want(t, w.take(b, wakeB, 2), "1", "3")
	// What a consumer has not settled comes back when it says so.
	w.must(a.Cancel(t.Context()))
}

func TestFanoutStoresOnce(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		for i := range 4 {
			w.queue("q" + strconv.Itoa(i))
			w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: "q" + strconv.Itoa(i)}))
		}
		p := w.publisher(nil)
		if got := p.send(amqp("amq.fanout", "", "x")); !got.Routed {
			t.Fatal("not routed")
		}
		p.confirmed()
		for i := range 4 {
			c, wake := w.consume("q" + strconv.Itoa(i))
			want(t, w.take(c, wake, 1), "x")
		}
	})
}

func (w *world) session(client string, expiry time.Duration, clean bool) (*core.Session, chan struct{}, bool) {
	w.t.Helper()
	c := make(chan struct{}, 1)
	s, present, err := w.OpenSession(w.t.Context(), "/", core.SessionSpec{
		ClientID: client, Owner: "guest", Expiry: expiry, Clean: clean, Notify: signal(c), Kicked: func() {},
		Live: func(*core.Message, []core.SubID) bool { return true },
	})
	w.must(err)
	return s, c, present
}

func (w *world) subscribe(s *core.Session, filters ...string) {
	w.t.Helper()
	var specs []core.SubscriptionSpec
	for _, f := range filters {
		specs = append(specs, core.SubscriptionSpec{Filter: f, QoS: 1, Retained: true})
	}
	_, err := s.Subscribe(w.t.Context(), specs)
	w.must(err)
}

func TestSessionKeepsItsPlace(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		s, wake, present := w.session("dev", time.Hour, false)
		if present {
			t.Fatal("a new session is present")
		}
		w.subscribe(s, "a/#", "+/b")
		p := w.publisher(nil)
		p.send(mqtt("a/b", "0", 1))
		p.send(mqtt("a/b", "1", 1))
		p.confirmed()
		got := w.take(s, wake, 2)
		want(t, got, "0", "1")
		if n := len(got[0].Subscriptions); n != 2 {
			t.Fatalf("got %d subscriptions, want 2", n)
		}
		s.Settle(got[0].Position)
		w.must(s.Close(t.Context()))
		p.send(mqtt("a/b", "2", 1))
		p.confirmed()
		w.restart()
		s, wake, present = w.session("dev", time.Hour, false)
		if !present {
			t.Fatal("the session is not present")
		}
		want(t, w.take(s, wake, 2), "1!", "2")
	})
}

func TestCrashRedeliversToSession(t *testing.T) {
	w := newWorld(t, 1)
	s, wake, _ := w.session("dev", core.Forever, false)
	w.subscribe(s, "a/#")
	p := w.publisher(nil)
	p.send(mqtt("a/b", "0", 1))
	p.confirmed()
	want(t, w.take(s, wake, 1), "0")
	w.crash()
	s, wake, present := w.session("dev", core.Forever, false)
	if !present {
		t.Fatal("the session is not present")
	}
	want(t, w.take(s, wake, 1), "0!")
}

func TestTransientSessionEndsWithItsConnection(t *testing.T) {
	w := newWorld(t, 1)
	s, wake, _ := w.session("dev", 0, true)
	w.subscribe(s, "a")
	p := w.publisher(nil)
	p.send(mqtt("a", "0", 1))
	want(t, w.take(s, wake, 1), "0")
	w.must(s.Close(t.Context()))
	if got := p.send(mqtt("a", "1", 1)); got.Routed {
		t.Fatal("routed to a session that has ended")
	}
	if _, _, present := w.session("dev", time.Hour, false); present {
		t.Fatal("the session is present")
	}
}

func TestRetained(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		p := w.publisher(nil)
		for _, m := range []core.Message{mqtt("r/1", "one", 1), mqtt("r/2", "two", 1), mqtt("r/1", "uno", 1)} {
			m.Retain = true
			p.send(m)
		}
		gone := mqtt("r/2", "", 1)
		gone.Retain = true
		p.send(gone)
		p.confirmed()
		w.crash()
		s, wake, _ := w.session("dev", 0, true)
		w.subscribe(s, "r/+")
		got := w.take(s, wake, 1)
		want(t, got, "uno")
		if !got[0].Retained {
			t.Error("not marked as retained")
		}
	})
}

func TestOnceIsStoredOnce(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		w.queue("q")
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "a"}))
		s, _, _ := w.session("dev", time.Hour, false)
		p := w.publisher(s)
		m := mqtt("a", "0", 2)
		m.Once = core.Once{Session: s.ID(), ID: 7}
		p.send(m)
		p.send(m)
		p.confirmed()
		w.crash()
		s, _, _ = w.session("dev", time.Hour, false)
		p = w.publisher(s)
		p.send(m)
		p.confirmed()
		if _, err := s.Release(7); err != nil {
			t.Fatal(err)
		}
		m.Payload = []byte("1")
		p.send(m)
		p.confirmed()
		c, wake := w.consume("q")
		want(t, w.take(c, wake, 2), "0", "1")
	})
}

func TestOffsetsArePublished(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 4 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	c, wake := w.consume("q")
	got := w.take(c, wake, 4)
	c.Settle(core.Ack, got[0].Position, got[1].Position, got[3].Position)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		offsets, err := w.cat.Offsets(t.Context())
		w.must(err)
		if len(offsets) == 1 && offsets[0].Floor == 2 {
			if diff := cmp.Diff([][2]uint64{{3, 4}}, offsets[0].Ranges); diff != "" {
				t.Fatal(diff)
			}
			return
		}
	}
}

func TestWipedMetadataKeepsMessages(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "0"))
	p.confirmed()
	old, _ := w.cat.Queue("/", "q")
	w.close()
	w.store = memory.New()
	w.open()
	if _, err := w.CheckQueue("/", "q", ""); !errors.Is(err, core.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	// An operator who restores the metadata has the messages back.
	if _, _, err := w.cat.CreateQueue(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	c, wake := w.consume("q")
	want(t, w.take(c, wake, 1), "0")
}

func TestStreamsOfEndedSessionsGo(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		s, _, _ := w.session("dev", time.Hour, false)
		w.subscribe(s, "a/#", "b")
		before := w.Stats().Streams
		if _, err := s.Unsubscribe(t.Context(), []string{"b"}); err != nil {
			t.Fatal(err)
		}
		if got := w.Stats().Streams; got != before/2 {
			t.Errorf("%d streams after an unsubscribe, want %d", got, before/2)
		}
		w.must(s.Close(t.Context()))
		if _, _, present := w.session("dev", 0, true); present {
			t.Error("present after a clean start")
		}
		if got := w.Stats().Streams; got != 0 {
			t.Errorf("%d streams left, want 0", got)
		}
		w.restart()
		if got := w.Stats().Streams; got != 0 {
			t.Errorf("%d streams left after a restart, want 0", got)
		}
	})
}

func TestExpiredSessionEnds(t *testing.T) {
	w := newWorld(t, 1)
	s, _, _ := w.session("dev", 50*time.Millisecond, false)
	w.subscribe(s, "a")
	w.must(s.Close(t.Context()))
	w.restart()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for w.Stats().Sessions > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the session did not expire")
		}
	}
}

func TestTakeoverFencesTheOldConnection(t *testing.T) {
	w := newWorld(t, 1)
	kicked := make(chan struct{})
	old, _, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
		ClientID: "dev", Owner: "guest", Expiry: time.Hour, Notify: func() {}, Kicked: func() { close(kicked) },
	})
	w.must(err)
	w.subscribe(old, "a")
	s, wake, present := w.session("dev", time.Hour, false)
	if !present {
		t.Error("the session is not present")
	}
	<-kicked
	p := w.publisher(nil)
	p.send(mqtt("a", "0", 1))
	p.confirmed()
	if got, err := old.Next(nil, 10); len(got) > 0 || err != nil {
		t.Errorf("the old connection got %v, %v", bodies(got), err)
	}
	if _, err := old.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "b"}}); !errors.Is(err, core.ErrFenced) {
		t.Errorf("got %v, want ErrFenced", err)
	}
	w.must(old.Close(t.Context()))
	want(t, w.take(s, wake, 1), "0")
	if _, _, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
		ClientID: "dev", Owner: "mallory", Notify: func() {},
	}); !errors.Is(err, core.ErrNotOwner) {
		t.Errorf("got %v, want ErrNotOwner", err)
	}
}

func TestExclusiveQueueGoesWithItsOwner(t *testing.T) {
	w := newWorld(t, 1)
	st, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Exclusive: true, Owner: "c1"})
	w.must(err)
	if _, err := w.CheckQueue("/", st.Name, "c2"); !errors.Is(err, core.ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	}
	w.must(w.ReleaseOwner(t.Context(), "c1"))
	if _, err := w.CheckQueue("/", st.Name, "c1"); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

func TestAutoDeleteQueueGoesWithItsLastConsumer(t *testing.T) {
	w := newWorld(t, 1)
	for _, durable := range []bool{false, true} {
		spec := core.QueueSpec{Name: "auto", AutoDelete: true, Durable: durable}
		_, err := w.DeclareQueue(t.Context(), "/", spec)
		w.must(err)
		a, _ := w.consume("auto")
		b, _ := w.consume("auto")
		w.must(a.Cancel(t.Context()))
		_, err = w.CheckQueue("/", "auto", "")
		w.must(err)
		w.must(b.Cancel(t.Context()))
		if _, err := w.CheckQueue("/", "auto", ""); !errors.Is(err, core.ErrNotFound) {
			t.Errorf("durable=%v: got %v, want ErrNotFound", durable, err)
		}
	}
}

func TestExpiredMessageIsNotDelivered(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	m := amqp("", "q", "late")
	m.ExpireAt = 1
	p.send(m)
	p.send(amqp("", "q", "good"))
	c, wake := w.consume("q")
	want(t, w.take(c, wake, 1), "good")
}

func TestPurgeIsDurable(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	p := w.publisher(nil)
	for i := range 5 {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	p.confirmed()
	n, err := w.PurgeQueue(t.Context(), "/", "q", "")
	w.must(err)
	if n != 5 {
		t.Errorf("purged %d, want 5", n)
	}
	w.crash()
	st, err := w.CheckQueue("/", "q", "")
	w.must(err)
	if st.Ready != 0 {
		t.Errorf("%d ready after a crash, want 0", st.Ready)
	}
}

func TestReservedOverlapIsDeliveredOnce(t *testing.T) {
	w := newWorld(t, 1)
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a/#", "+/b")
	p := w.publisher(nil)
	p.send(mqtt("a/b", "0", 2))
	p.send(mqtt("a/b", "1", 2))
	p.confirmed()
	held := w.take(s, wake, 2)
	w.crash()
	s, wake, _ = w.session("dev", time.Hour, false)
	w.must(s.Reserve(held[0].Position))
	want(t, w.take(s, wake, 1), "1!")
	s.Settle(held[0].Position)
	w.restart()
	s, wake, _ = w.session("dev", time.Hour, false)
	want(t, w.take(s, wake, 1), "1!")
}
