package core_test

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// world is a broker on an in-memory file system that can crash.
type world struct {
	t      *testing.T
	shards int
	fs     *vfs.MemFS
	store  *memory.Store
	cat    *metadata.Catalog
	fail   atomic.Pointer[errorfs.InjectorFunc] // of file operations
	rng    *rand.Rand
	change func(*core.Config, *core.Deps) // of what the broker is opened with
	*core.Broker
}

func newWorld(t *testing.T, shards int) *world {
	t.Helper()
	return newWorldWith(t, shards, func(*core.Config, *core.Deps) {})
}

func newWorldWith(t *testing.T, shards int, change func(*core.Config, *core.Deps)) *world {
	t.Helper()
	w := &world{t: t, shards: shards, fs: vfs.NewCrashableMem(), store: memory.New(), change: change}
	name := fnv.New64()
	_, _ = name.Write([]byte(t.Name()))
	w.rng = rand.New(rand.NewPCG(name.Sum64(), 0))
	w.open()
	t.Cleanup(w.close)
	return w
}

func (w *world) open() {
	w.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	w.cat, err = metadata.OpenCatalog(w.t.Context(), w.store, metadata.CatalogConfig{Cluster: "test"}, log)
	w.must(err)
	_, err = w.cat.CreateNamespace(w.t.Context(), metadata.Namespace{Name: "/"})
	w.must(err)
	cfg := core.DefaultConfig()
	cfg.Shards, cfg.OffsetInterval = w.shards, 20*time.Millisecond
	w.checkpoints(&cfg)
	deps := core.Deps{Dir: "data", FS: w.injected(), Clock: clock.System, Rand: crand.Reader, Catalog: w.cat, Log: log}
	w.change(&cfg, &deps)
	w.Broker, err = core.Open(w.t.Context(), cfg, deps)
	w.must(err)
}

// checkpoints has the state written and made durable at other times in each
// life of the world: mostly all the time, so that crashes meet every step of it.
func (w *world) checkpoints(cfg *core.Config) {
	if w.rng.IntN(4) > 0 {
		cfg.SpillRefs = 1 + w.rng.IntN(64)
	}
	if w.rng.IntN(2) == 0 {
		cfg.CheckpointBytes = 1 + w.rng.Int64N(8<<10)
	}
	if w.rng.IntN(2) == 0 {
		cfg.CheckpointInterval = time.Duration(1+w.rng.IntN(50)) * time.Millisecond
	}
}

// calm leaves checkpoints as rare as they are by default, for tests that count
// syncs or stop them: a checkpoint asks for one.
func calm(cfg *core.Config, _ *core.Deps) {
	usual := core.DefaultConfig()
	cfg.SpillRefs, cfg.CheckpointBytes = usual.SpillRefs, usual.CheckpointBytes
	cfg.CheckpointInterval = usual.CheckpointInterval
}

// loseIndex removes the index of every shard.
func (w *world) loseIndex() {
	for i := range w.shards {
		w.must(w.fs.RemoveAll("data/index-" + strconv.Itoa(i)))
	}
}

// injected is the file system with the world's faults.
func (w *world) injected() vfs.FS {
	return errorfs.Wrap(w.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail := w.fail.Load(); fail != nil {
			return (*fail)(op)
		}
		return nil
	}))
}

func (w *world) close() {
	w.must(w.Close())
	w.must(w.cat.Close())
}

// crash loses what was not synced and starts again.
func (w *world) crash() {
	w.t.Helper()
	after := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	w.close()
	w.fs = after
	w.open()
}

// restart stops cleanly and starts again.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) queue(name string) {
	w.t.Helper()
	_, err := w.DeclareQueue(w.t.Context(), "/", core.QueueSpec{Name: name, Durable: true})
	w.must(err)
}

// publisher publishes and waits for confirms.
type publisher struct {
	w *world
	p *core.Publisher
	c chan struct{}
	n uint64
}

func (w *world) publisher(origin *core.Session) *publisher {
	w.t.Helper()
	c := make(chan struct{}, 1)
	p, err := w.NewPublisher("/", origin, signal(c))
	w.must(err)
	return &publisher{w: w, p: p, c: c}
}

func signal(c chan struct{}) func() {
	return func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (p *publisher) send(m core.Message) core.Published {
	p.w.t.Helper()
	got, err := p.p.Publish(&m)
	p.w.must(err)
	p.n = got.Seq
	return got
}

func (p *publisher) confirmed() {
	p.w.t.Helper()
	for {
		n, err := p.p.Settled()
		p.w.must(err)
		if n >= p.n {
			return
		}
		select {
		case <-p.c:
		case <-p.w.t.Context().Done():
			p.w.t.Fatal("no confirm")
		}
	}
}

func amqp(exchange, key, body string) core.Message {
	return core.Message{
		Format: core.FormatAMQP, Exchange: []byte(exchange), Key: []byte(key), Payload: []byte(body), QoS: 1,
	}
}

func mqtt(topic, body string, qos uint8) core.Message {
	return core.Message{
		Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(topic), Payload: []byte(body), QoS: qos,
	}
}

// receiver is what Consumer and Session have in common.
type receiver interface {
	Next(dst []core.Delivery, limit int) ([]core.Delivery, error)
}

// take receives n deliveries; it fails when there are not as many within the deadline.
func (w *world) take(r receiver, c chan struct{}, n int) []core.Delivery {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	var got []core.Delivery
	for {
		var err error
		got, err = r.Next(got, n-len(got))
		w.must(err)
		if len(got) == n {
			return got
		}
		select {
		case <-c:
		case <-ctx.Done():
			w.t.Fatalf("got %d deliveries of %d: %v", len(got), n, bodies(got))
		}
	}
}

func bodies(ds []core.Delivery) []string {
	out := []string{}
	for _, d := range ds {
		s := string(d.Message.Payload)
		if d.Redelivered {
			s += "!"
		}
		out = append(out, s)
	}
	return out
}

func (w *world) consume(queue string, limits ...*core.Limit) (*core.Consumer, chan struct{}) {
	w.t.Helper()
	c := make(chan struct{}, 1)
	cons, err := w.Consume(w.t.Context(), "/", core.ConsumeSpec{Queue: queue, Limits: limits, Notify: signal(c)})
	w.must(err)
	return cons, c
}

func want(t *testing.T, got []core.Delivery, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, bodies(got)); diff != "" {
		t.Fatalf("deliveries differ (-want +got):\n%s", diff)
	}
}

func eachShards(t *testing.T, fn func(t *testing.T, w *world)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", n), func(t *testing.T) { fn(t, newWorld(t, n)) })
	}
}

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
	deadline := time.After(10 * time.Second)
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
