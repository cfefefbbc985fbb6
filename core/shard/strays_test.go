package shard

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// forgotten publishes 200 messages to a stream, and gives the frame with the record
// that made it up.
func forgotten(t *testing.T, info record.Stream, more func(s *Shard)) (*vfs.MemFS, Config) {
	t.Helper()
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes = 4<<10, 1
	fs, s := begun(t, cfg, info)
	more(s)
	putNumbered(t, s, info.ID, 1, 200)
	must(t, s.Close())
	damage(t, fs, "log/00000000000000000001.seg", segment.HeaderSize+20)
	acceptAll(t, fs, cfg, 0)
	return fs, cfg
}

// begun opens a shard whose first frame has a stream's creation and its first
// message. The committer may take the one before the other comes: then it is begun
// again.
func begun(t *testing.T, cfg Config, info record.Stream) (*vfs.MemFS, *Shard) {
	t.Helper()
	for {
		fs := vfs.NewCrashableMem()
		s := openPublished(t, fs, index.NewMap(), cfg, published{})
		must(t, s.CreateStream(info, true))
		putNumbered(t, s, info.ID, 0, 1)
		first, err := s.log.Read(1)
		if must(t, err); first.Len() == 2 {
			return fs, s
		}
		must(t, s.Close())
	}
}

// openForgotten opens a shard without an index, with what others know of its streams.
func openForgotten(
	t *testing.T, fs vfs.FS, cfg Config, known func(record.StreamID) (record.Stream, bool),
) (*Shard, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	s, err := Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.NewTextHandler(log, nil)),
		OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
		Published: published{}.read, Stray: known,
	})
	must(t, err)
	return s, log
}

// upkeepDone has upkeep do all that it wants to.
func upkeepDone(t *testing.T, s *Shard) {
	t.Helper()
	s.rest(t)
	s.PublishedUpTo(1 << 60)
	s.cfg.Upkeep = UpkeepConfig{RewritePercent: 30, Compress: true}
	s.upkeepAll(t)
}

