package shard

import (
	"bytes"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// watchedStore is a store that tells of each read, with the name of what is read.
type watchedStore struct {
	*index.Map
	read atomic.Pointer[func(key []byte)]
}

func (w *watchedStore) Get(key []byte) ([]byte, error) {
	if read := w.read.Load(); read != nil {
		(*read)(key)
	}
	return w.Map.Get(key)
}

func (w *watchedStore) Scan(prefix []byte, fn func(key, value []byte) error) error {
	if read := w.read.Load(); read != nil {
		(*read)(prefix)
	}
	return w.Map.Scan(prefix, fn)
}

// TestRetentionReadsWithoutTheLock takes steps of retention and compaction over what only
// the index has: whoever reads for them has the state free for all others, and who applies
// what they decided finds the chunks in memory.
func TestRetentionReadsWithoutTheLock(t *testing.T) {
	for name, rules := range map[string]Retention{
		"compacted": {}, "compacted and by bytes": {MaxBytes: 50 << 10}, "compacted and by age": {MaxAge: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			store := &watchedStore{Map: index.NewMap()}
			cfg := testConfig(64)
			s, err := openOn(t, vfs.NewMem(), store, cfg)
			must(t, err)
			defer s.Close()
			must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}, true))
			must(t, s.CreateStream(record.Stream{ID: 2, Namespace: "/", Name: "q"}, true))
			must(t, s.Keep(1, rules))
			var lsn record.LSN
			for i := range 20000 {
				m := record.Message{
					Namespace: []byte("/"), Key: []byte(strconv.Itoa(i % 3000)), Payload: []byte("some bytes"),
					Streams: []record.StreamID{1},
				}
				if i > 18000 && i%3 == 0 {
					m.Payload = nil
				}
				lsn, err = s.Publish(&m, i%1000 == 0, nil)
				must(t, err)
			}
			must(t, s.Wait(t.Context(), lsn))
			for range 200 { // spills what is there
				lsn = s.publishTo(t, 2, 10)
			}
			must(t, s.Wait(t.Context(), lsn))

			var chunks, tombstones, keys atomic.Int64
			chunk, tombstone, key := index.ChunkInfoKey(1, 0), index.TombstonesKey(1), index.LastKey(1, "")
			read := func(of []byte) {
				isChunk := bytes.HasPrefix(of, chunk[:len(chunk)-8])
				if !bytes.Contains(debug.Stack(), []byte(").Retain(")) {
					if isChunk {
						t.Errorf("who applies reads a chunk")
					}
					return
				}
				switch {
				case isChunk:
					chunks.Add(1)
				case bytes.HasPrefix(of, tombstone):
					tombstones.Add(1)
				case bytes.HasPrefix(of, key):
					keys.Add(1)
				}
				for range 1000 { // the committer may have it for a moment
					if s.mu.TryLock() {
						s.mu.Unlock()
						return
					}
					runtime.Gosched()
					<-time.After(time.Millisecond)
				}
				t.Errorf("read of %q with the lock held", of)
			}
			store.read.Store(&read)
			for range 100 {
				lsn, err := s.Retain(time.Now().Add(48*time.Hour), 0)
				must(t, err)
				must(t, s.Wait(t.Context(), lsn))
			}
			store.read.Store(nil)
			t.Logf("%d reads of chunks, %d of tombstones, %d of keys", chunks.Load(), tombstones.Load(), keys.Load())
			if chunks.Load() == 0 || tombstones.Load() == 0 || keys.Load() == 0 {
				t.Error("something was not read at all")
			}
			st, err := s.QueueStats(1)
			must(t, err)
			if rules != (Retention{}) && st.Ready > 10000 {
				t.Errorf("%d messages are left", st.Ready)
			}
		})
	}
}
