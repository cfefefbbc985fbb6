package shard

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// rest waits until nothing is under way and the store has all of the state.
func (s *Shard) rest(t *testing.T) {
	t.Helper()
	for range 3 { // a commit applies acks, the next one spills them
		must(t, s.Wait(t.Context(), s.FlushAcks()))
		lsn, err := s.Append(record.KindDelivered, record.AppendCursorRef(nil, record.CursorRef{Stream: 1 << 60}), nil)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
		must(t, s.awaitFlush())
	}
}

// upkeepAll calls Upkeep until there is nothing to do.
func (s *Shard) upkeepAll(t *testing.T) (steps int) {
	t.Helper()
	s.upkeep.step.Lock()
	s.upkeep.next, s.upkeep.resting = time.Time{}, time.Time{} // a census is due, however long the last one took
	s.upkeep.step.Unlock()
	for s.Upkeep(t.Context()) {
		if steps++; steps > 10_000 {
			t.Fatal("upkeep does not end")
		}
	}
	return steps
}

// needed returns every record that somebody may still ask for.
func (s *Shard) needed(t *testing.T) map[record.LSN]string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[record.LSN]string{}
	for id, st := range s.streams {
		places := []*place{st.self}
		if st.self == nil {
			places = places[:0]
			for p := range st.places.each() {
				places = append(places, p)
			}
		}
		for _, p := range places {
			for o := p.cur.Floor(); o < st.refs.End(); o++ {
				if p.cur.Settled(o) {
					continue
				}
				lsn, ok, err := st.reference(o)
				if err == nil && !ok && st.kept != nil {
					continue
				}
				if err != nil || !ok {
					t.Fatalf("stream %d offset %d: %v, %v", id, o, ok, err)
				}
				all[lsn] = fmt.Sprintf("stream %d offset %d", id, o)
			}
		}
	}
	for _, topics := range s.retained {
		topics.Match("#", func(topic string, lsn record.LSN) bool {
			all[lsn] = "retained " + topic
			return true
		})
	}
	return all
}

// readable checks that all that is needed can be read from the segments, and
// that what was rewritten tells the places that it has.
func (s *Shard) readable(t *testing.T) {
	t.Helper()
	needed := s.needed(t)
	var h Hint
	b := new(record.Batch)
	for _, lsn := range slices.Sorted(maps.Keys(needed)) {
		what := needed[lsn]
		i, ok := b.Find(lsn)
		if !ok {
			var err error
			if b, err = s.log.Read(lsn); err != nil {
				t.Fatalf("%s, record %d: %v", what, lsn, err)
			}
			i, _ = b.Find(lsn)
		}
		kind, body := b.Record(i)
		var m record.Message
		if _, err := s.Record(lsn, &h, &m); err != nil {
			t.Fatalf("%s, record %d: %v", what, lsn, err)
		}
		if kind != record.KindPlaced {
			continue
		}
		places, message, err := record.SplitPlaced(body, nil)
		must(t, err)
		must(t, record.DecodeMessage(message, &m))
		s.mu.Lock()
		for i := range m.NumStreams() {
			st := s.streams[m.StreamAt(i)]
			if o, ok := places[i].Offset(); ok && st != nil && lsn >= st.since && o >= st.refs.Low() {
				if at, _, err := st.refs.Get(o, st); err != nil || at != lsn {
					t.Errorf("record %d is placed at %d of stream %d, where %d is: %v", lsn, o, st.id, at, err)
				}
			}
		}
		s.mu.Unlock()
	}
}

// fold is what the segments alone tell, record by record, but for settlements.
type fold struct {
	streams  map[record.StreamID]record.LSN
	cursors  map[record.CursorRef]bool
	sessions map[uint64]string
	values   map[string]string // subscriptions and values
	once     map[record.Once]record.LSN
	retained map[string]record.LSN
	refs     map[record.StreamID]map[record.LSN]bool
}

func foldLog(t *testing.T, fs vfs.FS, cfg Config) *fold {
	t.Helper()
	f := &fold{
		streams: map[record.StreamID]record.LSN{}, cursors: map[record.CursorRef]bool{}, sessions: map[uint64]string{},
		values: map[string]string{}, once: map[record.Once]record.LSN{}, retained: map[string]record.LSN{},
		refs: map[record.StreamID]map[record.LSN]bool{},
	}
	l, err := commitlog.Open(commitlog.Config{
		FS: fs, Dir: cfg.Dir, Identity: cfg.Identity, SegmentBytes: cfg.SegmentBytes,
	}, func(b *record.Batch) error {
		for i := range b.Len() {
			kind, body := b.Record(i)
			f.apply(t, kind, body, b.LSN(i))
		}
		return nil
	})
	must(t, err)
	must(t, l.Close())
	return f
}

