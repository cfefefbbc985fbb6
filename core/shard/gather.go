package shard

import (
	"fmt"
	"math"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// sliceLen is how many streams or cursors are gathered while mu is held: well
// below a millisecond of work.
const sliceLen = 512

// breathe lets others have mu, once a slice of a long work.
func (s *Shard) breathe(step int) {
	if step%s.slice == s.slice-1 {
		s.mu.Unlock()
		s.mu.Lock() // who has waited for a millisecond comes first
	}
}

// cool frees the memory of streams that have rested since the last spill. mu is
// held, but not all the time.
func (s *Shard) cool() {
	warm := s.warm
	s.warm = nil
	for i, st := range warm {
		s.breathe(i)
		st.warm = false
		if !st.changed {
			st.refs.Rest()
			st.coolSizes()
			if st.kept != nil {
				st.kept.forgetClean()
			}
		}
	}
}

// gather appends what has changed to the pending batch. What was dropped is
// left out: its record is in the log by the time that the spill is stored, and
// takes it out of the store when it is applied. mu is held, but not all the time.
func (s *Shard) gather(sp *spill) error {
	var value []byte
	changed := s.changed
	s.changed = nil
	for i, st := range changed {
		s.breathe(i)
		err := s.fetchForSpill(st)
		switch {
		case err != nil:
		case st.gone:
			st.changed = false
		case st.since > sp.applied: // its record is not committed: it may never have been
			s.changed = append(s.changed, st)
		default:
			st.changed = false
			sp.streams = append(sp.streams, st)
			err = s.gatherStream(st, &value)
		}
		if err != nil {
			return fmt.Errorf("spill stream %x: %w", uint64(st.id), err)
		}
	}
	s.gatherStaleReturns(sp, &value)
	// With those that have moved meanwhile: the store's cursors are nowhere below
	// the references that its streams still have.
	cursors := s.cursors
	s.cursors = nil
	for i, p := range cursors {
		s.breathe(i)
		if p.stream.since > sp.applied && !p.gone {
			s.cursors = append(s.cursors, p)
			continue
		}
		p.changed = false
		if p.gone || !p.durable {
			continue
		}
		sp.places = append(sp.places, p)
		c := index.Cursor{Marked: p.cur.Marked(), Floor: p.cur.Floor(), Ranges: p.cur.Ranges(math.MaxInt)}
		value = index.AppendCursor(value[:0], &c)
		s.pending.Set(index.CursorKey(p.stream.id, p.id), value)
	}
	return nil
}

// fetchForSpill reads the beginning of the first chunk that the stream spills,
// if only the store has it. mu is held, but not while the store is read.
func (s *Shard) fetchForSpill(st *stream) error {
	no, needs := st.refs.SpillNeeds()
	if !needs || st.gone {
		return nil
	}
	var lsns []record.LSN
	var err error
	s.unlocked(func() { lsns, err = st.readChunk(no, nil) })
	if st.gone || st.refs.Stored(no) == 0 {
		return nil
	}
	if err == nil && len(lsns) < st.refs.Stored(no) {
		err = fmt.Errorf("chunk %d has %d of %d references: %w", no, len(lsns), st.refs.Stored(no), record.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	st.refs.Install(no, lsns)
	return nil
}

func (s *Shard) gatherStream(st *stream, value *[]byte) error {
	key, own := index.TransientChunkKey, index.TransientKey(st.id)
	if st.durable {
		key, own = index.ChunkKey, index.StreamKey(st.id)
	}
	info := index.Stream{Stream: st.info, Since: st.since, Low: st.refs.Low(), End: st.refs.End()}
	*value = index.AppendStream((*value)[:0], &info)
	s.pending.Set(own, *value)
	if st.kept != nil {
		st.kept.gather(value)
	}
	st.gatherSizes(value)
	return st.refs.Spill(st, func(no uint64, lsns []record.LSN) {
		*value = index.AppendChunk((*value)[:0], lsns)
		s.pending.Set(key(st.id, no), *value)
	}, func(first, end uint64) {
		s.pending.DeleteRange(key(st.id, first), key(st.id, end))
		if st.returns != nil {
			s.pending.DeleteRange(index.ReturnsKey(st.id, first), index.ReturnsKey(st.id, end))
		}
		s.checkpoint.went = true
	})
}
