package sim_test

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/e2e/checker"
)

// reading is what one reader got that read a whole stream queue.
type reading struct {
	q     *queue
	first core.Offset
	bytes int // of the bodies
	last  int // the message that was published last
	there map[*entry]core.Offset
	newer map[string][]*entry // what is there, by key
	least map[string]int      // the oldest message that is there, by lane
}

// judgeStream judges what a stream queue holds: nothing is there twice, invented,
// in another order or at another place than before, and what was confirmed is
// there, unless a rule of retention says why not.
func (w *world) judgeStream(q *queue, got []core.Delivery) {
	r := reading{
		q: q, last: -1, there: map[*entry]core.Offset{}, newer: map[string][]*entry{}, least: map[string]int{},
	}
	if len(got) > 0 {
		r.first = got[0].Position.Offset
	}
	last := map[string]int{}
	for i := range got {
		o := got[i].Position.Offset
		e := w.keptEntry(q, &got[i])
		if e == nil {
			return
		}
		switch before, known := q.kept.at[e]; {
		case i > 0 && o <= got[i-1].Position.Offset, i > 0 && !q.kept.compacted && o != got[i-1].Position.Offset+1:
			w.report(checker.Reordered, q.dest, e.m, "at %d, behind what is at %d", o, got[i-1].Position.Offset)
		case known && before != o:
			w.report(checker.Reordered, q.dest, e.m, "at %d, and was at %d", o, before)
		case last[e.m.lane] > e.m.id:
			w.report(checker.Reordered, q.dest, e.m, "came after %d", last[e.m.lane])
		}
		if _, twice := r.there[e]; twice {
			w.report(checker.Duplicated, q.dest, e.m, "it is there twice")
		}
		if _, known := r.least[e.m.lane]; !known {
			r.least[e.m.lane] = e.m.id
		}
		last[e.m.lane], r.last = e.m.id, max(r.last, e.m.id)
		r.there[e], q.kept.at[e] = o, o
		r.bytes += len(got[i].Message.Payload)
		r.newer[e.m.key] = append(r.newer[e.m.key], e)
	}
	w.judgeGone(&r)
}

// keptEntry finds what a reader got; nil when it should not have been.
func (w *world) keptEntry(q *queue, x *core.Delivery) *entry {
	text, _, _ := strings.Cut(string(x.Message.Payload), " ")
	id, err := strconv.Atoi(text)
	if err != nil || id < 0 || id >= len(w.messages) {
		w.complain("%s: a reader of %s got %.40q", checker.Invented, q.spec.Name, x.Message.Payload)
		return nil
	}
	e := w.messages[id].entry(q.dest)
	if e == nil || e.m.refused {
		w.report(checker.Invented, q.dest, w.messages[id], "not meant for it, or refused")
		return nil
	}
	return e
}

// judgeGone judges what is not there. What may be gone need not come to the
// group any more.
func (w *world) judgeGone(r *reading) {
	for _, e := range r.q.dest.entries {
		if _, there := r.there[e]; there || e.loose || e.confirmed == nothing || r.mayCome(e) {
			continue
		}
		if why := w.mayNotGo(r, e); why != "" {
			w.report(checker.Lost, r.q.dest, e.m, "not in the stream, which begins at %d with %d bytes: %s", r.first, r.bytes, why)
			continue
		}
		e.loose = true
	}
}

// mayCome tells that a message may not have reached the stream yet: its confirm came
// from memory alone, before the log had it. Nobody has got it then, nor what was
// published after it, since a stream is in the order of its shard's log.
func (r *reading) mayCome(e *entry) bool {
	_, known := r.q.kept.at[e]
	return e.confirmed == inMemory && !e.seen && !known && e.m.id > r.last
}

// mayNotGo says what speaks against a message having left a stream queue.
func (w *world) mayNotGo(r *reading, e *entry) string {
	k := r.q.kept
	at, known := k.at[e]
	if k.compacted {
		for _, other := range r.newer[e.m.key] {
			if (other.m.lane != e.m.lane || other.m.id > e.m.id) && (!known || r.there[other] > at) {
				return ""
			}
		}
		return "no later one of its key is there"
	}
	least, some := r.least[e.m.lane]
	switch {
	case known && at >= r.first && len(r.there) > 0:
		return "what was published before it is there"
	case some && least < e.m.id:
		return "what its publisher sent before is there"
	case k.bytes > 0 && r.bytes < k.bytes:
		return "what is left has too few bytes"
	case k.age > 0 && w.clock.now.Sub(e.m.sent) < k.age:
		return "it is young"
	case k.untilAcked && !e.settled:
		return "the group has not settled it"
	case k.bytes == 0 && k.age == 0 && !k.untilAcked:
		return "all is kept"
	}
	return ""
}

// undoCompaction notes that the index of a shard is lost. What was taken out of a
// compacted stream may be there again, since a rewrite of the log leaves out what
// says that it was; then the group gets what it had passed over, behind newer ones
// that it had got in an earlier life.
func (w *world) undoCompaction(shard uint32) {
	for _, q := range w.clients.streams {
		if !q.kept.compacted || q.dest == nil || q.dest.shard != shard {
			continue
		}
		for _, e := range q.dest.entries {
			e.passed = e.passed || !e.seen && e.m.id < q.dest.last[e.m.lane] && q.superseded(e)
		}
	}
}

// superseded tells whether a later message of its key was in the stream.
func (q *queue) superseded(e *entry) bool {
	return slices.ContainsFunc(q.dest.entries, func(other *entry) bool {
		_, known := q.kept.at[other]
		return other.m.key == e.m.key && other.m.place > e.m.place && (known || other.seen || other.confirmed > nothing)
	})
}
