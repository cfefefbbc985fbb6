package shard

import (
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// returns counts how often messages of a queue came back, of those that are not
// settled.
type returns struct {
	of    map[record.Offset]uint32 // nil while there are none
	most  int64                    // below 0 is no limit
	sweep int                      // settled ones are forgotten when there are as many
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

// back counts a message that comes back.
func (r *returns) back(q *queue.Queue, o record.Offset) uint32 {
	if r.of == nil {
		r.of = map[record.Offset]uint32{}
	}
	if len(r.of) >= max(r.sweep, sweepReturns) {
		for o := range r.of {
			if q.Settled(o) {
				delete(r.of, o)
			}
		}
		r.sweep = 2 * len(r.of)
	}
	r.of[o]++
	return r.of[o]
}

// comesBack counts a message that is given back, and tells whether that was once
// too often. mu is held.
func (st *stream) comesBack(o record.Offset) (tooOften bool) {
	if st.returns == nil || !st.queue.InFlight(o) {
		return false
	}
	n := st.returns.back(st.queue, o)
	return st.returns.most >= 0 && int64(n) > st.returns.most
}
