package core

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// bed is a broker whose store has everything soon, so that sessions can rest.
type bed struct {
	t     *testing.T
	fs    *vfs.MemFS
	cat   *metadata.Catalog
	count int
	rare  bool // the store has nothing soon
	*Broker
}

func newBed(t *testing.T) *bed {
	t.Helper()
	x := &bed{t: t, fs: vfs.NewCrashableMem()}
	var err error
	x.cat, err = metadata.OpenCatalog(t.Context(), memory.New(), metadata.CatalogConfig{Cluster: "test"}, slog.New(slog.DiscardHandler))
	x.must(err)
	_, err = x.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"})
	x.must(err)
	x.open()
	t.Cleanup(func() { _ = x.Close(); _ = x.cat.Close() })
	return x
}

func (x *bed) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *bed) open() {
	x.t.Helper()
	cfg := DefaultConfig()
	if cfg.Shards = 2; !x.rare {
		cfg.CheckpointBytes = 1
	}
	var err error
	x.Broker, err = Open(x.t.Context(), cfg, Deps{
		Dir: "data", FS: x.fs, Clock: clock.System, Rand: rand.Reader, Catalog: x.cat, Log: slog.New(slog.DiscardHandler),
	})
	x.must(err)
	x.GuardWills(func(WillOf) bool { return true })
}

func (x *bed) restart() {
	x.t.Helper()
	x.must(x.Close())
	x.open()
}

// attach opens a session, which must be there or must not.
func (x *bed) attach(client string, expiry time.Duration, present bool) *Session {
	x.t.Helper()
	s, was, err := x.OpenSession(x.t.Context(), "/", spec(client, expiry))
	x.must(err)
	if was != present {
		x.t.Fatalf("session of %s is present: %v, want %v", client, was, present)
	}
	return s
}

// leave makes a session with subscriptions and leaves it without a connection.
func (x *bed) leave(client string, expiry time.Duration, subs ...SubscriptionSpec) {
	x.t.Helper()
	s := x.attach(client, expiry, false)
	_, err := s.Subscribe(x.t.Context(), subs)
	x.must(err)
	x.must(s.Close(x.t.Context()))
}

func (x *bed) publish(topic, payload string) {
	x.t.Helper()
	x.send(&Message{Key: []byte(topic), Payload: []byte(payload)})
}

// send publishes a message with QoS 1, and waits until it is durable.
func (x *bed) send(m *Message) {
	x.t.Helper()
	x.sendIn("/", m)
}

func (x *bed) sendIn(namespace string, m *Message) {
	x.t.Helper()
	done := make(chan struct{}, 1)
	p, err := x.NewPublisher(namespace, nil, func() {
		select {
		case done <- struct{}{}:
		default:
		}
	})
	x.must(err)
	defer p.Close()
	m.Format, m.Exchange, m.QoS = FormatMQTT, []byte("amq.topic"), 1
	r, err := p.Publish(m)
	x.must(err)
	for {
		n, err := p.Settled()
		x.must(err)
		if n >= r.Seq {
			return
		}
		<-done
	}
}

// rest waits until n sessions rest.
func (x *bed) rest(n int) {
	x.t.Helper()
	for {
		x.restSessions()
		x.sessions.mu.Lock()
		resting := x.sessions.ends.resting
		x.sessions.mu.Unlock()
		if resting == n {
			return
		}
		x.must(x.t.Context().Err())
		x.count++
		// What is applied next stores what was applied before; one of the topics is in each shard.
		x.send(&Message{Key: []byte("elsewhere/" + strconv.Itoa(x.count%16)), Payload: []byte("x"), Retain: true})
	}
}

func (x *bed) awake() int {
	x.sessions.mu.Lock()
	defer x.sessions.mu.Unlock()
	return len(x.sessions.byKey)
}

func (x *bed) filter(text string) (f filter, known bool) {
	ns, err := x.namespace("/")
	x.must(err)
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if ns.filters[text] == nil {
		return filter{}, false
	}
	return *ns.filters[text], true
}

// expect takes one message.
func (x *bed) expect(s *Session, payload string) {
	x.t.Helper()
	got, err := s.Next(nil, 10)
	x.must(err)
	if len(got) != 1 || string(got[0].Message.Payload) != payload || len(got[0].Subscriptions) != 1 {
		x.t.Fatalf("took %d messages %+v, want %q", len(got), got, payload)
	}
	s.Settle(got[0].Position)
}

