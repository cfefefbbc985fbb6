package core

import (
	"container/heap"
	"context"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/core/work"
)

// expiryTick is how often sessions that have expired are looked for.
const expiryTick = time.Second

type expiry struct {
	at      time.Time
	session *session
}

// expiryHeap is a min-heap by time, with at most one entry per session: when it
// comes up too early, since the session was back meanwhile, it is put in again.
type expiryHeap []expiry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push implements [heap.Interface].
func (h *expiryHeap) Push(x any) { *h = append(*h, x.(expiry)) } //nolint:errcheck,forcetypeassert // only expireAt pushes

// Pop implements [heap.Interface].
func (h *expiryHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	old[len(old)-1] = expiry{}
	*h = old[:len(old)-1]
	return x
}

func (t *sessions) expireAt(s *session, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !s.queued {
		s.queued = true
		heap.Push(&t.expired, expiry{at, s})
		return
	}
	for i := range t.expired { // only an earlier time matters now
		if t.expired[i].session == s && at.Before(t.expired[i].at) {
			t.expired[i].at = at
			heap.Fix(&t.expired, i)
			return
		}
	}
}

// due takes the sessions whose time has come.
func (t *sessions) due(now time.Time) (out []*session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.expired) > 0 && !t.expired[0].at.After(now) {
		s := heap.Pop(&t.expired).(expiry).session //nolint:errcheck,forcetypeassert // only expireAt pushes
		s.queued = false
		out = append(out, s)
	}
	return out
}

// expireSessions ends sessions whose time without a connection is over.
func (b *Broker) expireSessions(ctx context.Context) work.Loop {
	return work.Every("expiry", b.deps.Clock, expiryTick, ctx.Done(), func(now time.Time) {
		for _, s := range b.sessions.due(now) {
			if err := s.expire(ctx, now); err != nil {
				b.deps.Log.Warn("expired session not removed", slog.Any("error", err))
			}
		}
	}, nil)
}

// expire ends the session if it is still without a connection and due.
func (s *session) expire(ctx context.Context, now time.Time) error {
	s.op.Lock()
	defer s.op.Unlock()
	s.mu.Lock()
	later, ended := s.deadline, s.ended
	s.mu.Unlock()
	due := !later.IsZero() && !later.After(now) && !ended
	if !due && !later.IsZero() && !ended {
		s.b.sessions.expireAt(s, later)
	}
	if !due || s.live.Load() != nil {
		return nil
	}
	return s.end(ctx)
}
