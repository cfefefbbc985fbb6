package mqtt

import (
	"math"
	"testing"
	"time"
)

// TestLoads has ten a second for a quarter of an hour, and then none.
func TestLoads(t *testing.T) {
	var l loads
	n := uint64(1000) // from before the first interval
	step := func(times int, more uint64) {
		for range times {
			n += more
			l.add(10*time.Second, [loadKinds]uint64{loadSent: n})
		}
	}
	step(1, 0)
	if l.rates[loadSent] != [3]float64{} {
		t.Errorf("before the first interval: got %v, want 0", l.rates[loadSent])
	}
	step(90, 100)
	near := func(when string, want ...float64) {
		t.Helper()
		for i, rate := range l.rates[loadSent] {
			if math.Abs(rate-want[i]) > 0.01*600 {
				t.Errorf("%s: load over %s is %.2f, want %.2f", when, loadWindows[i].name, rate, want[i])
			}
		}
	}
	e := math.E
	near("after 15 minutes", 600, 600*(1-math.Pow(e, -3)), 600*(1-1/e))
	step(6, 0)
	near("a minute later", 600/e, 600*(1-math.Pow(e, -3))*math.Pow(e, -0.2), 600*(1-1/e)*math.Pow(e, -1./15))
	if l.rates[loadReceived] != [3]float64{} {
		t.Errorf("received: got %v, want 0", l.rates[loadReceived])
	}
}
