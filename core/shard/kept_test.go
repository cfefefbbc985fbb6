package shard

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// describe tells all that a start must know again of a stream queue.
func (k *keptStream) describe(t *testing.T, name string, out map[string]string) {
	low, end := k.st.refs.Low(), k.st.refs.End()
	text := fmt.Appendf(nil, "low %d bytes %d last %d:", low, k.bytes, k.last)
	for o := low; o < end; o++ {
		lsn, ok, err := k.look(o)
		if err != nil {
			t.Errorf("%s offset %d: %v", name, o, err)
		}
		if ok {
			text = fmt.Appendf(text, " %d=%d", o, lsn)
		}
	}
	name = "kept " + name
	out[name] = string(text)
	for no := chunkOf(low); low < end && no <= chunkOf(end-1); no++ {
		c, err := k.chunk(no)
		if err != nil {
			t.Error(err)
			continue
		}
		out[name+" chunk "+strconv.Itoa(int(no))] = fmt.Sprintf("%+v", c.Chunk)
	}
	for _, g := range k.groups {
		out[name+" group "+g.info.Name] = fmt.Sprintf("%d %v", g.q.Floor(), g.q.Ranges(1<<20))
	}
	if k.compaction == nil {
		return
	}
	var due []uint64
	for no := range k.compaction.due {
		due = append(due, no)
	}
	slices.Sort(due)
	out[name+" due"] = fmt.Sprint(due)
	for key := range 5 {
		l, ok, err := k.lastOf([]byte(strconv.Itoa(key)))
		out[name+" last "+strconv.Itoa(key)] = fmt.Sprintf("%+v %v %v", l, ok, err)
	}
}

// owed tells what a rebuild must know again of a stream queue: the messages that
// no later one has superseded, the keys, and what the groups have not settled.
// What is known of chunks must add up.
func (k *keptStream) owed(t *testing.T, name string, out map[string]string) {
	t.Helper()
	low, end := k.st.refs.Low(), k.st.refs.End()
	var there []record.Offset
	var text []byte
	sum := uint64(0)
	for o := low; o < end; o++ {
		lsn, ok, err := k.look(o)
		must(t, err)
		c, err := k.chunk(chunkOf(o))
		must(t, err)
		if o == low || o%index.ChunkLen == 0 {
			sum += c.Bytes
		}
		if ok && !c.Superseded.Has(o) {
			there = append(there, o)
			text = fmt.Appendf(text, " %d=%d", o, lsn)
		}
	}
	if low < end && sum != k.bytes {
		t.Errorf("%s: %d bytes, the chunks have %d", name, k.bytes, sum)
	}
	out[name] = string(text)
	for _, g := range k.groups {
		lag := fmt.Appendf(nil, "created %d since %d:", g.info.Created, g.info.Since)
		for _, o := range there {
			if !g.q.Settled(o) {
				lag = fmt.Appendf(lag, " %d", o)
			}
		}
		out[name+" group "+g.info.Name] = string(lag)
	}
	for key := range 40 {
		if k.compaction == nil {
			break
		}
		if l, ok, err := k.lastOf([]byte(strconv.Itoa(key))); err != nil {
			t.Error(err)
		} else if ok {
			out[name+" last "+strconv.Itoa(key)] = fmt.Sprintf("%+v", l)
		}
	}
}

// group reads a stream queue as one of its groups, or does something else to one.
func (x *script) group() {
	id, cursor := record.StreamID(firstKept+x.rng.IntN(2)), uint64(1+x.rng.IntN(3))
	start := Start{Kind: StartKind(x.rng.IntN(5)), Offset: record.Offset(x.rng.IntN(500)), Time: int64(x.rng.Uint32())}
	var err error
	switch x.rng.IntN(8) {
	case 0:
		err = x.s.SeekGroup(x.t.Context(), id, cursor, start)
	case 1:
		_, err = x.s.DropGroup(id, cursor)
	default:
		var c *GroupConsumer
		c, err = x.s.ConsumeKept(x.t.Context(), id, &Reading{
			Group: cursor, GroupName: "g" + strconv.Itoa(int(cursor)), Start: start,
			Limits: []*queue.Limit{queue.NewLimit(100)}, Notify: func() {}, Cancelled: func() {},
		})
		if err == nil {
			x.read(c)
		}
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrBusy) {
		x.t.Fatal(err)
	}
}

