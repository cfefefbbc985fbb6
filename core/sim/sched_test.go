package sim_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/work"
)

// simClock is a clock that stands still until it is moved.
type simClock struct {
	now    time.Time
	timers []*simTimer // armed, in the order in which they fire
}

type simTimer struct {
	clock *simClock
	at    time.Time
	c     chan time.Time
}

// Now implements [clock.Clock].
func (c *simClock) Now() time.Time { return c.now }

// NewTimer implements [clock.Clock].
func (c *simClock) NewTimer(d time.Duration) *clock.Timer {
	t := &simTimer{clock: c, c: make(chan time.Time, 1)}
	t.Reset(d)
	return &clock.Timer{C: t.c, Control: t}
}

// Stop implements [clock.Control].
func (t *simTimer) Stop() bool {
	work.Took(t.c)
	i := slices.Index(t.clock.timers, t)
	if i >= 0 {
		t.clock.timers = slices.Delete(t.clock.timers, i, i+1)
	}
	return i >= 0
}

// Reset implements [clock.Control].
func (t *simTimer) Reset(d time.Duration) bool {
	was := t.Stop()
	t.at = t.clock.now.Add(max(d, 0))
	i, _ := slices.BinarySearchFunc(t.clock.timers, t, func(a, b *simTimer) int {
		if a.at.After(b.at) {
			return 1
		}
		return -1 // of the same time the earlier armed fires first
	})
	t.clock.timers = slices.Insert(t.clock.timers, i, t)
	return was
}

// advance moves the clock and fires what is due.
func (c *simClock) advance(d time.Duration) {
	c.now = c.now.Add(d)
	for len(c.timers) > 0 && !c.timers[0].at.After(c.now) {
		t := c.timers[0]
		c.timers = slices.Delete(c.timers, 0, 1)
		t.c <- c.now
	}
}

// sched runs loops and jobs in the goroutine of its caller, in an order that
// the seed decides.
type sched struct {
	rng   *rand.Rand
	tasks []*task
	stuck bool // something waited for what can't come
}

type task struct {
	serves  bool
	turn    func(wait bool) work.State
	done    chan struct{}
	running bool
}

var _ work.Runner = (*sched)(nil)

// Loop implements [work.Runner].
func (s *sched) Loop(l work.Loop) <-chan struct{} {
	t := &task{serves: l.Serves, turn: l.Turn, done: make(chan struct{})}
	s.tasks = append(s.tasks, t)
	return t.done
}

// Go implements [work.Runner].
func (s *sched) Go(_ string, job func()) <-chan struct{} {
	return s.Loop(work.Loop{Serves: true, Turn: func(bool) work.State {
		job()
		return work.Ended
	}})
}

// run gives a task a turn; false when it had nothing to do.
func (s *sched) run(t *task) bool {
	if t.running {
		return false
	}
	t.running = true
	state := t.turn(false)
	t.running = false
	if state == work.Ended {
		close(t.done)
		s.tasks = slices.DeleteFunc(s.tasks, func(x *task) bool { return x == t })
	}
	return state != work.Idle
}

// step gives one task a turn, of those that have something to do.
func (s *sched) step(all bool) bool {
	if len(s.tasks) == 0 {
		return false
	}
	tasks := slices.Clone(s.tasks)
	first := s.rng.IntN(len(tasks))
	for i := range tasks {
		if t := tasks[(first+i)%len(tasks)]; (all || t.serves) && s.run(t) {
			return true
		}
	}
	return false
}

// Wait implements [work.Runner]. Only what serves runs meanwhile, since the
// caller may hold locks that the rest takes, and time stands still: no part of
// the engine needs a timer to answer.
func (s *sched) Wait(ready, giveUp <-chan struct{}) error {
	for {
		if work.Took(ready) {
			return nil
		}
		if giveUp != nil && work.Took(giveUp) {
			return work.ErrGivenUp
		}
		i := slices.IndexFunc(s.tasks, func(t *task) bool { return t.done == ready })
		if i >= 0 && s.rng.IntN(2) == 0 && s.run(s.tasks[i]) || s.step(false) || i >= 0 && s.run(s.tasks[i]) {
			continue
		}
		s.stuck = true
		return work.ErrStuck
	}
}

// Park implements [work.Runner].
func (s *sched) Park(c *sync.Cond) error {
	c.L.Unlock()
	ran := s.step(false)
	c.L.Lock()
	if !ran {
		s.stuck = true
		return work.ErrStuck
	}
	return nil
}
