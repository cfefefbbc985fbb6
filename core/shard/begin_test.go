package shard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// removeLog removes the segments of a closed shard's log from the n-th on.
func removeLog(t *testing.T, fs vfs.FS, n int) {
	t.Helper()
	names, err := fs.List("log")
	must(t, err)
	slices.Sort(names)
	for _, name := range names {
		switch path.Ext(name) {
		case ".seg", ".rws":
			if n--; n < 0 {
				must(t, fs.Remove("log/"+name))
			}
		}
	}
}

// refusedFor opens a shard without index, which has to be refused with these words, and
// again, with the metadata away: the shard has noted what it is refused for.
func refusedFor(t *testing.T, fs vfs.FS, cfg Config, p published, words string) {
	t.Helper()
	for _, read := range []func(func(*CursorState)) error{p.read, published{}.read} {
		s, err := Open(cfg, Deps{
			FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Published: read,
			OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
		})
		if err == nil {
			t.Fatal("served", s.Committed(), "records:", s.Close())
		}
		if !errors.Is(err, commitlog.ErrBehind) || !strings.Contains(err.Error(), words) {
			t.Fatalf("got %v, want ErrBehind and %q", err, words)
		}
	}
}

// TestPublishedOffsetsAreOfNoOtherRecord loses the end of a log, or all of it, and the
// index. Published offsets tell so, and the start is refused until that is accepted.
// Then the index is lost once more: what was published of the first log settles nothing
// of what came later, to a stream of the same id, though that has more records by then.
func TestPublishedOffsetsAreOfNoOtherRecord(t *testing.T) {
	for name, left := range map[string]int{"all segments": 0, "the newest": 1} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(100)
			fs, old := vfs.NewCrashableMem(), published{}
			cfg.SegmentBytes = 4 << 10
			s := openPublished(t, fs, index.NewMap(), cfg, old)
			must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
			putNumbered(t, s, 1, 0, 100)
			takeNumbered(t, s, 1, 100, true)
			old.publish(t, s)
			end := s.log.Segments()[0].Last
			must(t, s.Close())
			removeLog(t, fs, left)
			if left == 0 {
				end = 0
			}

			last := record.LSN(0)
			for _, c := range old {
				last = max(last, c.LSN)
			}
			offsets := maps.Clone(old)
			refusedFor(t, fs, cfg, offsets, fmt.Sprintf("log of shard 0 ends at LSN %d, ", end))
			reached, err := ReadReached(fs, "log", cfg.Identity)
			if err != nil || reached != last {
				t.Fatalf("%s tells of %d, %v, want %d", ReachedName, reached, err, last)
			}
			lc := commitlog.Config{FS: fs, Dir: cfg.Dir, Identity: cfg.Identity, From: reached}
			if left == 0 {
				must(t, commitlog.AcceptLoss(lc, "MANIFEST", commitlog.Loss{}))
				must(t, GiveUpEnds(fs, cfg.Dir, cfg.Identity))
			} else if acceptAll(t, fs, cfg, reached) == 0 {
				t.Fatal("nothing to accept")
			}
			s = openPublished(t, fs, index.NewMap(), cfg, offsets)
			if s.Committed() < last {
				t.Errorf("the log goes on behind record %d, and %d is known of", s.Committed(), last)
			}
			if left == 0 {
				must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
			}
			takeNumbered(t, s, 1, 100, true) // what is left
			putNumbered(t, s, 1, 0, 200)
			offsets.publish(t, s)
			must(t, s.Close())
			s = openPublished(t, fs, index.NewMap(), cfg, offsets)
			if got := takeNumbered(t, s, 1, 1000, false); len(got) < 200 {
				t.Errorf("%d of 200 messages after the index was lost again", len(got))
			}
			must(t, s.Close())
		})
	}
}

