package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// moment is what a crash at one moment leaves: of the log all that was synced,
// of the store what was committed.
type moment struct {
	fs    *vfs.MemFS
	store *index.Map
}

// watched is a store that can fail, and lets each commit be looked at.
type watched struct {
	*index.Map
	committed func()
	mu        sync.Mutex
	fail      error // of commits
	failFlush error
	flushing  chan struct{} // non-nil: each flush waits until it is closed
	watch     func()        // called after each commit
}

func (w *watched) Commit(b *index.Batch) error {
	w.mu.Lock()
	err, watch := w.fail, w.watch
	w.mu.Unlock()
	if err == nil {
		err = w.Map.Commit(b)
	}
	if watch != nil {
		watch()
	}
	if err == nil && w.committed != nil {
		w.committed()
	}
	return err
}

func (w *watched) Flush() error {
	w.mu.Lock()
	err, wait := w.failFlush, w.flushing
	w.mu.Unlock()
	if wait != nil {
		<-wait
	}
	if err != nil {
		return err
	}
	return w.Map.Flush()
}

func (w *watched) set(fail, failFlush error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail, w.failFlush = fail, failFlush
}

func testConfig(spillRefs int) Config {
	return Config{
		Identity: record.Identity{Cluster: [16]byte{1}}, Dir: "log", SegmentBytes: 1 << 14,
		TailBytes: 1 << 16, CacheBytes: 1 << 16, BatchBytes: 1 << 20, AckDelay: time.Millisecond,
		SpillRefs: spillRefs, CheckpointBytes: 1 << 40, CheckpointInterval: time.Hour,
	}
}

