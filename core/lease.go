package core

import (
	"container/heap"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/work"
)

// leaseRetry is when a queue that could not be deleted is tried again.
const leaseRetry = time.Second

// lease is how long a queue with x-expires stays without being used: it ends that
// long after the last declare, check or get, and after the last consumer has
// left. A start of the broker renews it.
type lease struct {
	ns   *namespace
	q    *declared
	term time.Duration

	// The mu of leases guards these:
	used time.Time // at the latest
	look time.Time // when to look at the queue
	at   int       // in the heap, -1 when it is not there
}

// leases are those of all queues that have one. Its mu may be taken with that of
// a namespace held, never the reverse.
type leases struct {
	clock clock.Clock
	kick  chan struct{} // capacity 1; full means that the loop will look anyway

	mu   sync.Mutex
	heap leaseHeap
}

// leaseHeap is a min-heap by look.
type leaseHeap []*lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].look.Before(h[j].look) }

func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements [heap.Interface].
func (h *leaseHeap) Push(x any) {
	l := x.(*lease) //nolint:errcheck,forcetypeassert // only leases are pushed
	l.at = len(*h)
	*h = append(*h, l)
}

// Pop implements [heap.Interface].
func (h *leaseHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	l.at = -1
	return l
}

func newLeases(c clock.Clock) *leases { return &leases{clock: c, kick: make(chan struct{}, 1)} }

// set gives a queue a lease of the term, which begins now, in the place of the one
// that it has; 0 for none.
func (ls *leases) set(ns *namespace, q *declared, term time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if old := q.lease.Load(); old != nil && old.at >= 0 {
		heap.Remove(&ls.heap, old.at)
	}
	if term == 0 {
		q.lease.Store(nil)
		return
	}
	l := &lease{ns: ns, q: q, term: term, at: -1, used: ls.clock.Now()}
	q.lease.Store(l)
	ls.push(l, l.used.Add(term))
}

// push has the loop look at the queue. mu is held.
func (ls *leases) push(l *lease, look time.Time) {
	l.look = look
	heap.Push(&ls.heap, l)
	select {
	case ls.kick <- struct{}{}:
	default:
	}
}

// renew begins the lease again. A queue without one stays for ever.
func (ls *leases) renew(q *declared) {
	l := q.lease.Load()
	if l == nil {
		return
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l.used = ls.clock.Now()
}

// drop forgets the lease of a queue that is deleted.
func (ls *leases) drop(q *declared) {
	if q.lease.Load() != nil {
		ls.set(nil, q, 0)
	}
}

// due takes the queues to look at, and tells when the next one is to be.
func (ls *leases) due(now time.Time) (list []*lease, next time.Duration, some bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for len(ls.heap) > 0 {
		if l := ls.heap[0]; l.look.After(now) {
			return list, l.look.Sub(now), true
		}
		list = append(list, heap.Pop(&ls.heap).(*lease)) //nolint:errcheck,forcetypeassert // only leases are pushed
	}
	return list, 0, false
}

// ended tells whether nobody has used the queue for its term; else the loop looks
// again later.
func (ls *leases) ended(l *lease, now time.Time, consumers int) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.q.lease.Load() != l {
		return false // it has another one by now
	}
	if consumers > 0 {
		l.used = now
	}
	if until := l.used.Add(l.term); until.After(now) {
		ls.push(l, until)
		return false
	}
	return true
}

// again has the loop look soon at a queue that could not be deleted.
func (ls *leases) again(l *lease, now time.Time) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l.q.lease.Load() == l {
		ls.push(l, now.Add(leaseRetry))
	}
}

// endLeases deletes queues that nobody uses.
func (b *Broker) endLeases(ctx context.Context) work.Loop {
	timer := b.deps.Clock.NewTimer(time.Hour)
	look := func() work.State {
		now := b.deps.Clock.Now()
		list, next, some := b.leases.due(now)
		for _, l := range list {
			b.endLease(ctx, l, now)
		}
		if timer.Stop(); some {
			timer.Reset(next)
		}
		return work.Worked
	}
	ended := func() work.State {
		timer.Stop()
		return work.Ended
	}
	return work.Loop{Name: "leases", Turn: func(wait bool) work.State {
		if wait {
			select {
			case <-ctx.Done():
				return ended()
			case <-timer.C:
			case <-b.leases.kick:
			}
			return look()
		}
		switch {
		case work.Took(ctx.Done()):
			return ended()
		case work.Took(timer.C), work.Took(b.leases.kick):
			return look()
		}
		return work.Idle
	}}
}

// endLease deletes the queue if nobody has used it for its term.
func (b *Broker) endLease(ctx context.Context, l *lease, now time.Time) {
	l.ns.mu.RLock()
	deleted := l.q.deleted
	l.ns.mu.RUnlock()
	st, err := b.shards[l.q.shard].QueueStats(l.q.stream)
	if deleted || err != nil || !b.leases.ended(l, now, st.Consumers) {
		return
	}
	if err := b.deleteQueue(ctx, l.ns, l.q); err != nil {
		b.deps.Log.Warn("unused queue not deleted, will be tried again", slog.String("namespace", l.ns.name),
			slog.String("queue", l.q.spec.Name), slog.Any("error", err))
		b.leases.again(l, now)
	}
}
