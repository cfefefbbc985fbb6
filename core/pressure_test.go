package core_test

import (
	"errors"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
)

const gib = 1 << 30

// disk sets how much of the world's disk of 100 GiB is free.
func (w *world) disk(free uint64) {
	w.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: free, TotalBytes: 100 * gib, UsedBytes: 100*gib - free})
}

// alarms notes what OnPressure tells.
type alarms struct {
	mu   sync.Mutex
	all  []string
	stop func()
}

func (w *world) alarms() *alarms {
	a := &alarms{}
	a.stop = w.OnPressure(func(p core.Pressure) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all = append(a.all, p.Reason)
	})
	return a
}

func (a *alarms) want(t *testing.T, want ...string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.Equal(a.all, want) {
		t.Fatalf("alarms: got %q, want %q", a.all, want)
	}
}

// pass lets one interval pass; the test is in a bubble of synctest.
func pass() {
	<-time.After(1100 * time.Millisecond)
	synctest.Wait()
}

func TestDiskPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.disk(50 * gib)
		pass()
		w.queue("q")
		p := w.publisher(nil)
		p.send(amqp("", "q", "1"))
		p.confirmed()
		heard := w.alarms()
		heard.want(t, "")

		w.disk(gib)
		pass()
		heard.want(t, "", "low on disk")
		if got := w.Pressure(); got != (core.Pressure{Disk: true, Reason: "low on disk"}) {
			t.Fatalf("pressure: got %+v", got)
		}
		m := amqp("", "q", "refused")
		if _, err := p.p.Publish(&m); !errors.Is(err, core.ErrPressure) {
			t.Fatalf("publish: got %v, want ErrPressure", err)
		}
		unrouted := amqp("", "nowhere", "x")
		if _, err := p.p.Publish(&unrouted); err != nil {
			t.Errorf("a publish that stores nothing: %v", err)
		}
		w.queue("declares go on")
		c, wake := w.consume("q")
		got := w.take(c, wake, 1)
		want(t, got, "1")
		c.Settle(core.Ack, got[0].Position)

		w.disk(3 * gib)
		pass()
		heard.want(t, "", "low on disk", "")
		p.send(amqp("", "q", "2"))
		p.confirmed()
		want(t, w.take(c, wake, 1), "2")

		heard.stop()
		w.disk(gib)
		pass()
		heard.want(t, "", "low on disk", "")
		st := w.Stats()
		if st.Blocked != 1 || st.DiskFree != gib || st.DiskTotal != 100*gib || !st.DiskWarning || !st.Pressure.Disk {
			t.Errorf("stats: %+v", st)
		}
	})
}

// TestPressureAtStart holds publishers back from the first moment on.
func TestPressureAtStart(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	w.disk(1)
	w.restart()
	m := amqp("", "q", "x")
	p := w.publisher(nil)
	if _, err := p.p.Publish(&m); !errors.Is(err, core.ErrPressure) {
		t.Fatalf("publish: got %v, want ErrPressure", err)
	}
}

// TestFastPublishersDoNotOvertakeTheWatch fills the disk within one interval:
// no look is due, and still the mark holds.
func TestFastPublishersDoNotOvertakeTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.queue("q")
		w.disk(2*gib + 1<<20)
		pass()
		p := w.publisher(nil)
		m := amqp("", "q", string(make([]byte, 64<<10)))
		taken := 0
		for {
			_, err := p.p.Publish(&m)
			if errors.Is(err, core.ErrPressure) {
				break
			}
			w.must(err)
			taken++
			w.disk(2*gib + 1<<20 - uint64(taken)<<16)
			if taken > 100 {
				t.Fatal("the mark was overtaken")
			}
		}
		if taken < 10 || taken > 17 {
			t.Errorf("got %d messages of 64 KiB into 1 MiB", taken)
		}
		p.n = uint64(taken)
		p.confirmed()
		p.p.Close()
	})
}

func TestPressureAndQoS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		var live atomic.Int64
		s, _, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
			ClientID: "live", Owner: "guest", Notify: func() {}, Kicked: func() {},
			Live: func(*core.Message, []core.SubID) bool { live.Add(1); return true },
		})
		w.must(err)
		_, err = s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "live", QoS: 0}, {Filter: "both", QoS: 0}})
		w.must(err)
		w.queue("q")
		w.must(w.Bind(t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "q", Key: "both"}))
		pub, _, _ := w.session("pub", time.Hour, false)
		p := w.publisher(pub)
		stored := mqtt("both", "stored before", 2)
		stored.Once = core.Once{Session: pub.ID(), ID: 7}
		p.send(stored)
		p.confirmed()
		live.Store(0)

		w.disk(gib)
		pass()
		for _, tt := range []struct {
			name string
			m    core.Message
			want error
			live int64
		}{
			{"QoS 1 to a QoS 0 subscriber", mqtt("live", "x", 1), nil, 1},
			{"QoS 1 that a queue wants too", mqtt("both", "x", 1), core.ErrPressure, 0},
			{"QoS 0 that a queue wants too", lossy(mqtt("both", "x", 0)), nil, 1},
			{"retained", retained(mqtt("live", "x", 1)), core.ErrPressure, 0},
			{"retained QoS 0", lossy(retained(mqtt("live", "x", 0))), nil, 1},
			{"sent again, and stored already", stored, nil, 0},
		} {
			live.Store(0)
			if _, err := p.p.Publish(&tt.m); !errors.Is(err, tt.want) {
				t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
			}
			if got := live.Load(); got != tt.live {
				t.Errorf("%s: %d live deliveries, want %d", tt.name, got, tt.live)
			}
		}
		if st := w.Stats(); st.Shed != 2 || st.Blocked != 2 {
			t.Errorf("shed %d, blocked %d; want 2, 2", st.Shed, st.Blocked)
		}
		c, wake := w.consume("q")
		want(t, w.take(c, wake, 1), "stored before")
	})
}

