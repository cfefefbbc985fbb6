package shard

import (
	"iter"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// place is a cursor in its stream, and what the shard keeps of it.
type place struct {
	stream      *stream
	id          uint64
	cur         *queue.Cursor
	reader      *Reader // nil while no connection has the session
	durable     bool
	dirty       bool // in Shard.dirty
	unpublished bool // in Shard.unpublished
	marking     bool // a delivery mark is on its way through the log
	changed     bool // in Shard.cursors
	gone        bool
}

// newPlace makes a place and its cursor as one piece of memory.
func newPlace(st *stream, id uint64, durable bool, cur queue.Cursor) *place {
	both := &struct {
		place
		cursor queue.Cursor
	}{cursor: cur}
	both.place = place{stream: st, id: id, cur: &both.cursor, durable: durable}
	return &both.place
}

// places are the cursors of a filter's stream by session. Most filters have one
// subscriber, and a map would cost more than all else of a stream.
type places struct {
	one *place
	all map[uint64]*place // nil while there is at most one
}

func (ps *places) len() int {
	if ps.all != nil {
		return len(ps.all)
	}
	if ps.one != nil {
		return 1
	}
	return 0
}

func (ps *places) get(id uint64) *place {
	if ps.all != nil {
		return ps.all[id]
	}
	if ps.one != nil && ps.one.id == id {
		return ps.one
	}
	return nil
}

func (ps *places) put(p *place) {
	switch {
	case ps.all != nil:
		ps.all[p.id] = p
	case ps.one == nil || ps.one.id == p.id:
		ps.one = p
	default:
		ps.all = map[uint64]*place{ps.one.id: ps.one, p.id: p}
		ps.one = nil
	}
}

func (ps *places) drop(id uint64) {
	if ps.one != nil && ps.one.id == id {
		ps.one = nil
	}
	delete(ps.all, id)
}

func (ps *places) each() iter.Seq[*place] {
	return func(yield func(*place) bool) {
		if ps.one != nil && !yield(ps.one) {
			return
		}
		for _, p := range ps.all {
			if !yield(p) {
				return
			}
		}
	}
}

// everyPlace ranges over all cursors of the stream, whatever it is.
func (st *stream) everyPlace() iter.Seq[*place] {
	if st.self == nil {
		return st.places.each()
	}
	return func(yield func(*place) bool) { yield(st.self) }
}

// limit is the offset at which deliveries wait for a mark in the log.
func (p *place) limit() record.Offset {
	if !p.durable {
		return noLimit
	}
	return p.cur.Marked()
}
