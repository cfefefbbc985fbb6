package core_test

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// gate stops file operations of a kind until it is opened.
type gate struct {
	once    sync.Once
	opened  chan struct{}
	reached chan struct{} // one token once somebody waits
}

// stop makes every operation of the kind wait.
func (w *world) stop(kind errorfs.OpKind) *gate {
	g := &gate{opened: make(chan struct{}), reached: make(chan struct{}, 1)}
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != kind {
			return nil
		}
		select {
		case g.reached <- struct{}{}:
		default:
		}
		<-g.opened
		return nil
	})
	w.fail.Store(&fail)
	w.t.Cleanup(g.open)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// rest lets the log fall idle, so that everything is synced and marked.
func rest() {
	<-time.After(300 * time.Millisecond)
	synctest.Wait()
}

// durableQueue declares a queue with a durability of its own.
func (w *world) durableQueue(name, durability string) {
	w.t.Helper()
	_, err := w.DeclareQueue(w.t.Context(), "/", core.QueueSpec{
		Name: name, Durable: true, Args: map[string]any{"x-durability": durability},
	})
	w.must(err)
}

func (p *publisher) settled() uint64 {
	p.w.t.Helper()
	n, err := p.p.Settled()
	p.w.must(err)
	return n
}

// TestWhatAConfirmWaitsFor stops the disk at its write and at its sync, and sees
// which publishes are confirmed and delivered meanwhile.
func TestWhatAConfirmWaitsFor(t *testing.T) {
	for _, tt := range []struct {
		stopped   errorfs.OpKind
		queues    []string
		confirmed bool
	}{
		{errorfs.OpFileSyncData, []string{"fsync"}, false},
		{errorfs.OpFileSyncData, []string{"os"}, true},
		{errorfs.OpFileSyncData, []string{"memory"}, true},
		{errorfs.OpFileSyncData, []string{"memory", "os"}, true},
		{errorfs.OpFileSyncData, []string{"memory", "fsync"}, false},
		{errorfs.OpFileWriteAt, []string{"fsync"}, false},
		{errorfs.OpFileWriteAt, []string{"os"}, false},
		{errorfs.OpFileWriteAt, []string{"memory"}, true},
		{errorfs.OpFileWriteAt, []string{"memory", "os"}, false},
	} {
		bubble(t, fmt.Sprint(tt.stopped, tt.queues), func(t *testing.T) {
			w := newWorldWith(t, 1, calm)
			for _, q := range tt.queues {
				w.durableQueue(q, q)
				w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: "amq.fanout", Dest: q}))
			}
			c, wake := w.consume(tt.queues[0])
			rest()
			g := w.stop(tt.stopped)
			p := w.publisher(nil)
			p.send(amqp("amq.fanout", "", "x"))
			written := tt.stopped == errorfs.OpFileSyncData && tt.confirmed
			if tt.confirmed {
				p.confirmed()
			} else {
				<-g.reached
			}
			if got := p.settled(); (got == 1) != tt.confirmed {
				t.Errorf("settled %d, want confirmed %v", got, tt.confirmed)
			}
			if !written {
				if got, err := c.Next(nil, 1); len(got) > 0 || err != nil {
					t.Errorf("delivered before it was written: %v, %v", bodies(got), err)
				}
			}
			g.open()
			p.confirmed()
			want(t, w.take(c, wake, 1), "x")
		})
	}
}

// TestMemoryConfirmsBesideABlockedSync has publishes of both kinds in one log:
// those that wait for the sync hold the others back in nothing.
func TestMemoryConfirmsBesideABlockedSync(t *testing.T) {
	synctest.Test(t, memoryConfirmsBesideABlockedSync)
}

func memoryConfirmsBesideABlockedSync(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.durableQueue("quick", "memory")
	w.queue("safe")
	g := w.stop(errorfs.OpFileSyncData)
	safe, quick := w.publisher(nil), w.publisher(nil)
	safe.send(amqp("", "safe", "s"))
	<-g.reached
	for i := range 1000 {
		quick.send(amqp("", "quick", strconv.Itoa(i)))
	}
	quick.confirmed()
	if n := safe.settled(); n != 0 {
		t.Errorf("confirmed %d without a sync", n)
	}
	g.open()
	safe.confirmed()
}

// bubble runs a subtest in a bubble of synctest: what waits for time to pass,
// as the log's watermark does, comes only when all else rests.
func bubble(t *testing.T, name string, fn func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, fn) })
}

// lossTrial publishes numbers to a queue and returns how many were confirmed
// when the machine or the process went away, and which were there after.
func lossTrial(t *testing.T, durability string, keep int) (confirmed int, found []string) {
	t.Helper()
	w := newWorldWith(t, 1, calm)
	w.durableQueue("q", durability)
	p := w.publisher(nil)
	const early, late = 50, 50
	for i := range early {
		p.send(amqp("", "q", strconv.Itoa(i)))
		p.confirmed()
	}
	rest()
	g := w.stop(errorfs.OpFileSyncData) // from here on nothing is synced any more
	for i := range late {
		p.send(amqp("", "q", strconv.Itoa(early+i)))
		if durability == "os" { // one batch each
			p.confirmed()
		}
	}
	if durability == "memory" {
		p.confirmed()
	}
	confirmed = int(p.settled())
	after := w.cut(keep)
	g.open()
	w.close()
	w.store.SetAway(false)
	w.fail.Store(nil)
	w.fs = after
	w.open()
	st, err := w.CheckQueue("/", "q", "")
	w.must(err)
	if st.Ready == 0 {
		return confirmed, nil
	}
	c, wake := w.consume("q")
	return confirmed, bodies(w.take(c, wake, int(st.Ready)))
}