func lossy(m core.Message) core.Message    { m.Lossy = true; return m }
func retained(m core.Message) core.Message { m.Retain = true; return m }

func TestMemoryPressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var used, reclaims atomic.Uint64
		w := newWorldWith(t, 1, func(_ *core.Config, d *core.Deps) {
			d.Memory = core.Memory{Limit: 1000 << 20, InUse: used.Load, Reclaim: func() { reclaims.Add(1) }}
		})
		heard := w.alarms()
		used.Store(700 << 20)
		pass()
		w.disk(gib)
		pass()
		heard.want(t, "", "low on memory", "low on memory & disk")
		for range 10 {
			pass()
		}
		if reclaims.Load() == 0 {
			t.Error("nothing was reclaimed")
		}
		used.Store(100 << 20)
		pass()
		w.disk(50 * gib)
		pass()
		heard.want(t, "", "low on memory", "low on memory & disk", "low on disk", "")
		n := reclaims.Load()
		for range 10 {
			pass()
		}
		if reclaims.Load() != n {
			t.Error("reclaimed without need")
		}
	})
}

// TestPressureMarksChange raises and ends alarms by other marks, on a disk and a
// memory that stay as they are. Nothing waits for an interval.
func TestPressureMarksChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var marked atomic.Uint64
		w := newWorldWith(t, 1, func(_ *core.Config, d *core.Deps) {
			d.Memory = core.Memory{Limit: 1000 << 20, InUse: func() uint64 { return 100 << 20 }, Marked: marked.Store}
		})
		w.disk(50 * gib)
		pass()
		heard := w.alarms()
		set := func(change func(*core.PressureConfig)) {
			t.Helper()
			cfg := w.PressureMarks()
			change(&cfg)
			w.must(w.SetPressureMarks(cfg))
		}
		set(func(c *core.PressureConfig) { c.MemoryHighBytes = 50 << 20 })
		heard.want(t, "", "low on memory")
		if marked.Load() != 50<<20 {
			t.Errorf("the mark that the collector was told: got %d", marked.Load())
		}
		set(func(c *core.PressureConfig) { c.MemoryHighBytes = 1 })
		if marked.Load() != 50<<20 {
			t.Errorf("the collector was told a mark of %d, which it can't stay below", marked.Load())
		}
		set(func(c *core.PressureConfig) { c.DiskFreePercent, c.DiskFreeBytes = 50, 0 })
		heard.want(t, "", "low on memory") // half of the disk is free
		w.disk(49 * gib)
		pass()
		heard.want(t, "", "low on memory", "low on memory & disk")
		set(func(c *core.PressureConfig) { c.MemoryHighBytes, c.MemoryHighPercent = 0, 0 })
		heard.want(t, "", "low on memory", "low on memory & disk", "low on disk")
		set(func(c *core.PressureConfig) { c.DiskFreePercent, c.DiskWarnPercent = 0, 0 })
		heard.want(t, "", "low on memory", "low on memory & disk", "low on disk", "")
		w.disk(1)
		pass()
		heard.want(t, "", "low on memory", "low on memory & disk", "low on disk", "")
		if err := w.SetPressureMarks(core.PressureConfig{DiskFreePercent: 99, Interval: time.Second}); err == nil {
			t.Error("marks that can't be were taken")
		}
	})
}

// TestPressureListenersInParallel changes alarms while listeners come and go
// and publishers count what they take.
func TestPressureListenersInParallel(t *testing.T) {
	w := newWorldWith(t, 1, func(c *core.Config, _ *core.Deps) { c.Pressure.Interval = time.Millisecond })
	w.queue("q")
	done := make(chan struct{})
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			p, err := w.NewPublisher("/", nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			m := amqp("", "q", strconv.Itoa(i))
			for {
				select {
				case <-done:
					return
				default:
				}
				stop := w.OnPressure(func(core.Pressure) {})
				if _, err := p.Publish(&m); err != nil && !errors.Is(err, core.ErrPressure) {
					t.Error(err)
				}
				stop()
				runtime.Gosched()
			}
		})
	}
	a := w.alarms()
	for i := range 20 {
		w.disk(uint64(1+2*(i%2)) * gib)
		changed := time.After(5 * time.Millisecond)
		<-changed
	}
	close(done)
	all.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := 1; i < len(a.all); i++ {
		if a.all[i] == a.all[i-1] {
			t.Fatalf("told the same twice: %q", a.all)
		}
	}
}
