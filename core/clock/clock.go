// Package clock is the seam for time: the broker asks a Clock, never the
// operating system, so that it can run in a simulator.
package clock

import "time"

// Clock tells the time and makes timers.
type Clock interface {
	// Now returns the present time with a monotonic reading where there is one.
	Now() time.Time
	// NewTimer makes a timer that fires once after d.
	NewTimer(d time.Duration) *time.Timer
}

// System is the clock of the operating system. Under testing/synctest it is
// the bubble's fake clock.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time                       { return time.Now() }
func (system) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }
