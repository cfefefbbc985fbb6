package shard

import (
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

const testQueue = record.StreamID(1)

// opened is a shard with one queue on a store that can be watched.
func opened(t *testing.T, cfg Config) (*Shard, *vfs.MemFS, *watched) {
	t.Helper()
	fs, store := vfs.NewCrashableMem(), &watched{Map: index.NewMap()}
	s, err := openOn(t, fs, store, cfg)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, s.CreateStream(record.Stream{ID: testQueue, Namespace: "/", Name: "q"}, true))
	return s, fs, store
}

// put publishes n messages to the queue and waits until they are durable.
func (s *Shard) put(t *testing.T, n int) error {
	t.Helper()
	for range n {
		m := record.Message{Namespace: []byte("/"), Payload: []byte("x"), Streams: []record.StreamID{testQueue}}
		lsn, err := s.Publish(&m, true, nil)
		if err == nil {
			err = s.Wait(t.Context(), lsn)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// TestFlushBesideTheCommitter holds a flush up: the shard goes on, and a crash
// then finds the state before the flush and the whole log.
func TestFlushBesideTheCommitter(t *testing.T) {
	cfg := testConfig(10)
	cfg.CheckpointBytes = 1
	s, fs, store := opened(t, cfg)
	release := make(chan struct{})
	store.mu.Lock()
	store.flushing = release
	store.mu.Unlock()
	must(t, s.put(t, 600))
	if durable := s.Durable(); durable != 0 {
		t.Errorf("durable up to %d while no flush has ended", durable)
	}
	if _, err := store.Get(index.AppliedKey); err != nil {
		t.Errorf("nothing was spilled: %v", err)
	}
	compareWithReplay(t, moment{fs, store.Crash()}, cfg)
	compareWithReplay(t, moment{fs, store.Copy()}, cfg)
	close(release)
	must(t, s.Close())
	if durable := s.Durable(); durable == 0 {
		t.Error("the last flush is not counted")
	}
}

// TestStoreErrorStopsTheShard fails a write or a flush of the store: nothing is
// confirmed after it, and all that was confirmed is there after a start.
func TestStoreErrorStopsTheShard(t *testing.T) {
	errDisk := errors.New("the disk is gone")
	for _, op := range []string{"commit", "flush"} {
		t.Run(op, func(t *testing.T) {
			cfg := testConfig(10)
			cfg.CheckpointBytes = 1
			s, fs, store := opened(t, cfg)
			must(t, s.put(t, 30))
			before := s.Committed()
			if op == "commit" {
				store.set(errDisk, nil)
			} else {
				store.set(nil, errDisk)
			}
			var err error
			for err == nil && s.Committed() < before+10_000 {
				before = max(before, s.Committed())
				err = s.put(t, 1)
			}
			if !errors.Is(err, ErrFailed) || !errors.Is(err, errDisk) {
				t.Fatalf("got %v, want ErrFailed for %v", err, errDisk)
			}
			if err := s.put(t, 1); !errors.Is(err, ErrFailed) {
				t.Errorf("publish after the error: got %v, want ErrFailed", err)
			}
			if err := s.Close(); op == "flush" && !errors.Is(err, errDisk) {
				t.Errorf("close: got %v, want %v", err, errDisk)
			}
			for _, left := range []*index.Map{store.Copy(), store.Crash()} {
				compareWithReplay(t, moment{fs, left}, cfg)
				again, err := openOn(t, fs.CrashClone(vfs.CrashCloneCfg{}), left, cfg)
				must(t, err)
				if again.Committed() < before {
					t.Errorf("%d confirmed, %d there", before, again.Committed())
				}
				must(t, again.Close())
			}
		})
	}
}

// TestOpenRefuses opens logs and stores that do not belong together.
func TestOpenRefuses(t *testing.T) {
	cfg := testConfig(10)
	cfg.SegmentBytes = 1 << 10
	s, fs, store := opened(t, cfg)
	must(t, s.put(t, 50))
	early := fs.CrashClone(vfs.CrashCloneCfg{})
	must(t, s.put(t, 50))
	must(t, s.Close())
	headless := fs.CrashClone(vfs.CrashCloneCfg{})
	names, err := headless.List(cfg.Dir)
	must(t, err)
	first := names[0]
	for _, name := range names {
		first = min(first, name)
	}
	must(t, headless.Remove(headless.PathJoin(cfg.Dir, first)))
	other := cfg
	other.Identity.Shard++
	for _, tt := range []struct {
		name  string
		fs    *vfs.MemFS
		store *index.Map
		cfg   Config
		want  error
	}{
		{"index ahead of the log", early, store.Copy(), cfg, commitlog.ErrBehind},
		{"index lost and the log's beginning too", headless, index.NewMap(), cfg, record.ErrCorrupt},
		{"index of another shard", vfs.NewCrashableMem(), store.Copy(), other, record.ErrCorrupt},
		{"no log", vfs.NewCrashableMem(), store.Copy(), cfg, commitlog.ErrBehind},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := openOn(t, tt.fs, tt.store, tt.cfg)
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestReplayDoesNotOvertakeTheDisk opens a log that a killed process has written
// and not synced, and crashes while it is replayed.
func TestReplayDoesNotOvertakeTheDisk(t *testing.T) {
	s, fs, first := opened(t, testConfig(1<<20))
	must(t, s.put(t, 1))
	must(t, s.Close()) // with an index: what is stored while one is rebuilt counts for nothing
	index0 := first.Copy()
	s, err := openOn(t, fs, first, testConfig(1<<20))
	must(t, err)
	t.Cleanup(func() { _ = s.Close() }) // it goes on over files that others have written since
	for range 300 {
		m := record.Message{Namespace: []byte("/"), Payload: []byte("x"), Streams: []record.StreamID{testQueue}}
		lsn, err := s.Publish(&m, false, nil)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
	}
	cfg := testConfig(10)
	cfg.CheckpointBytes = 1
	store := &watched{Map: index0.Copy()}
	var moments []moment
	store.committed = func() {
		moments = append(moments, moment{fs.CrashClone(vfs.CrashCloneCfg{}), store.Copy()})
	}
	again, err := openOn(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0}), index0, cfg)
	must(t, err)
	if again.Committed() >= s.Committed() {
		t.Fatal("the log is synced: nothing can be lost")
	}
	must(t, again.Close())
	again, err = openOn(t, fs, store, cfg) // as after kill -9
	must(t, err)
	must(t, again.Close())
	if len(moments) == 0 {
		t.Fatal("nothing was stored")
	}
	for _, m := range moments {
		compareWithReplay(t, m, cfg)
	}
}

// TestSettledNeverReachesTheStore publishes and settles between two checkpoints.
func TestSettledNeverReachesTheStore(t *testing.T) {
	s, _, store := opened(t, testConfig(1<<20))
	for range 3 {
		must(t, s.put(t, 300))
		for {
			ref, _, ok, err := s.Get(t.Context(), testQueue)
			must(t, err)
			if !ok {
				break
			}
			s.SettleTaken(testQueue, []record.Offset{ref.Offset}, false)
		}
	}
	must(t, s.Close())
	must(t, store.Scan(index.ChunksKey(testQueue), func(k, v []byte) error {
		t.Errorf("chunk %x: %x", k, v)
		return nil
	}))
}

// TestIdleShardCheckpoints waits for the checkpoint of a shard that nobody uses.
func TestIdleShardCheckpoints(t *testing.T) {
	cfg := testConfig(1 << 20)
	cfg.CheckpointInterval = time.Millisecond
	s, _, store := opened(t, cfg)
	spilled := make(chan struct{}, 1)
	must(t, s.put(t, 1))
	want := s.Committed()
	store.mu.Lock()
	store.watch = func() {
		select {
		case spilled <- struct{}{}:
		default:
		}
	}
	store.mu.Unlock()
	for {
		v, err := store.Get(index.AppliedKey)
		if err == nil {
			if got, err := index.DecodeLSN(v); err == nil && got >= want {
				return
			}
		}
		select {
		case <-spilled:
		case <-t.Context().Done():
			t.Fatal("no checkpoint")
		}
	}
}
