package shard

import (
	"container/heap"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// Backoff says when a message comes back that consumers failed on: after First, which
// doubles with each failure up to Most. With Limit failures it is given up, where the
// queue has dead letters; 0 is no limit.
type Backoff struct {
	First, Most time.Duration
	Limit       uint32
}

// after is how long a message stays away after its n-th failure.
func (b *Backoff) after(n uint32) time.Duration {
	d := b.First
	for ; n > 1 && d < b.Most; n-- {
		d *= 2
	}
	return min(d, b.Most)
}

// aside is a message that a consumer failed on. It is in flight and nobody has it, until
// its time comes. That is not in the log: after a start it comes at once, and failures
// are counted anew.
type aside struct {
	at     int64 // unix nanoseconds
	st     *stream
	offset record.Offset
}

// setAside is a min-heap by time. mu of the shard guards it.
type setAside []aside

func (h setAside) Len() int           { return len(h) }
func (h setAside) Less(i, j int) bool { return h[i].at < h[j].at }
func (h setAside) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *setAside) Push(x any) { *h = append(*h, x.(aside)) } //nolint:errcheck,forcetypeassert // only Fail pushes

// Pop implements [heap.Interface].
func (h *setAside) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = aside{}
	*h = old[:len(old)-1]
	return x
}

// returned is how often a message was given back or failed on before, where that is
// counted.
func (st *stream) returned(o record.Offset) uint32 {
	if st.returns != nil {
		return st.returns.count(o)
	}
	return st.failures.count(o)
}

// Fail says that the consumer failed on messages that it fetched: they come to whoever
// has room, after their time.
func (c *Consumer) Fail(offsets []record.Offset, b *Backoff) (n int) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	for _, o := range offsets {
		if c.fail(o, b) {
			n++
		}
	}
	c.s.armBack()
	if !c.st.self.gone {
		c.s.moved(c.st)
	}
	return n
}

// fail is Fail for one message. mu is held.
func (c *Consumer) fail(o record.Offset, b *Backoff) bool {
	st, in := c.st.at(o)
	switch {
	case !st.queue.InFlight(in):
		return false
	case c.s.endsLate(st, in):
		return c.buryHeld(o, Expired)
	}
	failed, tooOften := st.failed(in)
	if tooOften || b.Limit > 0 && failed >= b.Limit && st.buries() {
		return c.buryHeld(o, Returned)
	}
	if !c.st.queue.Suspend(c.c, o) {
		return false
	}
	at := c.s.clock.Now().Add(b.after(failed)).UnixNano()
	heap.Push(&c.s.setAside, aside{at, st, in})
	return true
}

// failed counts a failure, and tells whether it was one more than the queue allows. mu is
// held.
func (st *stream) failed(o record.Offset) (n uint32, tooOften bool) {
	if st.returns != nil {
		tooOften = st.comesBack(o)
		return st.returns.count(o), tooOften
	}
	if st.failures == nil {
		st.failures = new(returns)
	}
	n = st.failures.count(o) + 1
	st.failures.set(st.queue, o, n)
	return n, false
}

// comeBack gives back what was set aside until now.
func (s *Shard) comeBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now().UnixNano()
	for len(s.setAside) > 0 && s.setAside[0].at <= now {
		a := heap.Pop(&s.setAside).(aside) //nolint:errcheck,forcetypeassert // only Fail pushes
		if a.st.gone || !a.st.queue.InFlight(a.offset) {
			continue
		}
		if s.endsLate(a.st, a.offset) {
			s.bury(a.st, a.offset, Expired)
		} else {
			a.st.queue.Return(a.offset, true)
		}
		s.moved(a.st)
	}
	s.armBack()
}

// armBack sets the timer. mu is held.
func (s *Shard) armBack() {
	if len(s.setAside) > 0 {
		s.back.Reset(max(0, time.Duration(s.setAside[0].at-s.clock.Now().UnixNano())))
	}
}
