package schedule

import (
	"math"
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// LoadMost is how many entries are to be loaded at once at the most.
const LoadMost = 1 << 13

// bounds say how many entries are at hand.
type bounds struct {
	most int // at the most
	left int // are left when there are more
	few  int // below that more are wanted
}

// Entry is a held message: when it is due, unix milliseconds, and its record.
// Entries are ordered by the time and then by the record.
type Entry struct {
	Due int64
	LSN record.LSN
}

func (e Entry) before(f Entry) bool { return e.Due < f.Due || e.Due == f.Due && e.LSN < f.LSN }

// last is behind all entries.
var last = Entry{math.MaxInt64, math.MaxUint64}

// Queue is the held messages of a shard. An entry comes by Add when its record is
// applied. Who delivers it takes it, claims it when that is certain, and ends it when
// the record of that is applied; who gives it up claims it without taking it. Store
// and Stored tell the progress of the store, which has all entries but those that came
// since: so they stay in memory until then, and what has ended is remembered.
type Queue struct {
	near heap
	// horizon bounds near from above: what is there, or behind, is in fresh, or in
	// the store.
	horizon Entry
	beyond  bool // the store may have entries there
	bounds  bounds

	fresh   map[record.LSN]fresh // not in the store, or with another time there
	order   []record.LSN         // those of the present round, as they came
	taken   map[record.LSN]Entry
	claimed map[record.LSN]claim

	round  uint64 // of Store, the present one
	stored uint64 // rounds below it are in the store
	// leaving may be forgotten once their round is stored: of fresh and of claimed.
	leaving, ended []record.LSN
}

type fresh struct {
	due   int64
	round uint64
	again bool // the store has had it, with another time
}

// claim is of an entry that is not to be taken any more.
type claim struct {
	round uint64 // in which the store forgets the entry; 0 while that is not known
	near  bool   // near still has it
}

// NewQueue makes a queue that has nothing at hand before the first Load.
func NewQueue() *Queue {
	return &Queue{
		beyond: true, bounds: bounds{most: 1 << 16, left: 1 << 15, few: 1 << 13}, fresh: map[record.LSN]fresh{}, taken: map[record.LSN]Entry{},
		claimed: map[record.LSN]claim{}, round: 1, stored: 1,
	}
}

// Add notes an entry that is new, or due again. It tells whether that is the one that
// is due first.
func (q *Queue) Add(e Entry) (first bool) {
	return q.add(e, false)
}

// Again is Add for an entry that is due once more, at the time of e.
func (q *Queue) Again(e Entry) (first bool) {
	delete(q.taken, e.LSN)
	return q.add(e, true)
}

func (q *Queue) add(e Entry, again bool) (first bool) {
	if f, ok := q.fresh[e.LSN]; !ok || f.round != q.round {
		q.order = append(q.order, e.LSN)
	}
	q.fresh[e.LSN] = fresh{e.Due, q.round, again}
	return q.push(e)
}

// push puts an entry at hand if it is near enough.
func (q *Queue) push(e Entry) (first bool) {
	if !e.before(q.horizon) {
		return false
	}
	if c, ok := q.claimed[e.LSN]; ok {
		c.near = true
		q.claimed[e.LSN] = c
	}
	q.near.push(e)
	if len(q.near) > q.bounds.most {
		q.cut()
	}
	return len(q.near) > 0 && q.near[0] == e
}

// cut leaves what is due first.
func (q *Queue) cut() {
	slices.SortFunc(q.near, func(a, b Entry) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	for _, e := range q.near[q.bounds.left:] {
		q.left(e.LSN)
	}
	q.horizon, q.beyond = q.near[q.bounds.left], true
	q.near = slices.Clone(q.near[:q.bounds.left])
}

// left notes that an entry is not in near any more; it tells whether it was claimed.
func (q *Queue) left(lsn record.LSN) bool {
	c, ok := q.claimed[lsn]
	if !ok {
		return false
	}
	if c.near = false; c.round != 0 && c.round < q.stored {
		delete(q.claimed, lsn)
	} else {
		q.claimed[lsn] = c
	}
	return true
}

// Take appends to dst the entries that are due at a time, in their order, up to a
// number in all.
func (q *Queue) Take(dst []Entry, now int64, most int) []Entry {
	for len(dst) < most && len(q.near) > 0 && q.near[0].Due <= now {
		e := q.near.pop()
		if q.left(e.LSN) {
			continue
		}
		q.taken[e.LSN] = e
		dst = append(dst, e)
	}
	return dst
}

// Return puts back what was taken and could not be delivered.
func (q *Queue) Return(e Entry) {
	if _, ok := q.taken[e.LSN]; ok {
		delete(q.taken, e.LSN)
		q.push(e)
	}
}

// Next is the time at which the first of those at hand is due; false when there is
// none.
func (q *Queue) Next() (due int64, ok bool) {
	for len(q.near) > 0 {
		if _, claimed := q.claimed[q.near[0].LSN]; !claimed {
			return q.near[0].Due, true
		}
		q.left(q.near.pop().LSN)
	}
	return 0, false
}

// Claimed tells whether an entry was claimed, so that nobody else may.
func (q *Queue) Claimed(lsn record.LSN) bool {
	_, ok := q.claimed[lsn]
	return ok
}

// Claim makes an entry the caller's for good: it is not taken any more, nor claimed
// again. Its end is to follow.
func (q *Queue) Claim(e Entry) {
	_, taken := q.taken[e.LSN]
	delete(q.taken, e.LSN)
	q.claimed[e.LSN] = claim{near: !taken && e.before(q.horizon) && q.known(e.LSN)}
}

// known tells whether the entry has come: one whose record is not applied yet has not.
func (q *Queue) known(lsn record.LSN) bool {
	_, ok := q.fresh[lsn]
	return ok || q.near.has(lsn)
}

// Due is when an entry is due that the store has not got, or with another time.
func (q *Queue) Due(lsn record.LSN) (due int64, ok bool) {
	f, ok := q.fresh[lsn]
	return f.due, ok
}

// Fresh returns the records behind one that the store has not got.
func (q *Queue) Fresh(behind record.LSN) (lsns []record.LSN) {
	for lsn := range q.fresh {
		if lsn > behind {
			lsns = append(lsns, lsn)
		}
	}
	slices.Sort(lsns)
	return lsns
}

// End notes that an entry has ended. It tells whether the store has it, or will have
// it, and is to forget it.
func (q *Queue) End(lsn record.LSN) (stored bool) {
	f, isFresh := q.fresh[lsn]
	stored = !isFresh || f.round != q.round || f.again
	delete(q.fresh, lsn)
	c, claimed := q.claimed[lsn]
	_, taken := q.taken[lsn]
	delete(q.taken, lsn)
	if !claimed {
		c.near = !taken && q.near.has(lsn) // a replay
	}
	c.round = q.round
	if !stored && !c.near {
		delete(q.claimed, lsn)
		return stored
	}
	q.claimed[lsn] = c
	q.ended = append(q.ended, lsn)
	return stored
}

// Store calls fn for each entry that the store is to have, and begins a new round.
func (q *Queue) Store(fn func(Entry)) (round uint64) {
	for _, lsn := range q.order {
		if f, ok := q.fresh[lsn]; ok && f.round == q.round {
			fn(Entry{f.due, lsn})
		}
	}
	q.leaving, q.order = append(q.leaving, q.order...), q.order[:0]
	q.round++
	return q.round - 1
}

// Stored notes that the store has what was given to it in the rounds up to one. Forget
// is to follow.
func (q *Queue) Stored(round uint64) { q.stored = max(q.stored, round+1) }

// Forget lets some of what is stored go, up to a number, and tells whether there is
// more to let go. What stays a while longer does no harm.
func (q *Queue) Forget(most int) (more bool) {
	n := min(most, len(q.leaving))
	for _, lsn := range q.leaving[:n] {
		if f, ok := q.fresh[lsn]; ok && f.round < q.stored {
			delete(q.fresh, lsn)
		}
	}
	q.leaving = q.leaving[n:]
	i := 0
	for ; i < len(q.ended) && i < most; i++ {
		c, ok := q.claimed[q.ended[i]]
		if ok && c.round >= q.stored {
			break // those behind it have ended later
		}
		if ok && !c.near && c.round != 0 {
			delete(q.claimed, q.ended[i])
		}
	}
	q.ended = q.ended[i:]
	if len(q.leaving) == 0 {
		q.leaving = nil
	}
	return len(q.leaving) > 0 || i == most
}

// Round is the present round: the store gets what comes and ends now with it.
func (q *Queue) Round() uint64 { return q.round }

// Rounds is how many rounds are in the store: what is loaded is to be read between
// two calls that tell the same.
func (q *Queue) Rounds() uint64 { return q.stored }

// Wants tells whether entries are to be loaded, and from which on.
func (q *Queue) Wants() (from Entry, ok bool) {
	return q.horizon, q.beyond && len(q.near) < q.bounds.few
}

// Load takes entries that the store has, ascending from the one on that Wants told;
// more tells that there are others behind them.
func (q *Queue) Load(entries []Entry, more bool) {
	from, to := q.horizon, last
	if more {
		to = entries[len(entries)-1]
		to.LSN++
	}
	q.horizon, q.beyond = to, more
	for _, e := range entries {
		_, isFresh := q.fresh[e.LSN]
		_, taken := q.taken[e.LSN]
		_, claimed := q.claimed[e.LSN]
		if !isFresh && !taken && !claimed {
			q.push(e)
		}
	}
	for lsn, f := range q.fresh { // of any order: near has its own
		e := Entry{f.due, lsn}
		_, taken := q.taken[lsn]
		_, claimed := q.claimed[lsn]
		if !e.before(from) && e.before(to) && !taken && !claimed {
			q.push(e)
		}
	}
}
