package shard

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// closeable is a store that tells when it was closed.
type closeable struct {
	slowStore
	closed atomic.Bool
}

func (c *closeable) Close() error {
	c.closed.Store(true)
	return c.Map.Close()
}

// readsBack opens a shard with a queue whose references have left the memory,
// and a consumer that has some of its messages to fetch.
func readsBack(t *testing.T, store index.Store) (*Shard, *Consumer) {
	t.Helper()
	s, err := openOn(t, vfs.NewMem(), store, testConfig(64))
	must(t, err)
	must(t, s.CreateStream(record.Stream{ID: testQueue, Namespace: "/", Name: "q"}, true))
	must(t, s.put(t, 1000))
	c, err := s.Consume(testQueue, []*queue.Limit{queue.NewLimit(10)}, 0, func() {}, func() {})
	must(t, err)
	must(t, s.Await(s.lastAppended())) // the mark: then there is something assigned
	return s, c
}

// TestCloseWaitsForReads closes a shard while a consumer reads references back:
// the store stays open until that read has ended.
func TestCloseWaitsForReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &closeable{slowStore: slowStore{Map: index.NewMap()}}
		s, c := readsBack(t, store)
		open := make(chan struct{})
		var reads atomic.Int64
		wait := func() {
			if reads.Add(1) == 1 {
				<-open
			}
		}
		store.wait.Store(&wait)
		fetched, closed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := c.Fetch(nil, 10)
			fetched <- err
		}()
		synctest.Wait()
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if reads.Load() == 0 || store.closed.Load() {
			t.Errorf("%d reads of the store go on, and it is closed: %v", reads.Load(), store.closed.Load())
		}
		close(open)
		must(t, <-closed)
		if err := <-fetched; err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("the read ends with %v", err)
		}
		if _, err := c.Fetch(nil, 10); err != nil && !errors.Is(err, ErrClosed) {
			t.Errorf("a read after the end: %v", err)
		}
		must(t, s.Close())
	})
}

// TestPanicOfAReadLeavesTheLocks lets reads of the store panic: whoever recovers
// finds the shard as it was, and so do all others.
func TestPanicOfAReadLeavesTheLocks(t *testing.T) {
	store := &slowStore{Map: index.NewMap()}
	s, c := readsBack(t, store)
	defer func() { must(t, s.Close()) }()
	wait := func() { panic("read") }
	store.wait.Store(&wait)
	recovered := func() (r any) {
		defer func() { r = recover() }()
		_, _ = c.Fetch(nil, 10)
		return nil
	}
	if r := recovered(); r != "read" {
		t.Fatalf("recovered %v", r)
	}
	store.wait.Store(nil)
	if refs, err := c.Fetch(nil, 10); err != nil || len(refs) != 10 || s.pool.taken != 0 || len(s.reading) != 0 {
		t.Errorf("afterwards: %d messages, %v; %d reads, %d chunks under way", len(refs), err, s.pool.taken, len(s.reading))
	}
}

// TestNothingIsDeliveredBeyondTheExactMark lets a consumer settle and fetch, and
// another client get, while the last commit of a clean end is on its way to the
// disk: what was delivered by then comes again as redelivered, or not at all.
func TestNothingIsDeliveredBeyondTheExactMark(t *testing.T) {
	var s *Shard
	var meanwhile atomic.Pointer[func()]
	fs := vfs.NewMem()
	slow := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		do := meanwhile.Load()
		if do == nil || op.Kind != errorfs.OpFileWrite && op.Kind != errorfs.OpFileWriteAt {
			return nil
		}
		s.mu.Lock()
		finishing := s.finishing
		s.mu.Unlock()
		if finishing && meanwhile.CompareAndSwap(do, nil) {
			(*do)()
		}
		return nil
	}))
	cfg, store := testConfig(100), index.NewMap()
	s, err := openOn(t, slow, store, cfg)
	must(t, err)
	must(t, s.CreateStream(record.Stream{ID: testQueue, Namespace: "/", Name: "q"}, true))
	must(t, s.put(t, 100))
	c, err := s.Consume(testQueue, []*queue.Limit{queue.NewLimit(10)}, 0, func() {}, func() {})
	must(t, err)
	must(t, s.Await(s.lastAppended()))
	refs, err := c.Fetch(nil, 10)
	must(t, err)
	if len(refs) != 10 {
		t.Fatalf("got %d of 10", len(refs))
	}
	late := map[record.Offset]bool{}
	called := false
	do := func() {
		called = true
		offsets := make([]record.Offset, 0, len(refs))
		for i := range refs {
			offsets = append(offsets, refs[i].Offset)
		}
		c.Settle(offsets, false)
		more, err := c.Fetch(nil, 10)
		if err != nil {
			t.Errorf("fetch meanwhile: %v", err)
		}
		for i := range more {
			late[more[i].Offset] = true
		}
		if _, _, ok, err := s.Get(t.Context(), testQueue); ok || !errors.Is(err, ErrClosed) {
			t.Errorf("get meanwhile: %v, %v, want %v", ok, err, ErrClosed)
		}
	}
	meanwhile.Store(&do)
	must(t, s.Close())
	if !called {
		t.Fatal("the last commit wrote nothing")
	}
	if _, _, _, err := s.Get(t.Context(), testQueue); !errors.Is(err, ErrClosed) {
		t.Errorf("get after the end: %v, want %v", err, ErrClosed)
	}
	again, err := openOn(t, fs, store, cfg)
	must(t, err)
	defer func() { must(t, again.Close()) }()
	for range 100 {
		ref, _, ok, err := again.Get(t.Context(), testQueue)
		must(t, err)
		if ok && late[ref.Offset] && !ref.Redelivered {
			t.Fatalf("offset %d was delivered before the clean end and comes again without a mark", ref.Offset)
		}
		if ok && ref.Offset >= 20 && ref.Redelivered {
			t.Fatalf("offset %d was never delivered and comes marked", ref.Offset)
		}
	}
}
