package sim_test

import (
	"errors"
	"time"

	"github.com/tidegate/tidegate/core"
)

// retry is how long after a failure the engine tries to delete a queue again.
const retry = time.Second

// chooseTerm has a queue end when nobody uses it, or not.
func (w *world) chooseTerm(q *queue) {
	switch w.rng.IntN(8) {
	case 0:
		q.rules.term = time.Duration(1+w.rng.IntN(2000)) * time.Millisecond
	case 1:
		q.rules.term = time.Duration(1+w.rng.IntN(90)) * time.Minute
	default:
		return
	}
	q.spec.Args["x-expires"] = q.rules.term.Milliseconds()
}

// lapse finds out whether a queue has ended since nobody uses it. To ask is a use.
func (w *world) lapse(q *queue) {
	if q.rules == nil || q.rules.term == 0 || q.dest == nil || len(q.consumers) > 0 {
		return
	}
	end := q.used.Add(q.rules.term)
	if w.clock.now.Before(end) && w.rng.IntN(10) > 0 {
		return
	}
	w.ask(q, end)
}

func (w *world) ask(q *queue, end time.Time) {
	_, err := w.CheckQueue(namespaceName, q.spec.Name, "")
	switch {
	case err == nil:
		if w.settledBy(end) {
			w.complain("queue %s was to end at %v", q.spec.Name, end)
		}
		q.used = w.clock.now
	case errors.Is(err, core.ErrNotFound) && !w.clock.now.Before(end):
		w.log("queue %s has ended", q.spec.Name)
		q.dest.loosen()
		q.dest = nil
	default:
		w.complain("queue %s, which ends at %v: %v", q.spec.Name, end, err)
	}
}

// settledBy tells whether the engine has rested since a time, and could delete queues.
func (w *world) settledBy(end time.Time) bool {
	rest := w.restedAt.Add(-retry)
	return !w.store.away && end.Before(rest) && w.outage.back.Before(rest)
}