// TestSessionRests has a session leave memory and come back with all it had: after it has
// rested, and after it has rested over a restart.
func TestSessionRests(t *testing.T) {
	x := newBed(t)
	subs := []SubscriptionSpec{
		{Filter: "dev/1/+", QoS: 1, NoLocal: true, Data: []byte("options")}, {Filter: "news/#", QoS: 0},
	}
	s := x.attach("dev-1", time.Hour, false)
	_, err := s.Subscribe(t.Context(), subs)
	x.must(err)
	_, err = s.Put(7, []byte("state"))
	x.must(err)
	want := s.Subscriptions()
	x.must(s.Close(t.Context()))
	for _, again := range []string{"once rested", "over a restart", "after that"} {
		x.rest(1)
		if f, known := x.filter("dev/1/+"); !known || f.subs != nil || f.nDurable != 1 {
			t.Errorf("%s: filter of a session that rests: %v, %d sessions, %d readers", again, known, len(f.subs), f.nDurable)
		}
		if _, known := x.filter("news/#"); known {
			t.Errorf("%s: a filter that only sessions read that rest is bound", again)
		}
		x.publish("dev/1/a", again)
		if again == "over a restart" {
			x.restart()
			if n := x.awake(); n != 0 {
				t.Errorf("%d sessions in memory after a start, want none", n)
			}
		}
		if n := x.Stats().Sessions; n != 1 {
			t.Errorf("%s: %d sessions, want 1", again, n)
		}
		s := x.attach("dev-1", time.Hour, true)
		if diff := cmp.Diff(want, s.Subscriptions(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: subscriptions (-left +got):\n%s", again, diff)
		}
		values := map[uint32]string{}
		s.Values(func(key uint32, v []byte) { values[key] = string(v) })
		if diff := cmp.Diff(map[uint32]string{7: "state"}, values); diff != "" {
			t.Errorf("%s: values (-left +got):\n%s", again, diff)
		}
		if f, known := x.filter("news/#"); !known || len(f.subs) != 1 {
			t.Errorf("%s: the filter of QoS 0 is not bound for a connected session", again)
		}
		x.expect(s, again)
		existed, err := s.Subscribe(t.Context(), subs[:1])
		if err != nil || !existed[0] {
			t.Errorf("%s: subscribed before: %v, %v", again, existed, err)
		}
		x.must(s.Close(t.Context()))
	}
}

// TestSessionOfTheLogDoesNotRest has a session in the log that the index does not know
// after a crash: it is in memory until the index has it.
func TestSessionOfTheLogDoesNotRest(t *testing.T) {
	x := newBed(t)
	x.rare = true
	x.restart()
	x.leave("dev", time.Hour, SubscriptionSpec{Filter: "a", QoS: 1})
	x.publish("a", "1")
	x.fs = x.fs.CrashClone(vfs.CrashCloneCfg{})
	before := x.Broker
	x.open()
	t.Cleanup(func() { _ = before.Close() })
	x.restSessions()
	if n := x.awake(); n != 1 {
		t.Errorf("%d sessions in memory after a crash, want the one that only the log has", n)
	}
	x.expect(x.attach("dev", time.Hour, true), "1")
}

// TestRestGivesBackWhatWasInFlight leaves a message without settling it.
func TestRestGivesBackWhatWasInFlight(t *testing.T) {
	x := newBed(t)
	x.leave("dev", time.Hour, SubscriptionSpec{Filter: "a", QoS: 1})
	x.publish("a", "1")
	s := x.attach("dev", time.Hour, true)
	if got, err := s.Next(nil, 10); err != nil || len(got) != 1 {
		t.Fatalf("took %d, %v", len(got), err)
	}
	x.must(s.Close(t.Context()))
	x.rest(1)
	s = x.attach("dev", time.Hour, true)
	got, err := s.Next(nil, 10)
	if err != nil || len(got) != 1 || !got[0].Redelivered {
		t.Fatalf("after a rest: %+v, %v; want the message as redelivered", got, err)
	}
}

// TestRestingSessionEnds has sessions that rest end in each way there is: nothing of them
// is left.
func TestRestingSessionEnds(t *testing.T) {
	for name, end := range map[string]func(x *bed){
		"expiry": func(x *bed) {
			later := time.Now().Add(2 * time.Hour)
			for _, due := range x.sessions.due(later) {
				x.must(x.expire(x.t.Context(), due, later))
			}
		},
		"clean start": func(x *bed) {
			clean := spec("dev", 0)
			clean.Clean = true
			s, present, err := x.OpenSession(x.t.Context(), "/", clean)
			x.must(err)
			if present {
				x.t.Error("present after a clean start")
			}
			x.must(s.Close(x.t.Context()))
		},
		"namespace": func(x *bed) { x.must(x.EndSessions(x.t.Context(), "/")) },
		"expiry after a restart": func(x *bed) {
			x.restart()
			later := time.Now().Add(2 * time.Hour)
			for _, due := range x.sessions.due(later) {
				x.must(x.expire(x.t.Context(), due, later))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newBed(t)
			x.leave("dev", time.Hour, SubscriptionSpec{Filter: "a", QoS: 1}, SubscriptionSpec{Filter: "b", QoS: 0})
			x.rest(1)
			end(x)
			if n := x.Stats().Sessions; n != 0 {
				t.Errorf("%d sessions are left", n)
			}
			if _, known := x.filter("a"); known {
				t.Error("its filter is left")
			}
			if n := x.Stats().Streams; n != 0 {
				t.Errorf("%d streams are left", n)
			}
			x.restart()
			if n := x.Stats().Sessions; n != 0 {
				t.Errorf("%d sessions after a restart", n)
			}
			x.attach("dev", time.Hour, false)
		})
	}
}

// TestRestingSessionHasAnOwner refuses a session that rests to another principal.
func TestRestingSessionHasAnOwner(t *testing.T) {
	x := newBed(t)
	x.leave("dev", time.Hour, SubscriptionSpec{Filter: "a", QoS: 1})
	x.rest(1)
	other := spec("dev", time.Hour)
	other.Owner = "mallory"
	if _, _, err := x.OpenSession(t.Context(), "/", other); !errors.Is(err, ErrNotOwner) {
		t.Errorf("another principal: %v, want ErrNotOwner", err)
	}
	x.publish("a", "1")
	x.expect(x.attach("dev", time.Hour, true), "1")
}

// TestWhatDoesNotRest keeps sessions in memory that have what only memory knows.
func TestWhatDoesNotRest(t *testing.T) {
	x := newBed(t)
	withData := x.attach("data", time.Hour, false)
	withData.SetData(1)
	x.must(withData.Close(t.Context()))
	exclusive := x.attach("exclusive", time.Hour, false)
	if !exclusive.Claim("mine") {
		t.Fatal("not claimed")
	}
	_, err := exclusive.Subscribe(t.Context(), []SubscriptionSpec{{Filter: "mine", QoS: 1, Exclusive: true}})
	x.must(err)
	x.must(exclusive.Close(t.Context()))
	willed := spec("will", time.Hour)
	willed.Will = &Will{Message: Message{Format: FormatMQTT, Exchange: []byte("amq.topic"), Key: []byte("w"), QoS: 1}, Delay: time.Hour}
	s, _, err := x.OpenSession(t.Context(), "/", willed)
	x.must(err)
	x.must(s.Close(t.Context()))
	x.leave("rests", time.Hour, SubscriptionSpec{Filter: "a", QoS: 1})
	x.rest(1)
	if n := x.awake(); n != 3 {
		t.Errorf("%d sessions in memory, want those with data, a filter for itself and a will", n)
	}
	x.restart()
	if n := x.awake(); n != 2 {
		t.Errorf("%d sessions in memory after a restart, want those with a filter for itself and a will", n)
	}
	if x.attach("other", time.Hour, false).Claim("mine") {
		t.Error("a filter for itself was given to another after a restart")
	}
	// The will of a session that rested in the store belongs to it: its end sends it.
	clean := spec("will", 0)
	clean.Clean = true
	_, _, err = x.OpenSession(t.Context(), "/", clean)
	x.must(err)
	if n := x.Stats().Wills; n != 1 {
		t.Errorf("%d wills were sent at the end of the session, want 1", n)
	}
}

// TestSharedFilterCostsCursors has sessions with one filter: the message is stored once,
// each has a cursor.
func TestSharedFilterCostsCursors(t *testing.T) {
	x := newBed(t)
	const n = 200
	for i := range n {
		x.leave(fmt.Sprint("dev-", i), time.Hour, SubscriptionSpec{Filter: "all", QoS: 1})
	}
	x.rest(n)
	before := x.Stats().LogBytes
	payload := make([]byte, 10_000) // that no compression makes smaller
	_, _ = rand.Read(payload)
	x.publish("all", string(payload))
	if grown := x.Stats().LogBytes - before; grown < 10_000 || grown > 2*10_000 {
		t.Errorf("one message of 10,000 bytes for %d sessions took %d bytes of the log", n, grown)
	}
	for _, i := range []int{0, n / 2, n - 1} {
		s := x.attach(fmt.Sprint("dev-", i), time.Hour, true)
		got, err := s.Next(nil, 10)
		if err != nil || len(got) != 1 || string(got[0].Message.Payload) != string(payload) {
			t.Errorf("session %d took %d messages, %v", i, len(got), err)
		}
	}
	x.restart()
	if f, known := x.filter("all"); !known || f.nDurable != n {
		t.Errorf("filter after a restart: %v, %d sessions, want %d", known, f.nDurable, n)
	}
}
