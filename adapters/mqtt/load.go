package mqtt

import (
	"math"
	"time"
)

// What the loads are of.
const (
	loadReceived = iota
	loadSent
	loadConnects
	loadKinds
)

// loadNames are the topics of the loads, below $SYS/broker/load.
var loadNames = [loadKinds]string{
	loadReceived: "publish/received", loadSent: "publish/sent", loadConnects: "connections",
}

// loadWindows are the times that loads are averages of.
var loadWindows = [...]struct {
	name string
	over time.Duration
}{{"1min", time.Minute}, {"5min", 5 * time.Minute}, {"15min", 15 * time.Minute}}

// loads are how many of a kind come per minute: averages in which the past fades
// exponentially, as the load of a machine is told.
type loads struct {
	last  [loadKinds]uint64
	known bool // last is set
	rates [loadKinds][len(loadWindows)]float64
}

// add notes the counters after an interval. The first call begins the first interval.
func (l *loads) add(interval time.Duration, now [loadKinds]uint64) {
	for of := range now {
		if !l.known {
			break
		}
		perMinute := float64(now[of]-l.last[of]) * float64(time.Minute) / float64(interval)
		for i, window := range loadWindows {
			fades := math.Exp(-float64(interval) / float64(window.over))
			l.rates[of][i] = l.rates[of][i]*fades + perMinute*(1-fades)
		}
	}
	l.last, l.known = now, true
}
