package shard

import (
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// published is what a metadata store has of a shard's cursors.
type published map[record.CursorRef]CursorState

// publish brings the copy up to date.
func (p published) publish(t *testing.T, s *Shard) {
	horizon := s.FlushAcks()
	states, lsn, more := s.Moved(nil, 1<<20)
	must(t, s.Wait(t.Context(), max(lsn, s.lastAppended()))) // cursors that are gone stay so
	if more {
		t.Error("there are more cursors than were asked for")
	}
	for _, c := range states {
		c.LSN = lsn
		p[record.CursorRef{Stream: c.Stream, Cursor: c.Cursor}] = c
	}
	for ref := range p {
		if !s.HasCursor(ref.Stream, ref.Cursor) {
			delete(p, ref)
		}
	}
	s.PublishedUpTo(horizon)
}

func (p published) read(fn func(*CursorState)) error {
	for _, c := range p {
		fn(&c)
	}
	return nil
}

func openPublished(t *testing.T, fs vfs.FS, store index.Store, cfg Config, p published) *Shard {
	t.Helper()
	s, err := Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler), Published: p.read,
		OpenStore: func() (index.Store, error) { return store, nil },
	})
	must(t, err)
	return s
}

// needs tells which references some cursor of a durable stream has not settled.
func (s *Shard) needs(t *testing.T, st *stream, lsn record.LSN) record.Place {
	if st == nil || !st.durable || lsn < st.since {
		return record.NoPlace
	}
	o, ok, err := st.refs.Find(lsn, new(index.Search), st)
	must(t, err)
	if st.kept != nil && ok {
		if _, ok, err = st.kept.look(o); err == nil && ok {
			return record.PlaceAt(o)
		}
		must(t, err)
		return record.NoPlace
	}
	for p := range st.everyPlace() {
		if ok && !p.cur.Settled(o) {
			return record.PlaceAt(o)
		}
	}
	return record.NoPlace
}

// trimLog drops and rewrites some of what the checkpoint does not need.
func (s *Shard) trimLog(t *testing.T, rng *rand.Rand) (changed bool) {
	t.Helper()
	must(t, s.Await(s.FlushAcks()))
	durable := s.Durable()
	for _, g := range s.log.Segments() {
		if !g.Sealed || g.Last > durable || rng.IntN(2) == 0 {
			continue
		}
		changed = true
		_, err := s.log.Rewrite(t.Context(), []record.LSN{g.Base}, func(lsn record.LSN, kind record.Kind, body []byte) (record.Kind, []byte, error) {
			message, is, err := record.MessageBody(kind, body)
			switch {
			case kind == record.KindAck || kind == record.KindDelivered || kind == record.KindTruncate || kind == record.KindCompact:
				return 0, nil, nil
			case err != nil || !is:
				return kind, body, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			var m record.Message
			must(t, record.DecodeMessage(message, &m))
			keep, places := m.Retain || m.Once.Session != 0, []record.Place{}
			for i := range m.NumStreams() {
				p := s.needs(t, s.streams[m.StreamAt(i)], lsn)
				keep, places = keep || p != record.NoPlace, append(places, p)
			}
			if !keep {
				return 0, nil, nil
			}
			return record.KindPlaced, record.AppendPlaced(nil, places, message), nil
		})
		must(t, err)
	}
	return changed
}

// owed is state without what a rebuild can't know.
func (s *Shard) owed(t *testing.T) map[string]string {
	out := map[string]string{}
	for k, v := range s.state(t) {
		if strings.HasPrefix(k, "kept ") {
			continue // see keptOwed
		}
		if _, rest, is := strings.Cut(v, ":"); is && (strings.Contains(k, " cursor ") || strings.HasSuffix(k, " self")) {
			v = rest
		}
		out[k] = v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.keptStreams {
		st.kept.owed(t, "kept "+strconv.Itoa(int(id)), out)
	}
	return out
}

// TestRebuild does random things, drops and rewrites segments, and loses the
// index at a random moment: with published offsets that are up to date, exactly
// what was not settled is there again.
func TestRebuild(t *testing.T) {
	trimmed := 0
	for seed := range uint64(60) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 5))
			cfg := testConfig(1 + rng.IntN(200))
			cfg.CheckpointBytes = 1 + rng.Int64N(8<<10)
			own := rng.IntN(2) == 0 // trim by what the cursors in memory say, else by upkeep
			if cfg.Upkeep.RewritePercent = rng.IntN(101); !own {
				cfg.SegmentBytes = 1 << 11
			}
			fs, offsets := vfs.NewCrashableMem(), published{}
			store := index.NewMap()
			for range 4 {
				s := openPublished(t, fs, store, cfg, offsets)
				x := &script{t: t, rng: rng, s: s}
				for range 80 {
					x.step()
					switch {
					case rng.IntN(10) > 0:
					case own && s.trimLog(t, rng):
						trimmed++
					case !own:
						s.rest(t)
						s.upkeepAll(t)
					}
					if rng.IntN(10) == 0 {
						offsets.publish(t, s)
					}
				}
				offsets.publish(t, s)
				kept := store.Copy()
				fs = fs.CrashClone(vfs.CrashCloneCfg{})
				endings := s.endings(t)
				must(t, s.Close())
				mustHold(t, store, endings)
				want := asOfLog(t, fs, kept, cfg)

				store = index.NewMap()
				again := openPublished(t, fs, store, cfg, offsets)
				if diff := cmp.Diff(want, again.owed(t)); diff != "" {
					t.Fatalf("state before and after the index was lost (-before +after):\n%s", diff)
				}
				again.mustDoubt(t)
				fs2 := fs.CrashClone(vfs.CrashCloneCfg{})
				endings = again.endings(t)
				again.mustKnowSizes(t)
				must(t, again.Close())
				mustHold(t, store, endings)
				fs = fs2
				store = index.NewMap()
			}
		})
	}
	if trimmed < 50 {
		t.Errorf("the log was trimmed %d times", trimmed)
	}
}