func openOn(t *testing.T, fs vfs.FS, store index.Store, cfg Config) (*Shard, error) {
	t.Helper()
	return Open(cfg, Deps{
		FS: fs, Clock: clock.System, Log: slog.New(slog.DiscardHandler),
		OpenStore: func() (index.Store, error) { return store, nil },
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// state describes all that a shard knows and must know again after a start.
func (s *Shard) state(t *testing.T) map[string]string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{"committed": fmt.Sprint(s.Committed())}
	for id, st := range s.streams {
		if !st.durable {
			continue
		}
		name := "stream " + strconv.Itoa(int(id))
		out[name] = fmt.Sprintf("%+v since %d end %d", st.info, st.since, st.refs.End())
		if st.kept != nil {
			st.kept.describe(t, name, out)
		}
		if st.self != nil {
			out[name+" self"] = st.self.describe(t)
		}
		for p := range st.places.each() {
			out[name+" cursor "+strconv.Itoa(int(p.id))] = p.describe(t)
		}
	}
	for session, ids := range s.once {
		out["once "+strconv.Itoa(int(session))] = fmt.Sprint(ids)
	}
	for ns, topics := range s.retained {
		topics.Match("#", func(topic string, lsn record.LSN) bool {
			out["retained "+ns+" "+topic] = fmt.Sprint(lsn)
			return true
		})
	}
	must(t, s.EachSession(func(id uint64, x *SessionState) error {
		out["session "+strconv.Itoa(int(id))] = fmt.Sprintf("%+v %+v %+v", x.Session, x.Subscriptions, x.Values)
		return nil
	}))
	return out
}

// describe tells what a cursor has not settled.
func (p *place) describe(t *testing.T) string {
	out := fmt.Appendf(nil, "marked %d suspect %d:", p.cur.Marked(), p.cur.Suspect())
	for o := p.cur.Floor(); o < p.stream.refs.End(); o++ {
		if p.cur.Settled(o) {
			continue
		}
		if p.stream.kept != nil {
			continue // see kept.describe
		}
		lsn, ok, err := p.stream.refs.Get(o, p.stream)
		if err != nil || !ok {
			t.Errorf("stream %d offset %d: %v, %v", p.stream.id, o, ok, err)
		}
		out = fmt.Appendf(out, " %d=%d", o, lsn)
	}
	return string(out)
}

// script does random things to a shard.
type script struct {
	t   *testing.T
	rng *rand.Rand
	s   *Shard
	n   int
}

// Streams 1 to filters are of filters, the others queues; those up to durables
// are durable.
const (
	filters  = 3
	durables = 6
	// The last two are stream queues, the second one compacted.
	firstKept = 9
	streams   = 10
)

func (x *script) stream() record.StreamID { return record.StreamID(1 + x.rng.IntN(streams)) }

func (x *script) step() {
	s, id := x.s, x.stream()
	session := uint64(1 + x.rng.IntN(3))
	var err error
	switch x.rng.IntN(20) {
	case 16, 17:
		x.group()
	case 18, 19:
		x.retain()
	case 0, 1:
		info := record.Stream{ID: id, Filter: id <= filters, Namespace: "/", Name: strconv.Itoa(int(id))}
		info.Kept, info.Compacted = id >= firstKept, id > firstKept
		err = s.CreateStream(info, id <= durables || info.Kept)
	case 2:
		if x.rng.IntN(4) == 0 {
			_, err = s.DropStream(id)
		}
	case 3, 4:
		if _, err = s.CreateCursor(id, session); errors.Is(err, ErrNotFound) {
			err = nil
		}
	case 5:
		if x.rng.IntN(3) == 0 {
			_, _, err = s.DropCursor(id, session)
		}
	case 6, 7:
		x.settle(id)
	case 8:
		err = x.session(session)
	case 9:
		_, err = s.Release(record.Once{Session: session, ID: uint16(x.rng.IntN(40))}, nil)
	case 10:
		if _, _, err = s.Purge(id); errors.Is(err, ErrNotFound) {
			err = nil
		}
	case 11:
		err = s.Wait(x.t.Context(), s.lastAppended())
	default:
		sync := x.rng.IntN(3) == 0
		for range 1 + x.rng.IntN(100) {
			x.publish(session, sync)
		}
	}
	must(x.t, err)
}

func (x *script) publish(session uint64, sync bool) {
	m := record.Message{Namespace: []byte("/"), Key: []byte(strconv.Itoa(x.rng.IntN(40))), Payload: []byte(strconv.Itoa(x.n))}
	x.n++
	for id := range record.StreamID(streams) {
		if x.rng.IntN(3) == 0 {
			m.Streams = append(m.Streams, id+1)
		}
	}
	if x.rng.IntN(8) == 0 {
		m.Retain = true
		if x.rng.IntN(2) == 0 {
			m.Payload, m.Streams = nil, m.Streams[:len(m.Streams)*x.rng.IntN(2)]
		}
	}
	if x.rng.IntN(8) == 0 {
		m.Once = record.Once{Session: session, ID: uint16(x.rng.IntN(40))}
	}
	numberedDeadlines(&m, x.n)
	_, err := x.s.Publish(&m, sync, nil)
	must(x.t, err)
}

// settle takes messages of a stream and ends most of them, in any order.
func (x *script) settle(id record.StreamID) {
	if id > filters {
		x.s.weigh(x.t, id, x.rng.IntN(2) == 0)
		var taken []record.Offset
		for range x.rng.IntN(60) {
			ref, _, ok, err := x.s.Get(x.t.Context(), id)
			if errors.Is(err, ErrNotFound) || err == nil && !ok {
				break
			}
			must(x.t, err)
			taken = append(taken, ref.Offset)
		}
		x.rng.Shuffle(len(taken), func(i, j int) { taken[i], taken[j] = taken[j], taken[i] })
		x.s.SettleTaken(id, taken[:len(taken)*3/4], false)
		x.s.SettleTaken(id, taken[len(taken)*3/4:], true)
		return
	}
	for session := range uint64(4) {
		r := x.s.NewReader(session, func() {})
		if r.Attach(id) != nil {
			continue
		}
		refs, err := r.Next(nil, x.rng.IntN(60))
		must(x.t, err)
		for i := range refs {
			if x.rng.IntN(4) > 0 {
				r.Settle(refs[i].Stream, refs[i].Offset, refs[i].LSN)
			}
		}
		r.Recover()
		r.Detach(id)
	}
}

func (x *script) session(id uint64) error {
	kind, body := record.KindSession, record.AppendSession(nil, &record.Session{ID: id, Client: "c"})
	switch filter := strconv.Itoa(x.rng.IntN(3)); x.rng.IntN(8) {
	case 0:
		kind = record.KindSessionDrop
	case 1, 2:
		kind, body = record.KindSubscription, record.AppendSubscription(nil, &record.Subscription{Session: id, Filter: filter})
	case 3:
		kind, body = record.KindSubscriptionDrop, record.AppendSubscription(nil, &record.Subscription{Session: id, Filter: filter})
	case 4, 5:
		kind, body = record.KindValue, record.AppendValue(nil, &record.Value{Session: id, Key: 7, Present: true, Value: []byte(filter)})
	case 6:
		kind, body = record.KindValue, record.AppendValue(nil, &record.Value{Session: id, Key: 7})
	}
	_, err := x.s.Append(kind, body, nil)
	return err
}

// TestCheckpointAndReplayIsReplay crashes after every commit to the store, with
// all of what was committed and with what was flushed, and asks that the state
// is that of a replay of the whole log.
func TestCheckpointAndReplayIsReplay(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			cfg := testConfig(1 + rng.IntN(200))
			if rng.IntN(2) == 0 {
				cfg.CheckpointBytes = rng.Int64N(4 << 10)
			}
			if rng.IntN(2) == 0 {
				cfg.CheckpointInterval = time.Millisecond
			}
			now := moment{vfs.NewCrashableMem(), index.NewMap()}
			for range 3 {
				now = runScript(t, rng, now, cfg)
			}
		})
	}
}