// TestOlderCopyOfALogIsRefused puts a copy of a log from before back, without index, and
// then the newer one: that is served as if nothing had been.
func TestOlderCopyOfALogIsRefused(t *testing.T) {
	cfg := testConfig(100)
	fs, old := vfs.NewCrashableMem(), published{}
	s := openPublished(t, fs, index.NewMap(), cfg, old)
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 10)
	must(t, s.Close())
	older := fs.CrashClone(vfs.CrashCloneCfg{})
	s = openPublished(t, fs, index.NewMap(), cfg, old)
	putNumbered(t, s, 1, 10, 20)
	takeNumbered(t, s, 1, 15, true)
	old.publish(t, s)
	must(t, s.Close())
	refusedFor(t, older, cfg, old, "log of shard 0 ends at LSN 11, ")

	reached, err := ReadReached(older, "log", cfg.Identity)
	must(t, err)
	must(t, writeReached(fs, "log", cfg.Identity, reached)) // as the refused start has left it
	s = openPublished(t, fs, index.NewMap(), cfg, old)
	if got := takeNumbered(t, s, 1, 100, false); len(got) != 5 || got[0] != "000015" {
		t.Errorf("the newer copy has %v", got)
	}
	must(t, s.Close())
}

// TestMarkKeepsTheTail tears a record of a log, of which the mark tells: it looks like the
// torn tail of a crash, but is none, and stays as it is.
func TestMarkKeepsTheTail(t *testing.T) {
	for _, known := range []bool{false, true} { // by the mark, and by REACHED
		fs, cfg := vfs.NewCrashableMem(), testConfig(100)
		s := openPublished(t, fs, index.NewMap(), cfg, published{})
		must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
		putNumbered(t, s, 1, 0, 10)
		last, name := s.Committed(), s.log.Segments()[0].Base
		must(t, s.Close())
		path := fmt.Sprintf("log/%020d.seg", name)
		before := readAll(t, fs, path)
		before = before[:len(before)-200] // with the footer, and in the middle of a record
		// A write may change what it is given.
		must(t, replaceFile(fs, "log", fs.PathBase(path), bytes.Clone(before)))
		deps := Deps{
			FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Reached: last,
			OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
		}
		if known {
			must(t, writeReached(fs, "log", cfg.Identity, last))
			deps.Reached = 0
		}
		if _, err := Open(cfg, deps); !errors.Is(err, commitlog.ErrBehind) {
			t.Errorf("got %v, want ErrBehind", err)
		}
		if !bytes.Equal(readAll(t, fs, path), before) {
			t.Error("the tail was cut")
		}
	}
}

// TestEmptyLogWaitsForMetadata loses log and index while the metadata is away: whether
// there were records is not known, and none gets a number that one had.
func TestEmptyLogWaitsForMetadata(t *testing.T) {
	away := errors.New("away")
	fs, cfg := vfs.NewCrashableMem(), testConfig(100)
	_, err := Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		Published: func(func(*CursorState)) error { return away },
		OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
	})
	if !errors.Is(err, away) || !strings.Contains(err.Error(), "log of shard 0 and its index are empty or missing") {
		t.Fatalf("got %v, want one that tells of the metadata", err)
	}
	s := openPublished(t, fs, index.NewMap(), cfg, published{})
	must(t, s.Close())
}

// TestReachedOfNoUse has REACHED garbled, of another shard, and of a later version.
func TestReachedOfNoUse(t *testing.T) {
	fs, id := vfs.NewCrashableMem(), record.Identity{Cluster: [16]byte{1}}
	must(t, fs.MkdirAll("log", 0o755))
	must(t, writeReached(fs, "log", id, 77))
	if lsn, err := ReadReached(fs, "log", id); lsn != 77 || err != nil {
		t.Errorf("got %d, %v, want 77", lsn, err)
	}
	if _, err := ReadReached(fs, "log", record.Identity{Shard: 1}); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("of another shard: got %v, want ErrCorrupt", err)
	}
	must(t, replaceFile(fs, "log", reachedName, []byte(reachedMagic+"\x02\x00\x00\x00 and more")))
	if _, err := ReadReached(fs, "log", id); !errors.Is(err, record.ErrVersion) {
		t.Errorf("of a later version: got %v, want ErrVersion", err)
	}
	must(t, replaceFile(fs, "log", reachedName, nil))
	if _, err := ReadReached(fs, "log", id); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("empty: got %v, want ErrCorrupt", err)
	}
}

