package sim_test

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/e2e/checker"
)

// bounds are how much may wait in a queue; a negative one is none.
type bounds struct {
	messages, bytes int
	refuses         bool // what is too much, else the oldest go
}

// chooseLength bounds a queue, or not.
func (w *world) chooseLength(q *queue) {
	b := bounds{messages: -1, bytes: -1}
	switch w.rng.IntN(6) {
	case 0, 1:
		b.messages = w.rng.IntN(12)
		q.spec.Args["x-max-length"] = int64(b.messages)
	case 2:
		b.bytes = w.rng.IntN(3000)
		q.spec.Args["x-max-length-bytes"] = int64(b.bytes)
	default:
		return
	}
	switch w.rng.IntN(4) {
	case 0:
		q.spec.Args["x-overflow"], b.refuses = "reject-publish", true
	case 1:
		q.spec.Args["x-overflow"], b.refuses = "reject-publish-dlx", true
		q.rules.spills = len(q.rules.heirs) > 0
	}
	q.rules.bounds = &b
}

// exceeded tells whether that much is too much.
func (b *bounds) exceeded(messages, bytes int) bool {
	return b.messages >= 0 && messages > b.messages || b.bytes >= 0 && bytes > b.bytes
}

// mayWait tells whether a message may be waiting in its queue.
func (e *entry) mayWait() bool {
	return !e.acked && !e.final && !e.inflight && !e.m.refused && !e.refused && !e.discarded
}

// waits tells whether a message is waiting in its queue for sure, if nobody consumes.
func (j *judge) waits(e *entry) bool {
	return e.mayWait() && e.confirmed >= inSystem && !e.loose && !e.dies && !e.excused && !j.atEnd(e)
}

// overflow notes which messages a queue may have given up because it was too long, by
// all that may be waiting in it: the oldest, and of the lowest priority first.
func (j *judge) overflow(d *dest) {
	if d == nil || d.rules == nil || d.rules.bounds == nil || d.rules.bounds.refuses {
		return
	}
	var all []*entry
	for _, e := range d.entries {
		if e.mayWait() {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.priority(), b.priority()), cmp.Compare(a.m.place, b.m.place))
	})
	bytes := 0
	for i, e := range slices.Backward(all) {
		bytes += e.m.size
		e.dies = e.dies || d.rules.bounds.exceeded(len(all)-i, bytes)
	}
}

// overflows notes that for all queues.
func (w *world) overflows() {
	for _, q := range w.clients.queues {
		w.overflow(q.dest)
	}
}

// fits judges whether a queue was right to take a message, or to refuse it.
func (w *world) fits(e *entry, taken bool) {
	b, least, most := e.dest.rules.bounds, need{1, e.m.size}, need{1, e.m.size}
	for _, other := range e.dest.entries {
		if other != e && other.mayWait() {
			most.add(other)
		}
		if other != e && w.waits(other) && !other.seen && !w.consumed(e.dest) {
			least.add(other)
		}
	}
	switch {
	case taken && e.dest.rules.term == 0 && b.exceeded(least.messages, least.bytes):
		w.report(checker.Invented, e.dest, e.m, "taken as message %d, with %d bytes", least.messages, least.bytes)
	case !taken && !b.exceeded(most.messages, most.bytes):
		w.report(checker.Lost, e.dest, e.m, "refused as message %d, with %d bytes", most.messages, most.bytes)
	}
}

// need is how much room messages take.
type need struct{ messages, bytes int }

func (n *need) add(e *entry) {
	n.messages++
	n.bytes += e.m.size
}

// consumed tells whether a queue has consumers.
func (w *world) consumed(d *dest) bool {
	return slices.ContainsFunc(w.clients.queues, func(q *queue) bool { return q.dest == d && len(q.consumers) > 0 })
}

// refusing returns the place of a message in a queue that may refuse it; nil when there
// is none.
func (m *message) refusing() *entry {
	for _, e := range m.at {
		if r := e.dest.rules; r != nil && r.bounds != nil && r.bounds.refuses {
			return e
		}
	}
	return nil
}

// tooMuch notes that a queue has refused a message. It may have made a dead letter of it.
func (w *world) tooMuch(m *message) {
	e := m.refusing()
	if e == nil {
		w.complain("message %d is too much for no queue", m.id)
		return
	}
	w.fits(e, false)
	if !e.dest.rules.spills {
		m.refused = true
		return
	}
	e.refused, e.dies, e.loose = true, true, e.dest.rules.orphan
}

// unanswered notes that a publish has failed, and nobody knows how far it came. A queue
// may have refused it; of its dead letter, which its publisher writes into one shard after
// the other, each heir may have got one or not: nothing was confirmed.
func (m *message) unanswered() {
	if e := m.refusing(); e != nil && e.dest.rules.spills {
		e.unanswered, e.dies = true, true
	}
}

// measure judges how much waits in queues, when the engine is at rest.
func (w *world) measure() {
	for _, q := range w.clients.queues {
		if q.dest == nil || q.rules == nil || q.rules.bounds == nil || len(q.consumers) > 0 ||
			q.rules.term > 0 || q.rules.bounds.messages < 0 || q.rules.bounds.refuses && q.dest.attended {
			continue
		}
		st, err := w.CheckQueue(namespaceName, q.spec.Name, "")
		if w.failed("check "+q.spec.Name, err) {
			continue
		}
		if st.Ready > uint64(q.rules.bounds.messages) {
			w.complain("%s has %d messages, more than %d", q.spec.Name, st.Ready, q.rules.bounds.messages)
		}
	}
}
