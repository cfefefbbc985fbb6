package work

import (
	"time"

	"github.com/tidegate/tidegate/core/clock"
)

// Took tells whether there was something to receive.
func Took[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Every makes a loop that calls do one interval after it was made, and then one
// interval after do has returned, until stop is closed; then it calls last,
// which may be nil.
func Every(
	name string, c clock.Clock, interval time.Duration, stop <-chan struct{}, do func(now time.Time), last func(),
) Loop {
	timer := c.NewTimer(interval)
	end := func() State {
		timer.Stop()
		if last != nil {
			last()
		}
		return Ended
	}
	tick := func(now time.Time) State {
		do(now)
		timer.Reset(interval)
		return Worked
	}
	return Loop{Name: name, Turn: func(wait bool) State {
		if wait {
			select {
			case <-stop:
				return end()
			case now := <-timer.C:
				return tick(now)
			}
		}
		if Took(stop) {
			return end()
		}
		select {
		case now := <-timer.C:
			return tick(now)
		default:
			return Idle
		}
	}}
}
