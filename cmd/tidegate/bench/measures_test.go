package bench

import (
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"
)

func TestPayloadIsJSONOfTheSize(t *testing.T) {
	t.Parallel()
	for _, size := range []int{minSize, 65, 66, 67, 68, 70, 75, 140, 256, 257, 1024, maxSize} {
		p := newPayloads(17, size)
		for n := range uint64(500) {
			payload := p.stamped(n+1, int64(n)*3)
			if len(payload) != size {
				t.Fatalf("size %d: got %d bytes", size, len(payload))
			}
			if !json.Valid(payload) {
				t.Fatalf("size %d: not JSON: %s", size, payload)
			}
			want := stamp{17, n + 1, int64(n) * 3}
			if got, ok := readStamp(payload); !ok || got != want {
				t.Fatalf("stamp: got %v, %t, want %v", got, ok, want)
			}
		}
	}
}

func TestPayloadsDiffer(t *testing.T) {
	t.Parallel()
	p := newPayloads(1, 256)
	seen := map[string]bool{}
	const n = 10_000
	for range n {
		seen[string(p.stamped(1, 1)[len(payloadHead):])] = true
	}
	if len(seen) != n {
		t.Errorf("%d messages have %d different readings", n, len(seen))
	}
}

func BenchmarkPayload(b *testing.B) {
	p := newPayloads(1, 256)
	b.ReportAllocs()
	for n := uint64(0); b.Loop(); n++ {
		p.stamped(n, 1)
	}
}

func TestReadStampRefusesForeignPayloads(t *testing.T) {
	t.Parallel()
	for _, payload := range []string{"", "hello", payloadHead[:len(payloadHead)-1], `{"p":"xxxx","n":"0000000000000000","t":"0000000000000000"}`} {
		if got, ok := readStamp([]byte(payload)); ok {
			t.Errorf("%q: got %v, want no stamp", payload, got)
		}
	}
}

func TestLatencyBucketsHoldTheirValues(t *testing.T) {
	t.Parallel()
	for _, v := range []uint64{0, 1, 31, 32, 33, 63, 64, 1000, 123_456, 1 << 40, 1<<63 - 1} {
		low := lowerBound(bucketOf(v))
		if low > v || float64(v-low) > float64(v)/subBuckets {
			t.Errorf("value %d lies in the bucket that starts at %d", v, low)
		}
	}
	var l latencies
	for i := range int64(1000) {
		l.add(i * int64(time.Microsecond))
	}
	for _, c := range []struct {
		share float64
		want  time.Duration
	}{{0.5, 500 * time.Microsecond}, {0.99, 990 * time.Microsecond}} {
		got := l.percentile(c.share)
		if got > c.want || got < c.want-c.want/20 {
			t.Errorf("percentile %v: got %v, want about %v", c.share, got, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	w := newWindow(4)
	if got := w.free(); got != 4 {
		t.Fatalf("free at first: got %d, want 4", got)
	}
	w.send(4, 100)
	w.begin(150)
	steps := []struct {
		do        func() error
		fails     bool
		free, low int
	}{
		{func() error { return w.confirm(2) }, false, 0, 1},
		{func() error { return w.confirm(2) }, true, 0, 1},
		{func() error { return w.confirm(5) }, true, 0, 1},
		{func() error { return w.confirm(1) }, false, 2, 3},
		{func() error { return w.confirm(1) }, true, 2, 3},
		{func() error { return w.confirmUpTo(9) }, true, 2, 3},
		{func() error { return w.confirmUpTo(4) }, false, 4, 5},
	}
	for i, s := range steps {
		err := s.do()
		w.advance()
		if (err != nil) != s.fails || w.free() != s.free || int(w.low.Load()) != s.low {
			t.Errorf("step %d: got error %v, free %d, low %d; want failure %t, %d, %d", i, err, w.free(), w.low.Load(), s.fails, s.free, s.low)
		}
	}
	if got := w.confirmed.Load(); got != 4 {
		t.Errorf("confirmed: got %d, want 4", got)
	}
}

func TestSequenceJudgesWhatConsumersSaw(t *testing.T) {
	t.Parallel()
	w := newWindow(200)
	w.send(100, 1)
	if err := w.confirmUpTo(100); err != nil {
		t.Fatal(err)
	}
	w.advance()
	s := newSequence([]*window{w})
	for n := uint64(1); n <= 98; n++ { // 99 and 100 are lost
		if n != 50 {
			s.note(stamp{0, n, 0}, false)
		}
	}
	s.note(stamp{0, 50, 0}, false)  // reordered
	s.note(stamp{0, 51, 0}, true)   // marked
	s.note(stamp{0, 52, 0}, false)  // unmarked
	s.note(stamp{0, 101, 0}, false) // never sent
	s.note(stamp{1, 1, 0}, false)   // nobody's
	got := []uint64{s.received, s.lost(), s.reordered, s.flagged, s.duplicates, s.invented}
	want := []uint64{102, 2, 1, 1, 1, 2}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("received, lost, reordered, flagged, duplicates, invented: got %v, want %v", got, want)
		}
	}

	other := newSequence([]*window{w})
	other.note(stamp{0, 99, 0}, false)
	other.note(stamp{0, 1, 0}, false) // both consumers had it
	s.join(other)
	if s.lost() != 1 || s.duplicates != 2 {
		t.Errorf("after join: lost %d and duplicates %d, want 1 and 2", s.lost(), s.duplicates)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	good := Options{Size: 256, Clients: 4, Window: 1000, Duration: time.Second, Mode: modeFanout}
	if err := good.Validate(); err != nil || good.Consumers != 10 {
		t.Errorf("good options: got %v and %d consumers, want none and 10", err, good.Consumers)
	}
	for name, change := range map[string]func(*Options){
		"messages":  func(o *Options) { o.Mode, o.Messages = modeBacklog, 3 },
		"size":      func(o *Options) { o.Size = 10 },
		"clients":   func(o *Options) { o.Clients = 0 },
		"consumers": func(o *Options) { o.Consumers = -1 },
		"window":    func(o *Options) { o.Window = 70_000 },
		"duration":  func(o *Options) { o.Duration = 0 },
		"rate":      func(o *Options) { o.Rate = -1 },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); err == nil {
			t.Errorf("bad %s: no error", name)
		}
	}
}

func TestDrainNeedsNoPublishers(t *testing.T) {
	t.Parallel()
	o := Options{Size: 256, Clients: 4, Window: 1000, Duration: time.Second, Mode: modeDrain}
	if err := o.Validate(); err != nil || o.Clients != 0 || o.Consumers != 1 {
		t.Errorf("got %v, %d publishers, %d consumers; want none, 0 and 1", err, o.Clients, o.Consumers)
	}
}

func TestPacerHoldsTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{rate: 100, start: time.Now()}
		for range 10 {
			p.took(25)
			p.wait(t.Context())
		}
		if took := time.Since(p.start); took != 2500*time.Millisecond {
			t.Errorf("250 messages at 100 a second took %v, want 2.5s", took)
		}
		var none *pacer
		none.took(1)
		none.wait(t.Context())
	})
}
