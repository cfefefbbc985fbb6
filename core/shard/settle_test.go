package shard

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// faulty is a store whose reads can be made to wait, and to fail.
type faulty struct {
	slowStore
	err atomic.Pointer[error]
}

func (f *faulty) Get(key []byte) ([]byte, error) {
	v, err := f.slowStore.Get(key)
	if failed := f.err.Load(); failed != nil {
		return nil, *failed
	}
	return v, err
}

// subscribed opens a shard with filters' streams that one session reads, and
// publishes n messages that all of them refer to.
func subscribed(t *testing.T, store index.Store, n int, streams ...record.StreamID) (*Shard, *Reader) {
	t.Helper()
	s, err := openOn(t, vfs.NewMem(), store, testConfig(64))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	r := s.NewReader(7, func() {})
	for _, id := range streams {
		must(t, s.CreateStream(record.Stream{ID: id, Namespace: "/", Name: string(rune('a' + id)), Filter: true}, true))
		lsn, err := s.CreateCursor(id, 7)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
		must(t, r.Attach(id))
	}
	m := record.Message{Namespace: []byte("/"), Payload: []byte("x"), Streams: streams}
	for range n {
		lsn, err := s.Publish(&m, true, nil)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
	}
	return s, r
}

// restStreams lets the streams forget what the store has.
func (s *Shard) restStreams(ids ...record.StreamID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.streams[id].refs.Rest()
	}
}

// TestReadsMeetADroppedStream drops a stream while its reader reads the index:
// every call ends, and has nothing of it any more.
func TestReadsMeetADroppedStream(t *testing.T) {
	for name, call := range map[string]func(r *Reader, first Ref) (bool, error){
		"settle": func(r *Reader, first Ref) (bool, error) { return r.Settle(1, first.Offset, first.LSN), nil },
		"lookup": func(r *Reader, first Ref) (bool, error) {
			_, err := r.Lookup(1, first.Offset)
			if errors.Is(err, ErrNotFound) {
				return false, nil
			}
			return true, err
		},
		"next": func(r *Reader, _ Ref) (bool, error) {
			got, err := r.Next(nil, 1)
			return len(got) > 0, err
		},
		"reserve": func(r *Reader, first Ref) (bool, error) {
			r.GiveBack([]Ref{first})
			return false, r.Reserve(1, first.Offset, first.LSN)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faulty{slowStore: slowStore{Map: index.NewMap()}}
				s, r := subscribed(t, store, 1000, 1)
				refs, err := r.Next(nil, 1)
				must(t, err)
				s.restStreams(1)
				var reads atomic.Int64
				open := make(chan struct{})
				wait := func() {
					if reads.Add(1) == 1 {
						<-open
					}
				}
				store.wait.Store(&wait)
				done := make(chan error, 1)
				var did bool
				go func() {
					var err error
					did, err = call(r, refs[0])
					done <- err
				}()
				synctest.Wait()
				if reads.Load() != 1 {
					t.Errorf("%d reads of the index, want 1", reads.Load())
				}
				_, err = s.DropStream(1)
				must(t, err)
				close(open)
				if err := <-done; err != nil || did {
					t.Errorf("got %v, %v", did, err)
				}
			})
		})
	}
}

// TestSettleAllOrNone settles a message that two streams refer to while the
// index can't be read: it stays in flight in both.
func TestSettleAllOrNone(t *testing.T) {
	store := &faulty{slowStore: slowStore{Map: index.NewMap()}}
	s, r := subscribed(t, store, 1000, 1, 2)
	refs, err := r.Next(nil, 1)
	must(t, err)
	first := refs[0]
	if len(first.Also) != 1 {
		t.Fatalf("got %+v", first)
	}
	inFlight := func() (n uint64) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range r.places {
			n += p.cur.Unsettled()
		}
		return n
	}
	s.restStreams(1, 2)
	failed := errors.New("read error")
	store.err.Store(&failed)
	if r.Settle(first.Stream, first.Offset, first.LSN) || inFlight() != 2 {
		t.Errorf("settled without its reference: %d of 2 are in flight", inFlight())
	}
	store.err.Store(nil)
	if !r.Settle(first.Stream, first.Offset, first.LSN) || inFlight() != 0 {
		t.Errorf("not settled: %d are in flight", inFlight())
	}
}
