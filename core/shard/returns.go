package shard

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// returns counts how often messages of a queue came back, of those that are not
// settled. The log has the counts as it has acks, and the store all of a queue as of
// a checkpoint, so that a start goes on with them. An index that is made again
// begins with those that the log still has.
type returns struct {
	of    map[record.Offset]uint32 // nil while there are none
	fresh []record.Offset          // counted since the last record of them
	most  int64                    // below 0 is no limit
	sweep int                      // settled ones are forgotten when there are as many
	// listed tells that the stream is in Shard.returned, changed that the store's
	// counts are old.
	listed, changed bool
}

// count is how often a message came back.
func (r *returns) count(o record.Offset) uint32 {
	if r == nil {
		return 0
	}
	return r.of[o]
}

// countReturns has the queue count from now on, or no more.
func (st *stream) countReturns(counted bool, most int64) {
	switch {
	case !counted:
		st.returns = nil
		return
	case st.returns == nil:
		st.returns = new(returns)
	}
	st.returns.most = most
}

// sweepReturns is from how many counts on those of settled messages are looked for.
const sweepReturns = 1024

// set has a message counted as one that came back so often at least.
func (r *returns) set(q *queue.Queue, o record.Offset, times uint32) {
	if r.of == nil {
		r.of = map[record.Offset]uint32{}
	}
	if len(r.of) >= max(r.sweep, sweepReturns) {
		r.forget(q)
		r.sweep = 2 * len(r.of)
	}
	r.of[o] = max(r.of[o], times)
	r.changed = true
}

// forget forgets the counts of settled messages.
func (r *returns) forget(q *queue.Queue) {
	for o := range r.of {
		if q.Settled(o) {
			delete(r.of, o)
		}
	}
}

// comesBack counts a message that is given back, and tells whether that is once
// too often. mu is held.
func (st *stream) comesBack(o record.Offset) (tooOften bool) {
	r := st.returns
	if r == nil || !st.queue.InFlight(o) {
		return false
	}
	n := r.count(o) + 1
	if r.most >= 0 && int64(n) > r.most {
		return true
	}
	r.set(st.queue, o, n)
	if st.durable {
		r.fresh = append(r.fresh, o)
		st.s.cameBack(st)
	}
	return false
}

// cameBack has the log told of the stream's counts with the next acks. mu is held.
func (s *Shard) cameBack(st *stream) {
	s.changedStream(st)
	if st.returns.listed {
		return
	}
	st.returns.listed = true
	s.returned = append(s.returned, st)
	s.kickAcks()
}

// gatherReturns appends a record for every stream to which messages came back. mu
// and amu are held.
func (s *Shard) gatherReturns() {
	for _, st := range s.returned {
		r := st.returns
		if r == nil { // not counted any more
			continue
		}
		r.listed = false
		slices.Sort(r.fresh)
		told := s.told[:0]
		for _, o := range slices.Compact(r.fresh) {
			if !st.queue.Settled(o) {
				told = append(told, record.Returned{Offset: o, Times: r.of[o]})
			}
		}
		r.fresh, s.told = r.fresh[:0], told
		if st.gone || len(told) == 0 {
			continue
		}
		s.open.Begin(record.KindReturns)
		s.open.Raw = record.AppendReturns(s.open.Raw, &record.Returns{Stream: st.id, Of: told})
		s.open.End()
		s.open.Sync = true
	}
	clear(s.returned)
	s.returned = s.returned[:0]
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
	if st := s.streams[r.Stream]; err == nil && st != nil && st.queue != nil && lsn >= st.since {
		s.restoreReturns(st, r.Of)
		s.changedStream(st)
	}
	return err
}

// restoreReturns counts what was counted before the start. How many are too many is
// said when the queue is configured, before anybody consumes it.
func (s *Shard) restoreReturns(st *stream, of []record.Returned) {
	if st.returns == nil {
		st.returns = &returns{most: -1}
	}
	for _, m := range of {
		if m.Offset < st.refs.End() && !st.queue.Settled(m.Offset) {
			st.returns.set(st.queue, m.Offset, m.Times)
		}
	}
}

// gatherReturnsOf writes the counts of a stream to the store. mu is held.
func (st *stream) gatherReturnsOf(value *[]byte) {
	r := st.returns
	if r == nil || !r.changed || !st.durable {
		return
	}
	r.changed = false
	r.forget(st.queue)
	all := record.Returns{Stream: st.id, Of: make([]record.Returned, 0, len(r.of))}
	for o, times := range r.of {
		all.Of = append(all.Of, record.Returned{Offset: o, Times: times})
	}
	slices.SortFunc(all.Of, func(a, b record.Returned) int { return cmp.Compare(a.Offset, b.Offset) })
	if len(all.Of) == 0 {
		st.s.pending.Delete(index.ReturnsKey(st.id))
		return
	}
	*value = record.AppendReturns((*value)[:0], &all)
	st.s.pending.Set(index.ReturnsKey(st.id), *value)
}

func (s *Shard) loadReturns(_, v []byte) error {
	var r record.Returns
	if err := record.DecodeReturns(v, &r); err != nil {
		return err
	}
	if st := s.streams[r.Stream]; st != nil && st.queue != nil {
		s.restoreReturns(st, r.Of)
	}
	return nil
}
