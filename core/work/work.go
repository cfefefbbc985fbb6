// Package work is the seam for what runs beside callers: the one place where
// the engine starts goroutines.
//
// A part of the engine that works on its own is a [Loop], and what runs once
// beside others is a job, see [Runner.Go]. [Goroutines] gives each a goroutine
// of its own. A simulator runs the same code in one goroutine, a turn at a time,
// in an order of its own choice. For that to work:
//
//   - A turn without wait never blocks but in Wait and Park of the runner.
//   - Who waits for another part of the engine waits through the runner, and
//     holds no lock that a loop that serves, or a job, takes.
//   - Times come from the clock, choices from the injected source of randomness,
//     and the order of a map or of a select decides nothing.
package work

import (
	"errors"
	"sync"
)

// What ends a wait without what was waited for.
var (
	// ErrGivenUp tells that the caller did not want to wait any longer.
	ErrGivenUp = errors.New("given up")
	// ErrStuck tells that nothing is left that could end the wait. Only a runner
	// that runs everything itself can tell.
	ErrStuck = errors.New("waits for ever")
)

// State is what a turn leaves.
type State uint8

// The states of a loop.
const (
	Idle   State = iota // there was nothing to do; only without wait
	Worked              // something was done
	Ended               // there will be no further turn
)

// Loop is a part of the engine that does one thing after the other.
type Loop struct {
	Name string
	// Serves tells that others wait for this loop while they hold locks of their
	// own. It waits for no loop itself, only for jobs and the disk.
	Serves bool
	// Turn does the next thing. With wait it blocks until there is one, without
	// it returns Idle.
	Turn func(wait bool) State
}

// Runner runs loops and jobs and waits for them. Whoever starts something waits
// for its end before it ends itself.
type Runner interface {
	// Loop runs a loop; done is closed after its last turn.
	Loop(l Loop) (done <-chan struct{})
	// Go runs a job; done is closed when it has returned.
	Go(name string, job func()) (done <-chan struct{})
	// Wait returns nil when something was received from ready, or ErrGivenUp when
	// giveUp, which may be nil, gave something first.
	Wait(ready, giveUp <-chan struct{}) error
	// Park is Wait of a condition: the caller holds its lock, and looks again
	// when it returns.
	Park(c *sync.Cond) error
}

// Goroutines runs each loop and each job in a goroutine of its own.
type Goroutines struct{}

var _ Runner = Goroutines{}

// Loop implements [Runner].
func (g Goroutines) Loop(l Loop) <-chan struct{} {
	return g.Go(l.Name, func() {
		for l.Turn(true) != Ended { //nolint:revive // the turn does it all
		}
	})
}

// Go implements [Runner].
func (Goroutines) Go(_ string, job func()) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		job()
	}()
	return done
}

// Wait implements [Runner].
func (Goroutines) Wait(ready, giveUp <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-giveUp:
		return ErrGivenUp
	}
}

// Park implements [Runner].
func (Goroutines) Park(c *sync.Cond) error {
	c.Wait()
	return nil
}