// TestLogEndsBeforeItsEnds loses the newest segments and the index: ENDS tells that
// there were more records.
func TestLogEndsBeforeItsEnds(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes = 4 << 10
	fs := vfs.NewCrashableMem()
	s := truncated(t, fs, cfg)
	must(t, s.writeEnds(nil))
	must(t, s.Close())
	info, err := CheckEnds(fs, "log", cfg.Identity)
	must(t, err)
	if !info.Present || info.Highest == 0 || info.Highest > s.Committed() {
		t.Fatalf("ENDS: %+v, the log has %d records", info, s.Committed())
	}
	removeLog(t, fs, 2)
	_, err = Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
	})
	if !errors.Is(err, commitlog.ErrBehind) {
		t.Errorf("got %v, want ErrBehind", err)
	}
}

// TestLogEndsBeforeItsEndsBesideAnIndex is the same with an index of the time at which
// the log ended where it ends now.
func TestLogEndsBeforeItsEndsBesideAnIndex(t *testing.T) {
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	fs, store := vfs.NewCrashableMem(), index.NewMap()
	s := openPublished(t, fs, store, cfg, published{})
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true}, true))
	putNumbered(t, s, 1, 0, 20)
	s.rest(t)
	early, segments := store.Copy(), len(s.log.Segments())+1 // the active one too
	putNumbered(t, s, 1, 20, 612)
	must(t, s.Keep(1, Retention{MaxBytes: 1}))
	lsn, err := s.Retain(time.Now(), 0)
	must(t, err)
	must(t, s.Wait(t.Context(), lsn))
	must(t, s.writeEnds(nil))
	must(t, s.Close())
	removeLog(t, fs, segments)
	again, err := Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		OpenStore: func() (index.Store, error) { return early, nil },
	})
	if err == nil {
		_ = again.Close()
	}
	if !errors.Is(err, commitlog.ErrBehind) {
		t.Errorf("got %v, want ErrBehind", err)
	}
}

// TestGivenUpEndsAreAsNone writes that ENDS is lost: the index comes back as without
// the file, and the next drop writes it anew.
func TestGivenUpEndsAreAsNone(t *testing.T) {
	fs := vfs.NewCrashableMem()
	id := record.Identity{Cluster: [16]byte{1}}
	must(t, fs.MkdirAll("log", 0o755))
	must(t, GiveUpEnds(fs, "log", id))
	info, err := CheckEnds(fs, "log", id)
	must(t, err)
	if want := (EndsInfo{GivenUp: true}); info != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
	if _, err := CheckEnds(fs, "log", record.Identity{Shard: 1}); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("of another shard: got %v, want ErrCorrupt", err)
	}
	cfg := testConfig(100)
	s := truncated(t, fs, cfg)
	must(t, s.writeEnds(nil))
	must(t, s.Close())
	if info, err = CheckEnds(fs, "log", id); err != nil || !info.Present || info.GivenUp {
		t.Errorf("written anew: %+v, %v", info, err)
	}
}

// TestEmptyShardServesWhileTheMetadataIsAway kills a new shard that has had no record,
// when nothing was flushed since it opened: it knows of itself that it had none, and
// starts while nobody can tell. Its first record, not flushed to the index, is replayed.
func TestEmptyShardServesWhileTheMetadataIsAway(t *testing.T) {
	fs, cfg := vfs.NewCrashableMem(), testConfig(100)
	cfg.IndexDir = "index"
	for i, from := range []published{{}, nil, nil} {
		read := from.read
		if from == nil {
			read = func(func(*CursorState)) error { return errors.New("away") }
		}
		s, err := Open(cfg, Deps{FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Published: read})
		must(t, err)
		switch i {
		case 1:
			must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
			putNumbered(t, s, 1, 0, 3)
		case 2:
			if got := takeNumbered(t, s, 1, 10, false); len(got) != 3 {
				t.Errorf("after the second kill: %v, want 3 messages", got)
			}
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		must(t, s.Close())
		fs = after
	}
}

func readAll(t *testing.T, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	must(t, err)
	p, err := io.ReadAll(f)
	must(t, errors.Join(err, f.Close()))
	return p
}