func (f *fold) apply(t *testing.T, kind record.Kind, body []byte, lsn record.LSN) {
	t.Helper()
	switch kind {
	case record.KindMessage, record.KindPlaced:
		f.message(t, kind, body, lsn)
	case record.KindStreamCreate:
		var r record.Stream
		must(t, record.DecodeStream(body, &r))
		if _, there := f.streams[r.ID]; !there {
			f.streams[r.ID], f.refs[r.ID] = lsn, map[record.LSN]bool{}
		}
	case record.KindStreamDrop, record.KindCursorCreate, record.KindCursorDrop:
		r, err := record.DecodeCursorRef(body)
		must(t, err)
		_, there := f.streams[r.Stream]
		switch kind {
		case record.KindStreamDrop:
			delete(f.streams, r.Stream)
			for c := range f.cursors {
				if c.Stream == r.Stream {
					delete(f.cursors, c)
				}
			}
		case record.KindCursorCreate:
			if there {
				f.cursors[r] = true
			}
		default:
			delete(f.cursors, r)
		}
	case record.KindGroup:
		r, err := record.DecodeGroup(body)
		must(t, err)
		if _, there := f.streams[r.Stream]; there {
			f.cursors[record.CursorRef{Stream: r.Stream, Cursor: r.Cursor}] = true
		}
	case record.KindRelease:
		o, err := record.DecodeOnce(body)
		must(t, err)
		delete(f.once, o)
	default:
		f.session(t, kind, body)
	}
}

func (f *fold) message(t *testing.T, kind record.Kind, body []byte, lsn record.LSN) {
	t.Helper()
	var places []record.Place
	message, _, err := record.MessageBody(kind, body)
	must(t, err)
	if kind == record.KindPlaced {
		places, _, err = record.SplitPlaced(body, nil)
		must(t, err)
	}
	var m record.Message
	must(t, record.DecodeMessage(message, &m))
	for i := range m.NumStreams() {
		since, there := f.streams[m.StreamAt(i)]
		if there && lsn >= since && (places == nil || places[i] != record.NoPlace) {
			f.refs[m.StreamAt(i)][lsn] = true
		}
	}
	if m.Once.Session != 0 {
		f.once[m.Once] = lsn
	}
	if key := string(m.Namespace) + " " + string(m.Key); m.Retain && len(m.Payload) > 0 {
		f.retained[key] = lsn
	} else if m.Retain {
		delete(f.retained, key)
	}
}

func (f *fold) session(t *testing.T, kind record.Kind, body []byte) {
	t.Helper()
	set := func(key string, present bool) {
		if present {
			f.values[key] = string(body)
		} else {
			delete(f.values, key)
		}
	}
	switch kind {
	case record.KindSession, record.KindSessionDrop:
		var r record.Session
		must(t, record.DecodeSession(body, &r))
		if kind == record.KindSession {
			f.sessions[r.ID] = string(body)
			return
		}
		delete(f.sessions, r.ID)
		for k := range f.values {
			if k[:8] == fmt.Sprintf("%08x", r.ID) {
				delete(f.values, k)
			}
		}
	case record.KindSubscription, record.KindSubscriptionDrop:
		var r record.Subscription
		must(t, record.DecodeSubscription(body, &r))
		set(fmt.Sprintf("%08x s %s", r.Session, r.Filter), kind == record.KindSubscription)
	case record.KindValue:
		var r record.Value
		must(t, record.DecodeValue(body, &r))
		set(fmt.Sprintf("%08x v %d", r.Session, r.Key), r.Present)
	default:
	}
}

// expected is the fold as the shard has it, without what is no record's business.
func (s *Shard) expected(t *testing.T) *fold {
	t.Helper()
	f := &fold{
		streams: map[record.StreamID]record.LSN{}, cursors: map[record.CursorRef]bool{}, sessions: map[uint64]string{},
		values: map[string]string{}, once: map[record.Once]record.LSN{}, retained: map[string]record.LSN{},
		refs: map[record.StreamID]map[record.LSN]bool{},
	}
	for _, prefix := range [][]byte{index.SessionPrefix, index.SubscriptionPrefix, index.ValuePrefix} {
		must(t, s.store.Scan(prefix, func(k, v []byte) error {
			kinds := map[byte]record.Kind{
				index.SessionPrefix[0]: record.KindSession, index.SubscriptionPrefix[0]: record.KindSubscription,
				index.ValuePrefix[0]: record.KindValue,
			}
			f.session(t, kinds[k[0]], v)
			return nil
		}))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.streams {
		if st.durable {
			f.streams[id] = st.since
			for p := range st.places.each() {
				f.cursors[record.CursorRef{Stream: id, Cursor: p.id}] = true
			}
		}
	}
	for session, ids := range s.once {
		for id, lsn := range ids {
			f.once[record.Once{Session: session, ID: id}] = lsn
		}
	}
	for ns, topics := range s.retained {
		topics.Match("#", func(topic string, lsn record.LSN) bool {
			f.retained[ns+" "+topic] = lsn
			return true
		})
	}
	return f
}

// sameFold checks that the segments alone tell what there is, and refer to all
// that is needed.
func (s *Shard) sameFold(t *testing.T, fs vfs.FS) {
	t.Helper()
	got, want := foldLog(t, fs, s.cfg), s.expected(t)
	for _, part := range []struct {
		what      string
		want, got any
	}{
		{"streams", want.streams, got.streams},
		{"cursors", want.cursors, got.cursors},
		{"sessions", want.sessions, got.sessions},
		{"subscriptions and values", want.values, got.values},
		{"exactly-once numbers", want.once, got.once},
		{"retained values", want.retained, got.retained},
	} {
		if diff := cmp.Diff(part.want, part.got); diff != "" {
			t.Errorf("%s that the segments tell of (-want +got):\n%s", part.what, diff)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, st := range s.streams {
		for p := range st.places.each() {
			for o := p.cur.Floor(); st.durable && o < st.refs.End(); o++ {
				if lsn, ok, _ := st.reference(o); ok && !p.cur.Settled(o) && !got.refs[id][lsn] {
					t.Errorf("no record of stream %d at %d, which is %d", id, o, lsn)
				}
			}
		}
	}
}

// TestUpkeepKeepsTheState does upkeep between random steps, crashes at its
// writes, and asks that nothing that is needed is gone: not from the state that
// a start finds, not from the segments, and not from what these tell alone.
func TestUpkeepKeepsTheState(t *testing.T) {
	var total UpkeepStats
	for seed := range uint64(6) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			st := upkeepModel(t, seed)
			total.Dropped += st.Dropped
			total.Rewritten += st.Rewritten
		})
	}
	if total.Dropped == 0 || total.Rewritten == 0 {
		t.Errorf("upkeep did nothing: %+v", total)
	}
}