func (x *script) read(c *GroupConsumer) {
	refs, err := c.Fetch(nil, 1+x.rng.IntN(80))
	must(x.t, err)
	for i := range refs {
		c.Settle([]record.Offset{refs[i].Offset}, x.rng.IntN(5) == 0)
	}
	c.Remove()
}

// retain takes a step of retention by rules of the moment.
func (x *script) retain() {
	for id := record.StreamID(firstKept); id <= streams; id++ {
		err := x.s.Keep(id, Retention{
			MaxAge:     time.Duration(x.rng.IntN(2)) * time.Hour,
			MaxBytes:   uint64(x.rng.IntN(2) * (1 + x.rng.IntN(2000))),
			UntilAcked: x.rng.IntN(4) == 0,
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			x.t.Fatal(err)
		}
	}
	now := time.Now()
	if x.rng.IntN(3) == 0 {
		now = now.Add(48 * time.Hour)
	}
	_, err := x.s.Retain(now, 0)
	must(x.t, err)
}

func put(t *testing.T, s *Shard, id record.StreamID, key, body string) record.LSN {
	t.Helper()
	m := record.Message{Namespace: []byte("/"), Key: []byte(key), Payload: []byte(body), Streams: []record.StreamID{id}}
	lsn, err := s.Publish(&m, false, nil)
	must(t, err)
	return lsn
}

func worldOf(t *testing.T, store index.Store) *Shard {
	t.Helper()
	s, err := openOn(t, vfs.NewCrashableMem(), store, testConfig(64))
	must(t, err)
	return s
}

// TestJumpOfTheClockRemovesAShare has the clock jump by years over a stream of
// many chunks: one step takes a bounded part of it.
func TestJumpOfTheClockRemovesAShare(t *testing.T) {
	s := worldOf(t, index.NewMap())
	must(t, s.CreateStream(record.Stream{ID: 1, Kept: true}, true))
	must(t, s.Keep(1, Retention{MaxAge: time.Hour}))
	const chunks = 2 * ageShare
	var last record.LSN
	for range chunks * index.ChunkLen {
		last = put(t, s, 1, "k", "x")
	}
	must(t, s.Wait(t.Context(), last))
	now := time.Now().Add(10 * 365 * 24 * time.Hour)
	low := func() record.Offset {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.streams[1].refs.Low()
	}
	for step := range 3 {
		before := low()
		lsn, err := s.Retain(now, 0)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
		if gone := (low() - before) / index.ChunkLen; gone != 2 && (step == 0 || gone != 1) {
			t.Fatalf("step %d removed %d chunks of %d", step, gone, chunks)
		}
	}
	for range 200 {
		lsn, err := s.Retain(now, 0)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
	}
	if got := low(); got != chunks*index.ChunkLen-1 {
		t.Fatalf("the stream begins at %d, want its newest message", got)
	}
	must(t, s.Close())
}

// TestGroupConsumerKeepsItsCredit truncates a stream under what a consumer has
// in flight: settling it still makes room.
func TestGroupConsumerKeepsItsCredit(t *testing.T) {
	s := worldOf(t, index.NewMap())
	must(t, s.CreateStream(record.Stream{ID: 1, Kept: true}, true))
	must(t, s.Keep(1, Retention{MaxBytes: 1}))
	var last record.LSN
	for range 3 * index.ChunkLen {
		last = put(t, s, 1, "k", "x")
	}
	must(t, s.Wait(t.Context(), last))
	for _, group := range []uint64{0, 7} {
		c, err := s.ConsumeKept(t.Context(), 1, &Reading{
			Group: group, GroupName: "g", Start: Start{Kind: StartFirst},
			Limits: []*queue.Limit{queue.NewLimit(5)}, Notify: func() {}, Cancelled: func() {},
		})
		must(t, err)
		must(t, s.Wait(t.Context(), s.lastAppended())) // the mark
		refs, err := c.Fetch(nil, 3)
		must(t, err)
		lsn, err := s.Retain(time.Now(), 0)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
		if group == 0 && !c.Truncated(refs[0].Offset) {
			t.Error("the first message is not truncated")
		}
		for i := range refs {
			c.Settle([]record.Offset{refs[i].Offset}, i == 0) // the first one is given back
		}
		again, err := c.Fetch(nil, 100)
		must(t, err)
		if again, err = c.Fetch(again, 100); err != nil || len(again) != 5 {
			t.Errorf("group %d: got %d messages, want as many as the prefetch", group, len(again))
		}
		c.Remove()
	}
	must(t, s.Close())
}

// TestKeysOfTruncatedMessagesAreForgotten has a compacted stream of ever new
// keys that keeps few bytes: the index does not grow with the keys.
func TestKeysOfTruncatedMessagesAreForgotten(t *testing.T) {
	store := index.NewMap()
	cfg := testConfig(1 << 12)
	s, err := openOn(t, vfs.NewCrashableMem(), store, cfg)
	must(t, err)
	must(t, s.CreateStream(record.Stream{ID: 1, Kept: true, Compacted: true}, true))
	must(t, s.Keep(1, Retention{MaxBytes: 1}))
	const rounds = 5
	for round := range rounds {
		var last record.LSN
		for i := range sweepStep {
			last = put(t, s, 1, strconv.Itoa(round*sweepStep+i), "x")
		}
		must(t, s.Wait(t.Context(), last))
		lsn, err := s.Retain(time.Now(), time.Hour)
		must(t, err)
		must(t, s.Wait(t.Context(), lsn))
	}
	must(t, s.Close())
	keys := 0
	must(t, store.Scan(index.LastKey(1, ""), func(_, _ []byte) error {
		keys++
		return nil
	}))
	if keys > 3*sweepStep {
		t.Errorf("the index knows %d keys of %d", keys, rounds*sweepStep)
	}
}

// reference is the record at an offset, if the stream needs it.
func (st *stream) reference(o record.Offset) (record.LSN, bool, error) {
	if st.kept != nil {
		return st.kept.look(o)
	}
	return st.refs.Get(o, st)
}

// TestPartOfAStreamQueueIsDamage takes the stream out of a checkpoint that has
// the rest of a stream queue.
func TestPartOfAStreamQueueIsDamage(t *testing.T) {
	fs, store, cfg := vfs.NewCrashableMem(), index.NewMap(), testConfig(1)
	cfg.CheckpointBytes = 1
	s, err := openOn(t, fs, store, cfg)
	must(t, err)
	must(t, s.CreateStream(record.Stream{ID: 1, Kept: true}, true))
	must(t, s.Wait(t.Context(), put(t, s, 1, "k", "x")))
	s.rest(t)
	must(t, s.Close())
	var damage index.Batch
	damage.Delete(index.StreamKey(1))
	must(t, store.Commit(&damage))
	if _, err := openOn(t, fs, store, cfg); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("open: %v, want %v", err, record.ErrCorrupt)
	}
}

// look is get for tests, which read the store while they hold mu.
func (k *keptStream) look(o record.Offset) (record.LSN, bool, error) {
	if o < k.st.refs.Low() {
		return 0, false, nil
	}
	c, err := k.chunk(chunkOf(o))
	if err != nil || c.Gone.Has(o) {
		return 0, false, err
	}
	return k.st.refs.Get(o, k.st)
}
