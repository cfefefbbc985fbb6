package schedule_test

import (
	"cmp"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/schedule"
)

// model is a queue with a store beside it, and what must come of both.
type model struct {
	t        *rapid.T
	q        *schedule.Queue
	next     record.LSN
	now      int64
	held     map[record.LSN]int64 // that must come, and when
	claims   []schedule.Entry     // records that are on their way
	taken    []schedule.Entry
	store    map[record.LSN]int64
	deletes  []record.LSN // to leave the store with the next spill
	spilling map[record.LSN]int64
	leaving  []record.LSN
	round    uint64
}

func order(a, b schedule.Entry) int {
	return cmp.Or(cmp.Compare(a.Due, b.Due), cmp.Compare(a.LSN, b.LSN))
}

func (m *model) add() {
	m.next++
	e := schedule.Entry{Due: m.now + rapid.Int64Range(-5, 60).Draw(m.t, "in"), LSN: m.next}
	m.held[e.LSN] = e.Due
	m.q.Add(e)
}

// load does what the owner of a queue has to do when it wants entries.
func (m *model) load() {
	for {
		from, wants := m.q.Wants()
		if !wants {
			return
		}
		var found []schedule.Entry
		for lsn, due := range m.store {
			if e := (schedule.Entry{Due: due, LSN: lsn}); order(e, from) >= 0 {
				found = append(found, e)
			}
		}
		slices.SortFunc(found, order)
		n := min(len(found), rapid.IntRange(1, 8).Draw(m.t, "load"))
		m.q.Load(found[:n], n < len(found))
	}
}

func (m *model) take() {
	m.load()
	got := m.q.Take(nil, m.now, rapid.IntRange(1, 5).Draw(m.t, "most"))
	if _, ok := m.q.Next(); len(got) == 0 && !ok { // all at hand had been given up
		m.load()
		got = m.q.Take(nil, m.now, 1)
	}
	for i, e := range got {
		if e.Due > m.now {
			m.t.Fatalf("%v is taken at %d", e, m.now)
		}
		if due, ok := m.held[e.LSN]; !ok || due != e.Due {
			m.t.Fatalf("%v is taken, held is %d, %t", e, due, ok)
		}
		if i > 0 && order(got[i-1], e) >= 0 {
			m.t.Fatalf("%v comes behind %v", e, got[i-1])
		}
	}
	// Nothing that is due earlier is left, but for what was taken before.
	if len(got) > 0 {
		last := got[len(got)-1]
		for lsn, due := range m.held {
			e := schedule.Entry{Due: due, LSN: lsn}
			if order(e, last) < 0 && !slices.Contains(got, e) && !slices.Contains(m.taken, e) {
				m.t.Fatalf("%v is passed over for %v", e, last)
			}
		}
	}
	m.taken = append(m.taken, got...)
}

// settle delivers what was taken, puts it back, or has it due again.
func (m *model) settle() {
	for _, e := range m.taken {
		if m.q.Claimed(e.LSN) {
			continue // it was given up meanwhile
		}
		switch rapid.SampledFrom([]string{"deliver", "deliver", "return", "again"}).Draw(m.t, "settle") {
		case "deliver":
			m.claim(e)
		case "return":
			m.q.Return(e)
		case "again":
			next := schedule.Entry{Due: m.now + rapid.Int64Range(1, 30).Draw(m.t, "again"), LSN: e.LSN}
			m.held[e.LSN] = next.Due
			m.q.Again(next)
		}
	}
	m.taken = nil
}

func (m *model) claim(e schedule.Entry) {
	m.q.Claim(e)
	delete(m.held, e.LSN)
	m.claims = append(m.claims, e)
}

// cancel gives up any of the entries.
func (m *model) cancel() {
	lsns := slices.Sorted(maps.Keys(m.held))
	if len(lsns) == 0 {
		return
	}
	lsn := rapid.SampledFrom(lsns).Draw(m.t, "cancel")
	m.claim(schedule.Entry{Due: m.held[lsn], LSN: lsn})
}

// apply has the records of claims applied.
func (m *model) apply() {
	for _, e := range m.claims {
		if m.q.End(e.LSN) {
			m.deletes = append(m.deletes, e.LSN)
		}
	}
	m.claims = nil
}

// spill begins or ends a write to the store.
func (m *model) spill() {
	if m.spilling == nil {
		m.spilling, m.leaving, m.deletes = map[record.LSN]int64{}, m.deletes, nil
		m.round = m.q.Store(func(e schedule.Entry) { m.spilling[e.LSN] = e.Due })
		return
	}
	for _, lsn := range m.leaving {
		delete(m.store, lsn)
	}
	maps.Copy(m.store, m.spilling)
	m.spilling = nil
	m.q.Stored(m.round)
	for m.q.Forget(3) {
	}
}

// TestQueueAgainstModel drives a queue and a store, and asks that all that is held, and
// nothing else, is taken in order, and never early.
func TestQueueAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, now: 10, q: schedule.NewQueue(), held: map[record.LSN]int64{}, store: map[record.LSN]int64{}}
		most := rapid.IntRange(2, 12).Draw(t, "bound")
		m.q.SetBounds(most, max(1, most/2), max(1, most/4))
		steps := map[string]func(){
			"add": m.add, "more": m.add, "take": m.take, "settle": m.settle, "cancel": m.cancel, "apply": m.apply, "spill": m.spill,
			"time": func() { m.now += rapid.Int64Range(0, 10).Draw(t, "time") },
		}
		names := slices.Sorted(maps.Keys(steps))
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			steps[rapid.SampledFrom(names).Draw(t, "step")]()
		}
		for _, e := range m.taken {
			m.q.Return(e)
		}
		m.taken = nil
		m.now += 1000
		for len(m.held) > 0 {
			before := len(m.held)
			m.take()
			for _, e := range m.taken {
				m.claim(e)
			}
			m.taken = nil
			if len(m.held) == before {
				t.Fatalf("%d are held and never due: %v", before, m.held)
			}
		}
		m.apply()
		for range 4 {
			m.spill()
		}
		m.load()
		if due, ok := m.q.Next(); ok {
			t.Fatalf("something is due at %d when all has ended", due)
		}
		if len(m.store) > 0 {
			t.Fatalf("the store has %v when all has ended", m.store)
		}
		if n := m.q.InMemory(); n > 0 {
			t.Fatalf("%d are in memory when all has ended", n)
		}
	})
}

// TestQueueIsBounded holds a million entries.
func TestQueueIsBounded(t *testing.T) {
	q := schedule.NewQueue()
	q.Load(nil, false)
	store := 0
	for i := range 1_000_000 {
		q.Add(schedule.Entry{Due: int64(i*7919%1_000_000) + 1, LSN: record.LSN(i + 1)})
		if i%50_000 == 0 {
			round := q.Store(func(schedule.Entry) { store++ })
			q.Stored(round)
			for q.Forget(1000) {
			}
		}
		if n := q.InMemory(); n > 1<<17 {
			t.Fatalf("%d are in memory after %d", n, i+1)
		}
	}
}
