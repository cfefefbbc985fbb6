package core

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/tidegate/tidegate/core/work"
)

// expiryTick is how often sessions that have expired are looked for.
const expiryTick = time.Second

// ending is when a session without a connection ends.
type ending struct {
	at   int64  // unix milliseconds
	id   uint64 // of the session
	home uint32
	s    *session // nil while the session rests
}

// never is when a session ends that stays for good.
const never = math.MaxInt64

// endings are when sessions without a connection end: those that have an end, and all
// that rest. It is a min-heap by time that knows the place of each session.
type endings struct {
	heap    []ending
	place   map[uint64]int32
	resting int // how many of them rest
}

// set puts a session in, or changes its time.
func (e *endings) set(x ending) {
	i, known := e.place[x.id]
	if !known {
		i = int32(len(e.heap))
		e.heap = append(e.heap, x)
		e.place[x.id] = i
		e.count(&x, 1)
		e.up(int(i))
		return
	}
	e.count(&e.heap[i], -1)
	e.count(&x, 1)
	e.heap[i] = x
	e.down(e.up(int(i)))
}

func (e *endings) count(x *ending, n int) {
	if x.s == nil {
		e.resting += n
	}
}

// get returns the entry of a session; false when it has none.
func (e *endings) get(id uint64) (ending, bool) {
	i, known := e.place[id]
	if !known {
		return ending{}, false
	}
	return e.heap[i], true
}

// drop takes a session out.
func (e *endings) drop(id uint64) {
	i, known := e.place[id]
	if !known {
		return
	}
	e.count(&e.heap[i], -1)
	last := len(e.heap) - 1
	e.swap(int(i), last)
	e.heap[last] = ending{}
	e.heap = e.heap[:last]
	delete(e.place, id)
	if int(i) < last {
		e.down(e.up(int(i)))
	}
}

func (e *endings) swap(i, j int) {
	e.heap[i], e.heap[j] = e.heap[j], e.heap[i]
	e.place[e.heap[i].id], e.place[e.heap[j].id] = int32(i), int32(j)
}

func (e *endings) up(i int) int {
	for i > 0 && e.heap[i].at < e.heap[(i-1)/2].at {
		e.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
	return i
}

func (e *endings) down(i int) {
	for {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(e.heap); c++ {
			if e.heap[c].at < e.heap[least].at {
				least = c
			}
		}
		if least == i {
			return
		}
		e.swap(i, least)
		i = least
	}
}

// expireAt notes when the session ends unless a connection has it then.
func (t *sessions) expireAt(s *session, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ends.set(ending{at: at.UnixMilli(), id: s.id, home: s.home, s: s})
}

// due returns the sessions whose time has come. They are asked for again a while later
// unless they have ended then.
func (t *sessions) due(now time.Time) (out []ending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.ends.heap) > 0 && t.ends.heap[0].at <= now.UnixMilli() {
		x := t.ends.heap[0]
		out = append(out, x)
		x.at = now.Add(expiryTick).UnixMilli()
		t.ends.set(x)
	}
	return out
}

// stays takes out when a session ends, since it does not.
func (t *sessions) stays(s *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if x, ok := t.ends.get(s.id); ok && x.s == s {
		t.ends.drop(s.id)
	}
}

// expireSessions ends sessions whose time without a connection is over, and has those
// rest that nothing happens to.
func (b *Broker) expireSessions(ctx context.Context) work.Loop {
	return work.Every("expiry", b.deps.Clock, expiryTick, ctx.Done(), func(now time.Time) {
		for _, x := range b.sessions.due(now) {
			if err := b.expire(ctx, x, now); err != nil {
				b.deps.Log.Warn("expired session not removed", slog.Any("error", err))
			}
		}
		b.restSessions()
	}, nil)
}

// expire ends a session that is due, if it is still there.
func (b *Broker) expire(ctx context.Context, x ending, now time.Time) error {
	s := x.s
	if s == nil {
		var err error
		if s, err = b.wakeNumber(ctx, x); s == nil || err != nil {
			return err
		}
	}
	return s.expire(ctx, now)
}

// expire ends the session if it is still without a connection and due.
func (s *session) expire(ctx context.Context, now time.Time) error {
	s.op.Lock()
	defer s.op.Unlock()
	s.mu.Lock()
	deadline, ended := s.deadline, s.ended
	s.mu.Unlock()
	switch {
	case ended:
		return nil
	case s.live.Load() != nil || deadline.IsZero():
		s.b.sessions.stays(s)
		return nil
	case deadline.After(now):
		s.b.sessions.expireAt(s, deadline)
		return nil
	}
	return s.end(ctx)
}
