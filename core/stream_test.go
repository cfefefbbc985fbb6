package core_test

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// wallClock is the system's clock ahead by a time that tests change.
type wallClock struct{ ahead atomic.Int64 }

func (c *wallClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *wallClock) NewTimer(d time.Duration) *clock.Timer { return clock.System.NewTimer(d) }

// streamWorld is a world with a clock that jumps and quick retention.
func streamWorld(t *testing.T) (*world, *wallClock) {
	t.Helper()
	clk := new(wallClock)
	return newWorldWith(t, 1, func(cfg *core.Config, deps *core.Deps) {
		cfg.RetentionInterval, cfg.CompactionLag = time.Millisecond, 0
		deps.Clock = clk
	}), clk
}

func (w *world) stream(name string, args ...any) {
	w.t.Helper()
	all := map[string]any{"x-queue-type": "stream"}
	for i := 0; i < len(args); i += 2 {
		all[args[i].(string)] = args[i+1] //nolint:forcetypeassert // the tests' own
	}
	_, err := w.DeclareQueue(w.t.Context(), "/", core.QueueSpec{Name: name, Durable: true, Args: all})
	w.must(err)
}

// fill publishes n numbered messages of a size.
func (w *world) fill(queue string, n, size int) {
	w.t.Helper()
	p := w.publisher(nil)
	for i := range n {
		p.send(amqp("", queue, fmt.Sprintf("%0*d", size, i)))
	}
	p.confirmed()
}

func (w *world) read(queue, group string, start core.Start, prefetch uint32) (*core.Consumer, chan struct{}) {
	w.t.Helper()
	c := make(chan struct{}, 1)
	cons, err := w.Consume(w.t.Context(), "/", core.ConsumeSpec{
		Queue: queue, Group: group, Start: start, Limits: []*core.Limit{core.NewLimit(prefetch)}, Notify: signal(c),
	})
	w.must(err)
	return cons, c
}

// eventually waits, step by step of the retention, until a stream has as many messages.
func (w *world) eventually(queue string, want uint64) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		st, err := w.CheckQueue("/", queue, "")
		w.must(err)
		if st.Ready == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("stream has %d messages, want %d", st.Ready, want)
		}
	}
}

func offsets(ds []core.Delivery) (all []core.Offset) {
	for i := range ds {
		all = append(all, ds[i].Position.Offset)
	}
	return all
}

func TestStreamIsReadFromEachStart(t *testing.T) {
	w, clk := streamWorld(t)
	w.stream("s")
	w.fill("s", 300, 1)
	clk.ahead.Store(int64(time.Hour))
	between := clk.Now().Add(-time.Minute)
	w.fill("s", 300, 1)
	for range 2 { // before and after a restart
		for _, c := range []struct {
			name  string
			start core.Start
			first core.Offset
		}{
			{"first", core.StartFirst(), 0},
			{"last", core.StartLast(), 599},
			{"offset", core.StartOffset(257), 257},
			{"time", core.StartTime(between), 300},
			{"time before all", core.StartTime(time.UnixMilli(1)), 0},
		} {
			for range 2 {
				cons, wake := w.read("s", "", c.start, 10)
				got := w.take(cons, wake, 1)
				if got[0].Position.Offset != c.first {
					t.Errorf("%s begins at %d, want %d", c.name, got[0].Position.Offset, c.first)
				}
				w.must(cons.Cancel(t.Context()))
			}
		}
		w.restart()
	}
	cons, wake := w.read("s", "", core.StartNext(), 10)
	late, lateWake := w.read("s", "", core.StartOffset(10_000), 10)
	w.fill("s", 1, 1)
	for _, got := range [][]core.Delivery{w.take(cons, wake, 1), w.take(late, lateWake, 1)} {
		if got[0].Position.Offset != 600 {
			t.Errorf("the next one is %d, want 600", got[0].Position.Offset)
		}
	}
}

func TestStreamPrefetchIsCreditAlone(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s")
	w.fill("s", 10, 1)
	cons, wake := w.read("s", "", core.StartFirst(), 3)
	got := w.take(cons, wake, 3)
	if more, err := cons.Next(nil, 10); err != nil || len(more) > 0 {
		t.Fatalf("got %v beyond the prefetch, %v", bodies(more), err)
	}
	cons.Settle(core.Requeue, got[0].Position)
	cons.Settle(core.Discard, got[1].Position)
	cons.Settle(core.Ack, got[2].Position, got[2].Position)
	want(t, w.take(cons, wake, 3), "3", "4", "5")
	st, err := w.CheckQueue("/", "s", "")
	w.must(err)
	if st.Ready != 10 || st.Consumers != 1 || !st.Stream {
		t.Fatalf("status %+v", st)
	}
}

