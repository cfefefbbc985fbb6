package queue

import "sync/atomic"

// Limit is a prefetch limit: how many unsettled deliveries the consumers that
// share it may hold. It is safe for concurrent use, since its consumers may
// belong to queues of different shards.
type Limit struct {
	max    atomic.Int64 // 0 is no limit, unless it is credit
	used   atomic.Int64
	credit bool
	missed atomic.Bool // somebody found no room; of credit alone
}

// NewLimit makes a limit of n deliveries; 0 is no limit.
func NewLimit(n uint32) *Limit {
	l := new(Limit)
	l.max.Store(int64(n))
	return l
}

// NewCredit makes a limit that is given bit by bit: of 0 there is no room, and it is 0
// until Set.
func NewCredit() *Limit { return &Limit{credit: true} }

// Used is how many deliveries the limit counts.
func (l *Limit) Used() int { return int(l.used.Load()) }

// Missed tells whether a consumer found no room since it was last asked: after Set the
// consumers that the credit counts may have to be kicked.
func (l *Limit) Missed() bool { return l.missed.Swap(false) }

// Set changes the limit. What is held already stays.
func (l *Limit) Set(n uint32) { l.max.Store(int64(n)) }

func (l *Limit) acquire() bool {
	for {
		used, limit := l.used.Load(), l.max.Load()
		if used >= limit && (limit > 0 || l.credit) {
			if l.credit {
				l.missed.Store(true) // before the limit is read again: who sets it asks behind that
			}
			if used = l.used.Load(); !l.credit || used >= l.max.Load() {
				return false
			}
			continue
		}
		if l.used.CompareAndSwap(used, used+1) {
			return true
		}
	}
}

func (l *Limit) release() { l.used.Add(-1) }

// acquireAll takes one from each limit, or from none.
func acquireAll(ls []*Limit) bool {
	for i, l := range ls {
		if !l.acquire() {
			for _, taken := range ls[:i] {
				taken.release()
			}
			return false
		}
	}
	return true
}

func releaseAll(ls []*Limit) {
	for _, l := range ls {
		l.release()
	}
}
