package shard

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// returns counts how often messages of a queue came back, of those that are not
// settled. The counts lie in chunks of neighbours, as references do: what a spill
// writes is the chunks that have changed.
type returns struct {
	chunks map[uint64]*returnedChunk // by number; nil while there are none
	ring   []uint64                  // their numbers, in the order in which they are looked at
	at     int                       // in ring, which is next
	// changed are chunks that the store has otherwise, and perhaps has no more.
	changed []uint64
	fresh   []record.Offset // counted since the last record of them
	most    int64           // below 0 is no limit
	// listed and stale tell that the stream is in Shard.returned and in
	// Shard.staleReturns.
	listed, stale bool
}

// returnedChunk has the counts of neighbours, by ascending offset.
type returnedChunk struct {
	of      []record.Returned
	changed bool // in returns.changed
}

func (c *returnedChunk) find(o record.Offset) (int, bool) {
	return slices.BinarySearchFunc(c.of, o, func(m record.Returned, o record.Offset) int { return cmp.Compare(m.Offset, o) })
}

// forget forgets the counts of settled messages.
func (c *returnedChunk) forget(q *queue.Queue) {
	c.of = slices.DeleteFunc(c.of, func(m record.Returned) bool { return q.Settled(m.Offset) })
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

// count is how often a message came back.
func (r *returns) count(o record.Offset) uint32 {
	if r == nil {
		return 0
	}
	if c := r.chunks[uint64(o)/index.ChunkLen]; c != nil {
		if i, ok := c.find(o); ok {
			return c.of[i].Times
		}
	}
	return 0
}

// set has a message counted as one that came back so often at least.
func (r *returns) set(q *queue.Queue, o record.Offset, times uint32) {
	no := uint64(o) / index.ChunkLen
	c := r.chunks[no]
	if c == nil {
		r.look(q) // faster than chunks come
		r.look(q)
		c = new(returnedChunk)
		r.put(no, c)
	}
	if i, ok := c.find(o); ok {
		c.of[i].Times = max(c.of[i].Times, times)
	} else {
		c.of = slices.Insert(c.of, i, record.Returned{Offset: o, Times: times})
	}
	r.differs(no, c)
}

func (r *returns) put(no uint64, c *returnedChunk) {
	if r.chunks == nil {
		r.chunks = map[uint64]*returnedChunk{}
	}
	r.chunks[no] = c
	r.ring = append(r.ring, no)
}

func (r *returns) differs(no uint64, c *returnedChunk) {
	if !c.changed {
		c.changed = true
		r.changed = append(r.changed, no)
	}
}

// look forgets what is settled of the next chunk.
func (r *returns) look(q *queue.Queue) {
	if len(r.ring) == 0 {
		return
	}
	r.at %= len(r.ring)
	no := r.ring[r.at]
	c := r.chunks[no]
	if c.forget(q); len(c.of) > 0 {
		r.at++
		return
	}
	r.differs(no, c)
	delete(r.chunks, no)
	last := len(r.ring) - 1
	r.ring[r.at], r.ring = r.ring[last], r.ring[:last]
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
