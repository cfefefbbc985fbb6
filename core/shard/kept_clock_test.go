package shard

import (
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// wrongClock is a clock that can be set wrong.
type wrongClock struct {
	clock.Clock
	by atomic.Int64
}

func (c *wrongClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.by.Load())) }

// years is how wrong it is.
const years = 10 * 365 * 24 * time.Hour

// onWrongClock opens a shard with a stream queue that keeps messages for an hour.
func onWrongClock(t *testing.T, compacted bool) (*Shard, *wrongClock) {
	t.Helper()
	c := &wrongClock{Clock: clock.System}
	s, err := Open(testConfig(100), Deps{
		FS: vfs.NewMem(), Clock: c, Log: slog.New(slog.DiscardHandler),
		OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
	})
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: compacted}, true))
	must(t, s.Keep(1, Retention{MaxAge: time.Hour}))
	return s, c
}

// retainSteps takes steps of retention and returns where the stream begins then.
func retainSteps(t *testing.T, s *Shard, steps int, now time.Time) record.Offset {
	t.Helper()
	for range steps {
		lsn, err := s.Retain(now, 0)
		must(t, err)
		if lsn > 0 {
			must(t, s.Wait(t.Context(), lsn))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[1].refs.Low()
}

// TestClockThatWasAheadEndsNoRetention publishes a little while the clock is ten
// years ahead, and much after it was set right.
func TestClockThatWasAheadEndsNoRetention(t *testing.T) {
	for _, wrong := range []int{1, 700} {
		t.Run(strconv.Itoa(wrong), func(t *testing.T) {
			s, c := onWrongClock(t, false)
			c.by.Store(int64(years))
			putNumbered(t, s, 1, 0, wrong)
			c.by.Store(0)
			putNumbered(t, s, 1, wrong, 2000)
			if low := retainSteps(t, s, 10, time.Now()); low != 0 {
				t.Errorf("while its messages are young the stream begins at %d", low)
			}
			if low := retainSteps(t, s, 100, time.Now().Add(48*time.Hour)); low < 1500 {
				t.Errorf("two days later the stream with an age limit of an hour begins at %d of 2000", low)
			}
		})
	}
}

// TestClockThatWasBehindEndsNoMessages publishes while the clock is ten years behind,
// after messages that are young, and then has retention run with a clock that is behind.
func TestClockThatWasBehindEndsNoMessages(t *testing.T) {
	s, c := onWrongClock(t, false)
	putNumbered(t, s, 1, 0, 10)
	c.by.Store(int64(-years))
	putNumbered(t, s, 1, 10, 700)
	c.by.Store(0)
	putNumbered(t, s, 1, 700, 900)
	for _, now := range []time.Time{time.Now(), time.Now().Add(-years)} {
		if low := retainSteps(t, s, 10, now); low != 0 {
			t.Errorf("at %v the stream begins at %d", now, low)
		}
	}
	if low := retainSteps(t, s, 10, time.Now().Add(48*time.Hour)); low < 500 {
		t.Errorf("two days later the stream begins at %d of 900", low)
	}
}

// TestClockThatWasAheadKeepsNoTombstones has a tombstone of a clock that is ahead, and
// one of a clock that is right: both go when they are old, and not before.
func TestClockThatWasAheadKeepsNoTombstones(t *testing.T) {
	s, c := onWrongClock(t, true)
	must(t, s.Keep(1, Retention{}))
	c.by.Store(int64(years))
	put(t, s, 1, "k", "")
	must(t, s.Wait(t.Context(), s.lastAppended()))
	c.by.Store(0)
	put(t, s, 1, "l", "")
	for i := range 600 {
		put(t, s, 1, fmt.Sprint("other", i), "x")
	}
	must(t, s.Wait(t.Context(), s.lastAppended()))
	there := func(now time.Time) (n int) {
		s.rest(t) // tombstones are looked for in the store
		retainSteps(t, s, 5, now)
		c, err := s.ConsumeKept(t.Context(), 1, &Reading{
			Start: Start{Kind: StartFirst}, Notify: func() {}, Cancelled: func() {},
		})
		must(t, err)
		defer c.Remove()
		refs, err := c.Fetch(nil, 2)
		must(t, err)
		for _, ref := range refs {
			if ref.Offset < 2 {
				n++
			}
		}
		return n
	}
	if n := there(time.Now()); n != 2 {
		t.Errorf("%d of 2 tombstones are there while they are young", n)
	}
	if n := there(time.Now().Add(48 * time.Hour)); n != 0 {
		t.Errorf("%d of 2 tombstones are there after two days", n)
	}
}
