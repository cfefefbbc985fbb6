package sim_test

import (
	"fmt"

	"github.com/tidegate/tidegate/e2e/checker"
)

// choosePriorities gives a queue priorities, or has it count what comes back.
func (w *world) choosePriorities(q *queue) {
	q.rules.returns = -1
	switch w.rng.IntN(6) {
	case 0, 1:
		q.rules.highest = uint8(1 + w.rng.IntN(4))
		q.spec.Args["x-max-priority"] = int64(q.rules.highest)
	case 2:
		q.rules.counted, q.rules.returns = true, w.rng.IntN(3)
		q.spec.Args["x-queue-type"], q.spec.Args["x-delivery-limit"] = "quorum", int64(q.rules.returns)
	}
}

// priority is that of a message in a queue.
func (e *entry) priority() uint8 {
	if e.dest.rules == nil {
		return 0
	}
	return min(e.m.priority, e.dest.rules.highest)
}

// lane is within what order is promised.
func (e *entry) lane() string {
	if p := e.priority(); p > 0 {
		return fmt.Sprint(e.m.lane, " of priority ", p)
	}
	return e.m.lane
}

// first judges whether what was taken from a queue that nobody consumes has the highest
// priority there.
func (j *judge) first(e *entry) {
	for _, other := range e.dest.entries {
		if other != e && other.priority() > e.priority() && j.waits(other) {
			j.report(checker.Reordered, e.dest, e.m, "came before %d, which has a higher priority", other.m.id)
			return
		}
	}
}

// gaveBack notes that a client has given a delivery back. When that was too often, the
// queue gives it up.
func (j *judge) gaveBack(e *entry) {
	e.inflight = false
	r := e.dest.rules
	if r == nil || !r.counted {
		return
	}
	if e.returns == r.returns { // once more is too often, and not counted
		j.discarded(e)
		return
	}
	e.returns, e.least = e.returns+1, e.least+1
}
