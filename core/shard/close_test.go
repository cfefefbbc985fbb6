package shard

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

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
	c, err := s.Consume(testQueue, []*queue.Limit{queue.NewLimit(10)}, func() {}, func() {})
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
