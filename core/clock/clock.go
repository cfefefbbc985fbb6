// Package clock is the seam for time: the broker asks a Clock, never the
// operating system, so that it can run in a simulator.
package clock

import "time"

// Clock tells the time and makes timers.
type Clock interface {
	// Now returns the present time with a monotonic reading where there is one.
	Now() time.Time
	// NewTimer makes a timer that fires once after d.
	NewTimer(d time.Duration) *Timer
}

// Timer is a [time.Timer] of any clock: it sends the time on C once it fires,
// and after Stop or Reset nothing that was sent before is received any more.
type Timer struct {
	C <-chan time.Time
	Control
}

// Control is what a clock does for a timer that it made, as [time.Timer] has it.
type Control interface {
	Stop() bool
	Reset(d time.Duration) bool
}

// System is the clock of the operating system. Under testing/synctest it is
// the bubble's fake clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now() }

func (system) NewTimer(d time.Duration) *Timer {
	t := time.NewTimer(d)
	return &Timer{C: t.C, Control: t}
}
