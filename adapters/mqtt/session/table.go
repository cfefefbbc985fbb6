package session

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/core"
)

// The table of [Inflight]: a slab of entries linked in order of sending, found
// by packet identifier. It gives its memory back when it becomes empty.

// allocate picks the next free packet identifier, round the clock, so that an
// identifier is used again as late as can be.
func (f *Inflight) allocate() uint16 {
	for {
		f.lastID++
		if _, used := f.index[f.lastID]; f.lastID != 0 && !used {
			return f.lastID
		}
	}
}

func (f *Inflight) insert(e entry) uint16 {
	if f.index == nil {
		f.index = make(map[uint16]int32)
	}
	i := f.free
	if i == none {
		f.entries = append(f.entries, entry{})
		i = int32(len(f.entries) - 1)
	} else {
		f.free = f.entries[i].next
	}
	e.prev, e.next = f.last, none
	f.entries[i] = e
	if f.last == none {
		f.first = i
	} else {
		f.entries[f.last].next = i
	}
	f.last = i
	if f.todo == none {
		f.todo = i
	}
	f.ahead++
	f.index[e.id] = i
	return e.id
}

func (f *Inflight) remove(i int32) core.Position {
	e := f.entries[i]
	if f.isAhead(i) {
		f.ahead--
	}
	if f.todo == i {
		f.todo = e.next
	}
	if e.counted {
		f.counted--
	}
	if e.prev == none {
		f.first = e.next
	} else {
		f.entries[e.prev].next = e.next
	}
	if e.next == none {
		f.last = e.prev
	} else {
		f.entries[e.next].prev = e.prev
	}
	delete(f.index, e.id)
	f.entries[i] = entry{next: f.free}
	f.free = i
	if len(f.index) == 0 && len(f.entries) > 64 {
		f.entries, f.index, f.free = nil, nil, none
	}
	return e.pos
}

// Saved is a QoS 2 message in flight as it is kept with the session.
type Saved struct {
	ID       uint16
	Seq      uint64
	Phase    Phase
	Position core.Position
}

// Saved returns what is to be kept of the message while its phase is phase.
func (f *Inflight) Saved(id uint16, phase Phase) Saved {
	i, ok := f.index[id]
	if !ok {
		return Saved{ID: id}
	}
	e := &f.entries[i]
	return Saved{ID: id, Seq: e.seq, Phase: phase, Position: e.pos}
}

// Restore rebuilds an empty table after a restart of the broker. A PUBLISH may
// have left before it, so it is sent again as a duplicate.
func (f *Inflight) Restore(saved []Saved) {
	saved = slices.SortedFunc(slices.Values(saved), func(a, b Saved) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, s := range saved {
		if _, used := f.index[s.ID]; used || s.ID == 0 {
			continue
		}
		f.seq = max(f.seq+1, s.Seq)
		f.insert(entry{pos: s.Position, qos: 2, phase: s.Phase, seq: f.seq, id: s.ID, sent: true})
		f.lastID = s.ID
	}
}
