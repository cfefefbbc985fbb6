package queue

import "sync/atomic"

// Limit is a prefetch limit: how many unsettled deliveries the consumers that
// share it may hold. It is safe for concurrent use, since its consumers may
// belong to queues of different shards.
type Limit struct {
	max  atomic.Int64 // 0 is no limit
	used atomic.Int64
}

// NewLimit makes a limit of n deliveries; 0 is no limit.
func NewLimit(n uint32) *Limit {
	l := new(Limit)
	l.max.Store(int64(n))
	return l
}

// Set changes the limit. What is held already stays.
func (l *Limit) Set(n uint32) { l.max.Store(int64(n)) }

func (l *Limit) acquire() bool {
	for {
		used, limit := l.used.Load(), l.max.Load()
		if limit > 0 && used >= limit {
			return false
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