// TestEachDurabilityLosesNoMoreThanItSays loses the machine, and the process
// alone, under publishes of each durability.
func TestEachDurabilityLosesNoMoreThanItSays(t *testing.T) {
	const machine, process = 0, 100 // per cent of what was written and not synced that is kept
	for _, tt := range []struct {
		durability string
		keep       int
		loses      bool
	}{
		{"fsync", machine, false},
		{"fsync", process, false},
		{"os", machine, true},
		{"os", process, false},
		{"memory", machine, true},
	} {
		bubble(t, fmt.Sprintf("%s/keep=%d", tt.durability, tt.keep), func(t *testing.T) {
			confirmed, found := lossTrial(t, tt.durability, tt.keep)
			if lost := confirmed - len(found); lost > 0 != tt.loses {
				t.Errorf("%d of %d confirmed messages are lost, want a loss %v", lost, confirmed, tt.loses)
			}
			for i, body := range found { // a loss is one of the newest, never a hole
				if body != strconv.Itoa(i) {
					t.Fatalf("message %d is %q", i, body)
				}
			}
		})
	}
}

// TestMemoryLosesWhatWasNotWritten ends the process between the confirm and the write.
func TestMemoryLosesWhatWasNotWritten(t *testing.T) {
	synctest.Test(t, memoryLosesWhatWasNotWritten)
}

func memoryLosesWhatWasNotWritten(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.durableQueue("q", "memory")
	c, wake := w.consume("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "written"))
	want(t, w.take(c, wake, 1), "written") // delivered, so written
	rest()
	g := w.stop(errorfs.OpFileWriteAt)
	p.send(amqp("", "q", "gone"))
	p.confirmed()
	after := w.cut(100)
	g.open()
	w.close()
	w.store.SetAway(false)
	w.fail.Store(nil)
	w.fs = after
	w.open()
	c, wake = w.consume("q")
	want(t, w.take(c, wake, 1), "written!")
	if got, err := c.Next(nil, 1); len(got) > 0 || err != nil {
		t.Errorf("got %v, %v, want nothing more", bodies(got), err)
	}
}

// TestBusyLogSyncsOnceASecond keeps a log busy with publishes that ask for no
// sync, so that it is never idle.
func TestBusyLogSyncsOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calm)
		w.durableQueue("q", "os")
		rest()
		p := w.publisher(nil)
		before, start := w.Stats().Syncs, time.Now()
		for time.Since(start) < 10*time.Second {
			p.send(amqp("", "q", "x"))
			p.confirmed()
			<-time.After(50 * time.Millisecond)
		}
		if got := w.Stats().Syncs - before; got < 9 || got > 11 {
			t.Errorf("%d batches were synced in ten seconds", got)
		}
	})
}

func TestDurabilityOfNamespaceAndQueue(t *testing.T) {
	synctest.Test(t, durabilityOfNamespaceAndQueue)
}

func durabilityOfNamespaceAndQueue(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("follows")
	w.durableQueue("own", "fsync")
	w.must(w.cat.PutNamespace(t.Context(), metadata.Namespace{Name: "/", Durability: "memory"}))
	s, _, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "t")
	rest()
	g := w.stop(errorfs.OpFileWriteAt)
	for _, m := range []core.Message{amqp("", "follows", "x"), mqtt("t", "x", 1), retained(mqtt("r", "x", 1))} {
		p := w.publisher(nil)
		p.send(m)
		p.confirmed()
	}
	p := w.publisher(nil)
	p.send(amqp("", "own", "x"))
	<-g.reached
	if n := p.settled(); n != 0 {
		t.Error("the queue's own durability does not count")
	}
	g.open()
	p.confirmed()

	w.must(w.cat.PutNamespace(t.Context(), metadata.Namespace{Name: "/", Durability: "another"})) // as of a later version
	rest()
	g = w.stop(errorfs.OpFileSyncData)
	p = w.publisher(nil)
	p.send(amqp("", "follows", "x"))
	<-g.reached
	if n := p.settled(); n != 0 {
		t.Error("an unknown durability does not sync")
	}
	g.open()
	p.confirmed()
}

func TestQueueDurabilityArgument(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	declare := func(args map[string]any) error {
		_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "q", Durable: true, Args: args})
		return err
	}
	for _, value := range []any{"", "sometimes", int64(1), nil} {
		err := declare(map[string]any{"x-durability": value})
		if e, ok := errors.AsType[*core.Error](err); !ok || !errors.Is(err, core.ErrInvalid) || e.Arg != "x-durability" {
			t.Errorf("%v: got %v, want ErrInvalid", value, err)
		}
	}
	w.must(declare(map[string]any{"x-durability": "os"}))
	w.must(declare(map[string]any{"x-durability": "os"}))
	for _, args := range []map[string]any{nil, {"x-durability": "fsync"}} {
		if err := declare(args); !errors.Is(err, core.ErrInequivalent) {
			t.Errorf("%v: got %v, want ErrInequivalent", args, err)
		}
	}
	w.restart()
	w.must(declare(map[string]any{"x-durability": "os"}))
}
