package sim_test

import (
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/e2e/checker"
)

// ahead is how far ahead of the clock the engine knows deadlines at the least.
const ahead = time.Minute

// chooseLife gives the messages of a queue a time to live, or none.
func (w *world) chooseLife(q *queue) {
	switch w.rng.IntN(4) {
	case 0:
		q.rules.ttl = time.Duration(50+w.rng.IntN(3000)) * time.Millisecond
	case 1:
		q.rules.ttl = time.Duration(1+w.rng.IntN(90)) * time.Minute
	default:
		return
	}
	q.spec.Args["x-message-ttl"] = q.rules.ttl.Milliseconds()
}

// chooseEnd gives a message a time to live of its own, or none.
func (w *world) chooseEnd(x *core.Message) {
	switch w.rng.IntN(20) {
	case 0:
		x.ExpireAt = w.clock.now.Add(time.Duration(1+w.rng.IntN(3000)) * time.Millisecond).UnixMilli()
	case 1:
		x.ExpireAt = w.clock.now.Add(time.Duration(1+w.rng.IntN(180)) * time.Minute).UnixMilli()
	}
}

// limitLife notes when a message that is published now ends in its queues.
func (w *world) limitLife(m *message, expireAt int64) {
	for _, e := range m.at {
		if e.dest.stream {
			continue
		}
		if expireAt != 0 {
			e.own = time.UnixMilli(expireAt)
			e.ends = e.own
		}
		if r := e.dest.rules; r != nil && r.ttl > 0 {
			if ends := w.clock.now.Add(r.ttl); e.ends.IsZero() || ends.Before(e.ends) {
				e.ends = ends
			}
		}
	}
}

// atEnd tells whether the end of a message has come.
func (j *judge) atEnd(e *entry) bool { return !e.ends.IsZero() && !j.now().Before(e.ends) }

// overdue reports a delivery after the end of a message. When the clock has jumped,
// the end that the queue gave it may be known a moment later. What was over when it was
// published may go to a consumer that has room, and so may what was stored less than a
// second after its end: it is that consumer's then, which may take it whenever it likes.
func (j *judge) overdue(e *entry, stored time.Time) {
	if !e.seen && !e.dest.since.IsZero() && !stored.Before(e.dest.since) &&
		!stored.Before(e.ends) && stored.Sub(e.ends) < time.Second {
		return
	}
	if e.m.sent.Before(e.ends) && j.atEnd(e) && (!j.jumped || !e.own.IsZero() && !j.now().Before(e.own)) {
		j.report(checker.Invented, e.dest, e.m, "delivered at %v, and its end was at %v",
			j.now().Format(time.TimeOnly), e.ends.Format(time.TimeOnly))
	}
}
