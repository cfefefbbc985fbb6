package shard

import (
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// The log has the counts of returns as it has acks, and the store all of a queue as of
// a checkpoint, so that a start goes on with them. An index that is made again begins
// with those that the log still has.

// maxTold is how many messages a record of returns tells of: the rest follow with the
// next batch.
const maxTold = 1 << 14

// cameBack has the log told of the stream's counts with the next acks, and the store
// with the next spill. mu is held.
func (s *Shard) cameBack(st *stream) {
	s.returnsDiffer(st)
	if st.returns.listed {
		return
	}
	st.returns.listed = true
	s.returned = append(s.returned, st)
	s.kickAcks()
}

func (s *Shard) returnsDiffer(st *stream) {
	s.changedStream(st)
	if !st.returns.stale {
		st.returns.stale = true
		s.staleReturns = append(s.staleReturns, st)
	}
}

// gatherReturns appends a record for every stream to which messages came back. mu
// and amu are held.
func (s *Shard) gatherReturns() {
	all := s.returned
	s.returned = s.returned[:0]
	for _, st := range all {
		r := st.returns
		if r == nil || st.gone { // not counted any more
			continue
		}
		some := r.fresh[:min(len(r.fresh), maxTold)]
		r.fresh = r.fresh[len(some):]
		slices.Sort(some)
		s.told = s.told[:0]
		for _, o := range slices.Compact(some) {
			if !st.queue.Settled(o) {
				s.told = append(s.told, record.Returned{Offset: o, Times: r.count(o)})
			}
		}
		if r.listed = len(r.fresh) > 0; r.listed {
			s.returned = append(s.returned, st)
		} else {
			r.fresh = nil
		}
		if len(s.told) == 0 {
			continue
		}
		s.open.Begin(record.KindReturns)
		s.open.Raw = record.AppendReturns(s.open.Raw, &record.Returns{Stream: st.id, Of: s.told})
		s.open.End()
		s.open.Sync = true
	}
	clear(all[len(s.returned):])
	if len(s.returned) > 0 {
		s.wakeForAcks()
	}
}

// applyReturns counts while recovering. On a live shard that was done when the
// messages came back.
func (s *Shard) applyReturns(body []byte, lsn record.LSN) error {
	if !s.recovering || s.otherCount(lsn) {
		return nil
	}
	r := record.Returns{Of: s.told[:0]}
	err := record.DecodeReturns(body, &r)
	s.told = r.Of
	st := s.streams[r.Stream]
	if err != nil || st == nil || st.queue == nil || lsn < st.since {
		return err
	}
	st.countAgain()
	for _, m := range r.Of {
		if m.Offset < st.refs.End() && !st.queue.Settled(m.Offset) {
			st.returns.set(st.queue, m.Offset, m.Times)
			s.returnsDiffer(st)
		}
	}
	return nil
}

// countAgain has a queue count before it is configured. How many are too many is said
// then, before anybody consumes it.
func (st *stream) countAgain() {
	if st.returns == nil {
		st.returns = &returns{most: -1}
	}
}

// gatherStaleReturns writes the chunks of counts that have changed to the pending
// batch. mu is held, but not all the time.
func (s *Shard) gatherStaleReturns(sp *spill, value *[]byte) {
	stale := s.staleReturns
	s.staleReturns = nil
	for _, st := range stale {
		r := st.returns
		switch {
		case r == nil || st.gone:
			continue
		case st.since > sp.applied: // as in gather
			s.staleReturns = append(s.staleReturns, st)
			continue
		}
		r.stale = false
		changed := r.changed
		r.changed = nil
		for i, no := range changed {
			s.breathe(i)
			if st.gone {
				break
			}
			st.gatherReturned(r, no, value)
		}
	}
}

func (st *stream) gatherReturned(r *returns, no uint64, value *[]byte) {
	key := index.ReturnsKey(st.id, no)
	c := r.chunks[no]
	if c != nil {
		c.changed = false
		c.forget(st.queue)
	}
	if c == nil || len(c.of) == 0 {
		st.s.pending.Delete(key)
		return
	}
	*value = record.AppendReturns((*value)[:0], &record.Returns{Stream: st.id, Of: c.of})
	st.s.pending.Set(key, *value)
}

// loadReturns reads a chunk of counts. What is settled meanwhile is forgotten with it.
func (s *Shard) loadReturns(k, v []byte) error {
	no, err := index.Uint64(k, 1)
	if err != nil {
		return err
	}
	var r record.Returns
	if err := record.DecodeReturns(v, &r); err != nil {
		return err
	}
	st := s.streams[r.Stream]
	if st == nil || st.queue == nil {
		return fmt.Errorf("returns of stream %x, which is not there: %w", uint64(r.Stream), record.ErrCorrupt)
	}
	c := &returnedChunk{of: r.Of}
	if c.forget(st.queue); len(c.of) == 0 {
		s.pending.Delete(index.ReturnsKey(st.id, no))
		return nil
	}
	st.countAgain()
	st.returns.put(no, c)
	return nil
}
