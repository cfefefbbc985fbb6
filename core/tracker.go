package core

import (
	"sync"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// tracker tells how far a sequence of appends to several shards is committed.
// A nil tracker tracks nothing.
type tracker struct {
	shards  []*shard.Shard
	waiters []*shard.Waiter
	notify  func()

	mu sync.Mutex
	// pending are appends in their order; all with seq at most last are of
	// numbers already given out.
	pending []pendingAppend
	head    int
	last    uint64
	refused [][2]uint64 // numbers of refused publishes, first and last of each range
}

type pendingAppend struct {
	seq   uint64
	lsn   record.LSN
	shard uint32
}

func newTracker(shards []*shard.Shard, notify func()) *tracker {
	t := &tracker{shards: shards, notify: notify}
	for range shards {
		t.waiters = append(t.waiters, shard.NewWaiter(notify))
	}
	return t
}

// waiter is what the shard tells when it has committed an append.
func (t *tracker) waiter(shard uint32) *shard.Waiter {
	if t == nil {
		return nil
	}
	return t.waiters[shard]
}

// add notes an append that belongs to the number that next will return.
func (t *tracker) add(shard uint32, lsn record.LSN) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.head > 0 && len(t.pending) == cap(t.pending) {
		n := copy(t.pending, t.pending[t.head:])
		t.pending, t.head = t.pending[:n], 0
	}
	t.pending = append(t.pending, pendingAppend{t.last + 1, lsn, shard})
}

// next ends a number: everything added since the one before belongs to it. It
// notifies when nothing is left to wait for, since no commit will.
func (t *tracker) next() uint64 { return t.end(false) }

// refuse is next for a publish that some queue did not take.
func (t *tracker) refuse() uint64 { return t.end(true) }

func (t *tracker) end(refused bool) uint64 {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	t.last++
	if refused {
		t.noteRefused()
	}
	n, done := t.last, t.head == len(t.pending)
	if !done {
		p := &t.pending[len(t.pending)-1]
		done = t.shards[p.shard].Committed() >= p.lsn
	}
	t.mu.Unlock()
	if done {
		t.notify()
	}
	return n
}

// settled returns the number up to which everything is committed, and why what
// comes next never will be.
func (t *tracker) settled() (uint64, error) {
	if t == nil {
		return 0, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.head < len(t.pending) {
		p := &t.pending[t.head]
		s := t.shards[p.shard]
		if s.Committed() < p.lsn {
			return min(p.seq-1, t.last), s.Err()
		}
		t.head++
	}
	t.pending, t.head = t.pending[:0], 0
	return t.last, nil
}

// noteRefused adds the last number to the refused ones. mu is held.
func (t *tracker) noteRefused() {
	if n := len(t.refused); n > 0 && t.refused[n-1][1] == t.last-1 {
		t.refused[n-1][1] = t.last
		return
	}
	t.refused = append(t.refused, [2]uint64{t.last, t.last})
}

// takeRefused moves the ranges of refused numbers up to one to dst.
func (t *tracker) takeRefused(dst [][2]uint64, upTo uint64) [][2]uint64 {
	if t == nil {
		return dst
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for ; n < len(t.refused) && t.refused[n][0] <= upTo; n++ {
		r := &t.refused[n]
		dst = append(dst, [2]uint64{r[0], min(r[1], upTo)})
		if r[1] > upTo {
			r[0] = upTo + 1
			break
		}
	}
	t.refused = t.refused[:copy(t.refused, t.refused[n:])]
	return dst
}