// runScript goes on from a moment and returns a later one.
func runScript(t *testing.T, rng *rand.Rand, from moment, cfg Config) moment {
	var moments []moment
	store := &watched{Map: from.store}
	store.committed = func() {
		if len(moments) < 12 {
			fs := from.fs.CrashClone(vfs.CrashCloneCfg{})
			moments = append(moments, moment{fs, store.Copy()}, moment{fs, store.Crash()})
		}
	}
	s, err := openOn(t, from.fs, store, cfg)
	must(t, err)
	s.mu.Lock()
	s.slice = 1 // settle, drop and make in the midst of a spill
	s.mu.Unlock()
	x := &script{t: t, rng: rng, s: s}
	for range 60 {
		x.step()
	}
	must(t, s.Close())
	moments = append(moments, moment{from.fs, store.Crash()})
	for _, m := range moments {
		compareWithReplay(t, m, cfg)
	}
	return moments[rng.IntN(len(moments))]
}

// checkFloors asks that no cursor in the store needs references that are not;
// those of consumer groups pass over what retention has removed.
func checkFloors(t *testing.T, store *index.Map) {
	t.Helper()
	low := map[uint64]record.Offset{}
	must(t, store.Scan(index.StreamPrefix, func(k, v []byte) error {
		var st index.Stream
		id, err := index.Uint64(k, 0)
		if err == nil {
			err = index.DecodeStream(v, &st)
			if !st.Kept {
				low[id] = st.Low
			}
		}
		return err
	}))
	must(t, store.Scan(index.CursorPrefix, func(k, v []byte) error {
		var c index.Cursor
		id, err := index.Uint64(k, 0)
		if err == nil {
			err = index.DecodeCursor(v, &c)
		}
		if c.Floor < low[id] {
			t.Errorf("stream %d: a cursor stands at %d, the references begin at %d", id, c.Floor, low[id])
		}
		return err
	}))
}

func compareWithReplay(t *testing.T, m moment, cfg Config) {
	t.Helper()
	checkFloors(t, m.store)
	cfg.SpillRefs, cfg.CheckpointBytes = 1<<20, 1<<40
	var states []map[string]string
	for _, store := range []*index.Map{index.NewMap(), m.store.Copy()} {
		fs := m.fs.CrashClone(vfs.CrashCloneCfg{})
		s, err := openOn(t, fs, store, cfg)
		must(t, err)
		states = append(states, s.state(t))
		endings := s.endings(t)
		s.mustKnowSizes(t)
		must(t, s.Close())
		mustHold(t, store, endings)
		must(t, store.Scan(index.ChunkPrefix, func(k, _ []byte) error {
			id, err := index.Uint64(k, 0)
			if s.streams[record.StreamID(id)] == nil {
				t.Errorf("references of stream %d, which was dropped", id)
			}
			return err
		}))
	}
	if diff := cmp.Diff(states[0], states[1]); diff != "" {
		t.Fatalf("state as of the log and as of the checkpoint (-log +checkpoint):\n%s", diff)
	}
}
