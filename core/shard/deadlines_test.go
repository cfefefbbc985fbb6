package shard

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// farAway is a deadline that no test waits for.
const farAway = 1 << 42

// numberedDeadlines gives the n-th message of a script deadlines in some of its
// streams; some are those of the message before.
func numberedDeadlines(m *record.Message, n int) {
	if n%5 == 0 {
		return
	}
	for _, id := range m.Streams {
		at := int64(0)
		if id%2 == 0 {
			at = farAway + int64(n/3) + int64(id)
		}
		m.Deadlines = append(m.Deadlines, at)
	}
}

// ending is a message of a queue with its deadline.
type ending struct {
	stream record.StreamID
	offset record.Offset
	at     int64
}

// endings are those that the log's records tell, of what is not settled in durable
// queues.
func (s *Shard) endings(t *testing.T) (list []ending) {
	t.Helper()
	type message struct {
		stream record.StreamID
		offset record.Offset
		lsn    record.LSN
	}
	var unsettled []message
	s.mu.Lock()
	for id, st := range s.streams {
		for o := st.refs.Low(); st.queue != nil && st.durable && o < st.refs.End(); o++ {
			if st.queue.Settled(o) {
				continue
			}
			lsn, ok, err := st.refs.Get(o, st)
			if err != nil || !ok {
				t.Errorf("stream %d offset %d: %v, %v", id, o, ok, err)
			}
			unsettled = append(unsettled, message{id, o, lsn})
		}
	}
	s.mu.Unlock()
	var h Hint
	var m record.Message
	for _, u := range unsettled {
		if _, err := s.Record(u.lsn, &h, &m); err != nil {
			t.Fatal(err)
		}
		for i := range m.NumStreams() {
			if at := m.DeadlineAt(i); m.StreamAt(i) == u.stream && at != 0 {
				list = append(list, ending{u.stream, u.offset, at})
			}
		}
	}
	return list
}

// mustHold checks that a store has deadlines, at the end of the shard that it is of.
func mustHold(t *testing.T, store index.Store, want []ending) {
	t.Helper()
	has := map[ending]bool{}
	must(t, store.Scan(index.DeadlinePrefix, func(k, v []byte) error {
		var d index.Deadline
		if err := index.DecodeDeadline(k, v, &d); err != nil {
			return err
		}
		for o := d.First; o < d.End(); o++ {
			has[ending{d.Stream, o, d.At}] = true
		}
		return nil
	}))
	for _, e := range want {
		if !has[e] {
			t.Fatalf("offset %d of stream %d has lost its deadline %d", e.offset, e.stream, e.at)
		}
	}
}

// Messages of several queues that end together are one entry of each.
func TestDeadlinesOfNeighboursAreOne(t *testing.T) {
	s, err := openOn(t, vfs.NewCrashableMem(), index.NewMap(), testConfig(1<<20))
	must(t, err)
	for _, id := range []record.StreamID{1, 2} {
		must(t, s.CreateStream(record.Stream{ID: id, Namespace: "/", Name: strconv.Itoa(int(id))}, false))
	}
	s.mu.Lock()
	for o := range record.Offset(100) {
		for id := range record.StreamID(2) {
			s.addDeadline(s.streams[id+1], o, farAway+int64(o/50))
		}
	}
	if n := len(s.deadlines.fresh); n != 4 {
		t.Errorf("%d entries, want 2 of each queue", n)
	}
	s.deadlines.fresh = nil
	s.mu.Unlock()
	must(t, s.Close())
}

func TestNearDeadlinesComeInOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var h nearDeadlines
	for range 1000 {
		h.push(deadline{look: rng.Int64N(300)})
		if rng.IntN(3) == 0 {
			h.pop()
		}
		if rng.IntN(50) == 0 {
			rng.Shuffle(len(h), func(i, j int) { h[i], h[j] = h[j], h[i] })
			h.order()
		}
	}
	for last := int64(0); len(h) > 0; {
		if d := h.pop(); d.look < last {
			t.Fatalf("%d comes behind %d", d.look, last)
		} else {
			last = d.look
		}
	}
}