func TestStreamRetentionByAge(t *testing.T) {
	w, clk := streamWorld(t)
	w.stream("s", "x-max-age", "1h")
	w.fill("s", 600, 1)
	w.eventually("s", 600)
	clk.ahead.Store(int64(30 * time.Minute))
	w.fill("s", 200, 1) // 800: three chunks and a piece
	clk.ahead.Store(int64(80 * time.Minute))
	w.eventually("s", 800-2*256) // the third chunk has young messages too
	w.restart()
	cons, wake := w.read("s", "", core.StartFirst(), 10)
	if got := offsets(w.take(cons, wake, 2)); got[0] != 512 || got[1] != 513 {
		t.Fatalf("the stream begins with %v", got)
	}
	clk.ahead.Store(int64(5 * time.Hour))
	w.eventually("s", 1) // the newest stays
	w.crash()
	w.fill("s", 1, 1)
	cons, wake = w.read("s", "", core.StartFirst(), 10)
	if got := offsets(w.take(cons, wake, 1)); got[0] != 799 && got[0] != 800 {
		t.Fatalf("the stream begins with %v", got)
	}
}

func TestStreamRetentionByBytes(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s", "x-max-length-bytes", int64(30_000))
	w.fill("s", 1000, 100)     // chunks of 25,600 bytes, the last has 23,200
	w.eventually("s", 232+256) // 48,800 bytes: less would be below the limit
	w.crash()
	w.fill("s", 24+256, 100)
	w.eventually("s", 512)
	cons, wake := w.read("s", "", core.StartFirst(), 10)
	if got := offsets(w.take(cons, wake, 1)); got[0] != 768 {
		t.Fatalf("the stream begins with %v", got)
	}
}

func TestStreamRetentionUntilAcked(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s", "x-cleanup-policy", "until-acked")
	w.fill("s", 600, 1)
	a, wakeA := w.read("s", "a", core.StartFirst(), 0)
	b, wakeB := w.read("s", "b", core.StartFirst(), 0)
	gotA := w.take(a, wakeA, 600)
	for i := range gotA {
		a.Settle(core.Ack, gotA[i].Position)
	}
	gotB := w.take(b, wakeB, 600)
	for i := range gotB[:300] {
		b.Settle(core.Ack, gotB[i].Position)
	}
	w.eventually("s", 300)
	w.crash()
	b, wakeB = w.read("s", "b", core.StartFirst(), 0)
	for _, d := range w.take(b, wakeB, 300) {
		b.Settle(core.Ack, d.Position)
	}
	w.eventually("s", 0)
}

// TestStreamCompaction publishes values of keys over both protocols; a topic and
// its routing key are one key.
func TestStreamCompaction(t *testing.T) {
	w, clk := streamWorld(t)
	w.stream("s", "x-cleanup-policy", "compact")
	w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "s", Key: "#"}))
	p := w.publisher(nil)
	for i := range 1000 {
		p.send(amqp(core.TopicExchange, "k."+strconv.Itoa(i%5), strconv.Itoa(i)))
	}
	p.send(mqtt("k/0", "new", 1))
	p.send(amqp(core.TopicExchange, "k.1", "")) // a tombstone
	p.confirmed()
	left := func() (all []string) {
		cons, wake := w.read("s", "", core.StartFirst(), 0)
		defer func() { w.must(cons.Cancel(t.Context())) }()
		for {
			got, err := cons.Next(nil, 2000)
			w.must(err)
			for i := range got {
				all = append(all, fmt.Sprintf("%d %s", got[i].Position.Offset, got[i].Message.Payload))
			}
			select {
			case <-wake:
			default:
				if len(got) == 0 {
					return all
				}
			}
		}
	}
	becomes := func(want ...string) {
		t.Helper()
		deadline := time.After(time.Minute)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			diff := cmp.Diff(want, left())
			if diff == "" {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("the stream differs (-want +got):\n%s", diff)
			}
		}
	}
	becomes("997 997", "998 998", "999 999", "1000 new", "1001 ")
	w.crash()
	becomes("997 997", "998 998", "999 999", "1000 new", "1001 ")
	clk.ahead.Store(int64(25 * time.Hour))
	w.restart() // a tombstone is found at the next checkpoint
	becomes("997 997", "998 998", "999 999", "1000 new")
	p = w.publisher(nil)
	p.send(amqp(core.TopicExchange, "k.1", "back"))
	p.send(amqp(core.TopicExchange, "k.2", "newer"))
	p.confirmed()
	becomes("998 998", "999 999", "1000 new", "1002 back", "1003 newer")
	w.restart()
	becomes("998 998", "999 999", "1000 new", "1002 back", "1003 newer")
}