// asOfLog is what an ordinary start finds.
func asOfLog(t *testing.T, fs *vfs.MemFS, store *index.Map, cfg Config) map[string]string {
	t.Helper()
	again, err := openOn(t, fs.CrashClone(vfs.CrashCloneCfg{}), store, cfg)
	must(t, err)
	want := again.owed(t)
	must(t, again.Close())
	return want
}

func rewritten(i commitlog.Info) bool { return i.Rewritten }

// mustDoubt asks that a shard whose log has gaps flags all that it has.
func (s *Shard) mustDoubt(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log.FirstLSN() == 1 && !slices.ContainsFunc(s.log.Segments(), rewritten) {
		return
	}
	for _, st := range s.streams {
		for p := range st.everyPlace() {
			if p.cur.Suspect() < st.refs.End() {
				t.Errorf("stream %d cursor %d: only what is below %d counts as delivered, of %d",
					st.id, p.id, p.cur.Suspect(), st.refs.End())
			}
		}
	}
}

// TestRebuildWithHoles has two messages far apart in a queue, with everything
// between them settled, dropped and rewritten.
func TestRebuildWithHoles(t *testing.T) {
	cfg := testConfig(100)
	cfg.CheckpointBytes = 1
	s, fs, _ := opened(t, cfg)
	put := func(n int) {
		for range n {
			m := record.Message{Namespace: []byte("/"), Payload: []byte("x"), Streams: []record.StreamID{testQueue}}
			_, err := s.Publish(&m, true, nil)
			must(t, err)
		}
		must(t, s.Await(s.lastAppended()))
	}
	settle := func(n int) {
		var all []record.Offset
		for range n {
			ref, _, ok, err := s.Get(t.Context(), testQueue)
			if err != nil || !ok {
				t.Fatalf("get: %v, %v", ok, err)
			}
			all = append(all, ref.Offset)
		}
		if all[0] == 0 {
			all = all[1:]
		}
		s.SettleTaken(testQueue, all, false)
	}
	put(100)
	settle(50) // all but the first
	put(10_000)
	settle(10_000)
	put(10)
	rng, offsets := rand.New(rand.NewPCG(1, 1)), published{}
	offsets.publish(t, s)
	for round := 0; s.log.FirstLSN() == 1 && !slices.ContainsFunc(s.log.Segments(), rewritten) || round < 10; round++ {
		put(1)
		must(t, s.awaitFlush())
		s.trimLog(t, rng)
	}
	want := s.owed(t)
	fs = fs.CrashClone(vfs.CrashCloneCfg{})
	for range 2 { // the second time from what the first has stored
		store := index.NewMap()
		again := openPublished(t, fs, store, cfg, offsets)
		if diff := cmp.Diff(want, again.owed(t)); diff != "" {
			t.Fatalf("state before and after the index was lost (-before +after):\n%s", diff)
		}
		again.mustDoubt(t)
		must(t, again.Close())
		again = openPublished(t, fs, store, cfg, nil)
		if got := again.owed(t)["stream 1 self"]; got != want["stream 1 self"] {
			t.Fatalf("after a further start: got %s, want %s", got, want["stream 1 self"])
		}
		must(t, again.Close())
		fs = fs.CrashClone(vfs.CrashCloneCfg{})
		want["committed"] = strconv.Itoa(int(again.Committed()))
	}
}