// wantFrom compares messages with those that were published from one number on.
func wantFrom(t *testing.T, got []string, from, to int) {
	t.Helper()
	var want []string
	for i := from; i < to; i++ {
		want = append(want, fmt.Sprintf("%06d", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

func nothingMore(*Shard) {}

// The frame with the creation of a queue is lost and given up, and the index too. The
// queue's other messages are sound: they stay in the log, somebody is told, and they
// are delivered as soon as the queue is there, also when the index is lost once more.
func TestMessagesOfAQueueThatTheLogForgotStay(t *testing.T) {
	q := record.Stream{ID: 1, Namespace: "/", Name: "q"}
	byName := func(id record.StreamID) (record.Stream, bool) { return q, id == q.ID }
	for name, known := range map[string]func(record.StreamID) (record.Stream, bool){"known": byName, "nameless": nil} {
		t.Run(name, func(t *testing.T) {
			fs, cfg := forgotten(t, q, nothingMore)
			for range 3 {
				s, log := openForgotten(t, fs, cfg, known)
				upkeepDone(t, s)
				must(t, s.CreateStream(q, true)) // as the catalog says
				wantFrom(t, takeNumbered(t, s, 1, 1000, false), 1, 200)
				if !strings.Contains(log.String(), "creation") || !strings.Contains(log.String(), "messages=199") {
					t.Errorf("nobody is told:\n%s", log)
				}
				must(t, s.Close())
			}
			s, _ := openForgotten(t, fs, cfg, known)
			defer s.Close()
			must(t, s.CreateStream(q, true))
			ref, _, _, err := s.Get(t.Context(), 1)
			if must(t, err); !ref.Redelivered {
				t.Error("a message that may have been delivered before the loss is not marked")
			}
		})
	}
}

// What was found and settled afterwards does not come again.
func TestFoundQueueIsSettled(t *testing.T) {
	q := record.Stream{ID: 1, Namespace: "/", Name: "q"}
	fs, cfg := forgotten(t, q, nothingMore)
	store, offsets := index.NewMap(), published{}
	s := openPublished(t, fs, store, cfg, offsets)
	must(t, s.CreateStream(q, true))
	wantFrom(t, takeNumbered(t, s, 1, 100, true), 1, 101)
	s.rest(t)
	offsets.publish(t, s)
	must(t, s.Close())
	s = openPublished(t, fs, store, cfg, offsets)
	wantFrom(t, takeNumbered(t, s, 1, 1000, false), 101, 200)
	offsets.publish(t, s)
	s.upkeepAll(t)
	must(t, s.Close())
	s = openPublished(t, fs, index.NewMap(), cfg, offsets) // the index is lost again
	defer s.Close()
	must(t, s.CreateStream(q, true))
	if got := takeNumbered(t, s, 1, 1000, false); len(got) == 0 || got[len(got)-1] != "000199" || got[0] > "000101" {
		t.Errorf("%d messages from %v; want those from 000101 at the least", len(got), got[:min(1, len(got))])
	}
}

// Streams that have ended are not made again: those that went with the process, and
// those that were dropped.
func TestEndedStreamsAreNotFound(t *testing.T) {
	fs, cfg := forgotten(t, record.Stream{ID: 1, Namespace: "/", Name: "q"}, func(s *Shard) {
		must(t, s.CreateStream(record.Stream{ID: 2, Namespace: "/", Name: "transient"}, false))
		putNumbered(t, s, 2, 0, 20)
		must(t, s.CreateStream(record.Stream{ID: 3, Namespace: "/", Name: "dropped"}, true))
		putNumbered(t, s, 3, 0, 20)
		_, err := s.DropStream(3)
		must(t, err)
		putNumbered(t, s, 3, 20, 21) // was routed before
	})
	s, _ := openForgotten(t, fs, cfg, func(id record.StreamID) (record.Stream, bool) { return record.Stream{ID: id}, id&1 != 0 })
	defer s.Close()
	if n := s.Streams(); n != 1 {
		t.Errorf("%d streams; want the queue of which the creation was lost alone", n)
	}
}

// Without a loss a stream that nobody knows was dropped.
func TestNothingIsFoundWithoutALoss(t *testing.T) {
	cfg, fs := testConfig(100), vfs.NewCrashableMem()
	s := openPublished(t, fs, index.NewMap(), cfg, published{})
	putNumbered(t, s, 5, 0, 20)
	must(t, s.Close())
	s, log := openForgotten(t, fs, cfg, nil)
	defer s.Close()
	if n := s.Streams(); n != 0 || strings.Contains(log.String(), "creation") {
		t.Errorf("%d streams; want none:\n%s", n, log)
	}
}

// A stream queue whose creation is lost is found as one when it is known, and made
// one when it gets its name later.
func TestForgottenStreamQueueStays(t *testing.T) {
	q := record.Stream{ID: 1, Namespace: "/", Name: "s", Kept: true, Compacted: true}
	byName := func(id record.StreamID) (record.Stream, bool) { return q, id == q.ID }
	for name, known := range map[string]func(record.StreamID) (record.Stream, bool){"known": byName, "nameless": nil} {
		t.Run(name, func(t *testing.T) {
			fs, cfg := forgotten(t, q, nothingMore)
			for range 2 {
				s, _ := openForgotten(t, fs, cfg, known)
				upkeepDone(t, s)
				must(t, s.CreateStream(q, true))
				must(t, s.Keep(1, Retention{MaxAge: time.Hour}))
				lsn, err := s.Retain(time.Now(), 0)
				must(t, err)
				must(t, s.Wait(t.Context(), lsn))
				got := readKept(t, s, 1, 0)
				wantFrom(t, got, 200-len(got), 200)
				if name == "nameless" && len(got) != 199 {
					t.Errorf("%d of 199 messages are there", len(got))
				}
				upkeepDone(t, s)
				must(t, s.Close())
			}
		})
	}
}

// A session whose cursor is lost with its filter's stream gets all that the log has.
func TestForgottenFilterStays(t *testing.T) {
	f := record.Stream{ID: 1, Namespace: "/", Name: "a/b", Filter: true}
	fs, cfg := forgotten(t, f, nothingMore)
	s, _ := openForgotten(t, fs, cfg, func(id record.StreamID) (record.Stream, bool) {
		return record.Stream{ID: id, Filter: true}, true
	})
	defer s.Close()
	must(t, s.CreateStream(f, true))
	for _, session := range []uint64{7, 8} {
		if session == 8 {
			s.RestoredSessions()
		}
		lsn, err := s.CreateCursor(1, session)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[1]
	restored, later := st.places.get(7).cur.Floor(), st.places.get(8).cur.Floor()
	if restored != 0 || later != 199 || st.refs.End() != 199 {
		t.Errorf("a restored session begins at %d, a new one at %d of %d; want 0, 199, 199", restored, later, st.refs.End())
	}
}

// readKept reads a stream queue as a group or, with none, from its beginning.
func readKept(t *testing.T, s *Shard, id record.StreamID, group uint64) (got []string) {
	t.Helper()
	c, err := s.ConsumeKept(t.Context(), id, &Reading{
		Group: group, GroupName: "g", Start: Start{Kind: StartFirst}, Notify: func() {}, Cancelled: func() {},
	})
	must(t, err)
	for {
		refs, err := c.Fetch(nil, 1000)
		must(t, err)
		if len(refs) == 0 && group != 0 { // a mark may be on its way
			must(t, s.Wait(t.Context(), s.lastAppended()))
			refs, err = c.Fetch(nil, 1000)
			must(t, err)
		}
		if len(refs) == 0 {
			c.Remove()
			return got
		}
		for _, ref := range refs {
			var h Hint
			var m record.Message
			_, err := s.Record(ref.LSN, &h, &m)
			must(t, err)
			got = append(got, string(m.Payload[:6]))
			c.Settle([]record.Offset{ref.Offset}, false)
		}
	}
}

// The index is there, and the creation of a queue is lost above what it holds.
func TestForgottenQueueAboveTheCheckpointStays(t *testing.T) {
	cfg, fs, store := testConfig(100), vfs.NewCrashableMem(), index.NewMap()
	cfg.SegmentBytes = 1 << 20
	s := openPublished(t, fs, store, cfg, published{})
	must(t, s.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "q"}, true))
	putNumbered(t, s, 1, 0, 150) // spills
	q := record.Stream{ID: 2, Namespace: "/", Name: "q2"}
	must(t, s.CreateStream(q, true))
	must(t, s.Wait(t.Context(), s.lastAppended()))
	created := s.Committed()
	putNumbered(t, s, 2, 0, 20)
	must(t, s.Close())
	const path = "log/00000000000000000001.seg"
	at := int64(-1)
	_, err := segment.Walk(fs, path, cfg.Identity, 1, func(pos int64, _ *record.Header, b *record.Batch) error {
		if b.Base <= created && created < b.Next() {
			at = pos
		}
		return nil
	})
	must(t, err)
	damage(t, fs, path, at+20)
	if lost := acceptAll(t, fs, cfg, 0); lost == 0 {
		t.Fatal("nothing was lost")
	}
	s = openPublished(t, fs, store, cfg, published{})
	must(t, s.CreateStream(q, true))
	got := takeNumbered(t, s, 2, 1000, true)
	wantFrom(t, got, 0, 20)
	s.rest(t)
	must(t, s.Close())
	s = openPublished(t, fs, store, cfg, published{})
	defer s.Close()
	wantFrom(t, takeNumbered(t, s, 2, 1000, false), 0, 0)
	wantFrom(t, takeNumbered(t, s, 1, 1000, false), 0, 150)
}