func TestStreamGroupGoesOnAfterRestarts(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s")
	w.fill("s", 10, 1)
	one, wake := w.read("s", "g", core.StartOffset(2), 100)
	want(t, w.take(one, wake, 8), "2", "3", "4", "5", "6", "7", "8", "9")
	two, wakeTwo := w.read("s", "g", core.StartFirst(), 100)
	w.fill("s", 2, 1)
	got := append(w.take(one, wake, 1), w.take(two, wakeTwo, 1)...) // they share
	for i := range got {
		one.Settle(core.Ack, got[i].Position)
		two.Settle(core.Ack, got[i].Position)
	}
	w.must(one.Cancel(t.Context()))
	w.must(two.Cancel(t.Context()))
	w.restart()
	cons, wake := w.read("s", "g", core.StartFirst(), 100)
	got = w.take(cons, wake, 8)
	want(t, got, "2!", "3!", "4!", "5!", "6!", "7!", "8!", "9!")
	for i := range got {
		cons.Settle(core.Ack, got[i].Position)
	}
	w.must(cons.Cancel(t.Context()))
	groups, err := w.Groups("/", "s")
	w.must(err)
	if len(groups) != 1 || groups[0].Name != "g" || groups[0].Lag != 0 || groups[0].Floor != 12 {
		t.Fatalf("groups %+v", groups)
	}
	w.must(w.SeekGroup(t.Context(), "/", "s", "g", core.StartOffset(5)))
	w.crash()
	cons, wake = w.read("s", "g", core.StartFirst(), 1)
	want(t, w.take(cons, wake, 1), "5")
	if err := w.SeekGroup(t.Context(), "/", "s", "g", core.StartFirst()); !errors.Is(err, core.ErrInUse) {
		t.Fatalf("reset of a group with a consumer: %v", err)
	}
	w.must(cons.Cancel(t.Context()))
	w.must(w.DeleteGroup(t.Context(), "/", "s", "g"))
	cons, wake = w.read("s", "g", core.StartOffset(9), 1)
	want(t, w.take(cons, wake, 1), "9")
}

// TestStreamStoresOnceForAll publishes what does not compress to a stream and
// two queues.
func TestStreamStoresOnceForAll(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s")
	w.queue("a")
	w.queue("b")
	for _, q := range []string{"s", "a", "b"} {
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: q, Key: "#"}))
	}
	body := make([]byte, 1<<16)
	_, _ = crand.Read(body)
	p := w.publisher(nil)
	before := w.Stats().LogBytes
	for range 10 {
		p.send(amqp(core.TopicExchange, "k", string(body)))
	}
	p.confirmed()
	if wrote := w.Stats().LogBytes - before; wrote > 12*uint64(len(body)) {
		t.Fatalf("10 messages of %d bytes took %d", len(body), wrote)
	}
	cons, wake := w.read("s", "", core.StartFirst(), 0)
	w.take(cons, wake, 10)
	a, wakeA := w.consume("a")
	w.take(a, wakeA, 10)
}

// TestStreamManyReaders has many readers of one stream.
func TestStreamManyReaders(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s")
	w.fill("s", 500, 1)
	for range 100 {
		cons, wake := w.read("s", "", core.StartFirst(), 0)
		got := w.take(cons, wake, 500)
		if got[499].Position.Offset != 499 {
			t.Fatalf("the last is %d", got[499].Position.Offset)
		}
	}
	_, err := w.DeleteQueue(t.Context(), "/", "s", "", false, false)
	w.must(err)
}

func TestStreamRefusals(t *testing.T) {
	w, _ := streamWorld(t)
	w.stream("s", "x-max-age", "7D")
	w.queue("q")
	declare := func(durable, exclusive bool, args map[string]any) error {
		args["x-queue-type"] = "stream"
		_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{
			Name: "x", Owner: "me", Durable: durable, Exclusive: exclusive, Args: args,
		})
		return err
	}
	_, purge := w.PurgeQueue(t.Context(), "/", "s", "")
	_, _, _, _, get := w.Get(t.Context(), "/", "s", "", false) //nolint:dogsled // only its error counts
	_, again := w.DeclareQueue(t.Context(), "/", core.QueueSpec{
		Name: "s", Durable: true, Args: map[string]any{"x-queue-type": "stream", "x-max-age": "6D"},
	})
	_, start := w.Consume(t.Context(), "/", core.ConsumeSpec{Queue: "q", Start: core.StartFirst(), Notify: func() {}})
	_, group := w.Groups("/", "q")
	for _, c := range []struct {
		name      string
		got, want error
	}{
		{"purge", purge, core.ErrUnsupported},
		{"get", get, core.ErrUnsupported},
		{"another age", again, core.ErrInequivalent},
		{"a start on a queue", start, core.ErrInvalid},
		{"groups of a queue", group, core.ErrUnsupported},
		{"not durable", declare(false, false, map[string]any{}), core.ErrInvalid},
		{"exclusive", declare(true, true, map[string]any{}), core.ErrInvalid},
		{"age", declare(true, false, map[string]any{"x-max-age": "7d"}), core.ErrInvalid},
		{"huge age", declare(true, false, map[string]any{"x-max-age": "400Y"}), core.ErrInvalid},
		{"bytes", declare(true, false, map[string]any{"x-max-length-bytes": int64(-1)}), core.ErrInvalid},
		{"policy", declare(true, false, map[string]any{"x-cleanup-policy": "shrink"}), core.ErrInvalid},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}