func upkeepModel(t *testing.T, seed uint64) (total UpkeepStats) {
	rng := rand.New(rand.NewPCG(seed, 11))
	cfg := testConfig(1 + rng.IntN(100))
	cfg.SegmentBytes, cfg.CheckpointBytes, cfg.TailBytes = 1<<10, 1, 1
	cfg.CacheBytes = 1
	cfg.Upkeep = UpkeepConfig{RewritePercent: rng.IntN(101), Compress: rng.IntN(2) == 0}
	fs, store := vfs.NewCrashableMem(), index.NewMap()
	for range 2 {
		var crashes []moment
		armed := false
		chance := rand.New(rand.NewPCG(seed, rng.Uint64())) // of the committer too, which rng is not
		var mu sync.Mutex                                   // guards chance, crashes and armed
		wrapped := errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			mu.Lock()
			defer mu.Unlock()
			if armed && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && chance.IntN(6) == 0 {
				kept := vfs.CrashCloneCfg{UnsyncedDataPercent: chance.IntN(101), RNG: chance}
				crashes = append(crashes, moment{fs.CrashClone(kept), nil})
			}
			return nil
		}))
		s, err := openOn(t, wrapped, store, cfg)
		must(t, err)
		x := &script{t: t, rng: rng, s: s}
		for range 5 {
			for range 30 {
				x.step()
			}
			x.flood(filters + 1)
			s.rest(t)
			before, stores := fs.CrashClone(vfs.CrashCloneCfg{}), []*index.Map{store.Copy(), store.Crash()}
			arm := func(on bool) (met []moment) {
				mu.Lock()
				defer mu.Unlock()
				armed, met, crashes = on, crashes, nil
				return met
			}
			arm(true)
			s.upkeepAll(t)
			met := arm(false)
			s.readable(t)
			s.sameFold(t, fs.CrashClone(vfs.CrashCloneCfg{}))
			comparePasts(t, rng, cfg, before, met, stores)
		}
		st := s.UpkeepStats()
		total.Dropped += st.Dropped
		total.Rewritten += st.Rewritten
		must(t, s.Close())
		fs, store = fs.CrashClone(vfs.CrashCloneCfg{}), store.Crash()
	}
	return total
}

// flood fills segments with messages alone, and has most of them settled.
func (x *script) flood(id record.StreamID) {
	m := record.Message{Namespace: []byte("/"), Payload: []byte("flood"), Streams: []record.StreamID{id}}
	for range 700 {
		lsn, err := x.s.Publish(&m, true, nil)
		must(x.t, err)
		if x.rng.IntN(20) == 0 {
			must(x.t, x.s.Wait(x.t.Context(), lsn))
		}
	}
	must(x.t, x.s.Wait(x.t.Context(), x.s.lastAppended()))
	for range 12 {
		x.settle(id)
	}
}

// comparePasts opens what crashes have left, and asks that it is what there was
// before.
func comparePasts(t *testing.T, rng *rand.Rand, cfg Config, before *vfs.MemFS, crashes []moment, stores []*index.Map) {
	t.Helper()
	if len(crashes) == 0 {
		return
	}
	open := func(fs *vfs.MemFS, store *index.Map) (map[string]string, *Shard) {
		s, err := openOn(t, fs, store.Copy(), cfg)
		must(t, err)
		return s.state(t), s
	}
	for _, store := range stores {
		want, s := open(before.CrashClone(vfs.CrashCloneCfg{}), store)
		must(t, s.Close())
		for range min(len(crashes), 4) {
			got, s := open(crashes[rng.IntN(len(crashes))].fs.CrashClone(vfs.CrashCloneCfg{}), store)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("state before upkeep and after a crash in it (-before +after):\n%s", diff)
			}
			s.readable(t)
			must(t, s.Close())
		}
	}
}
