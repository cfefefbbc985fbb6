package shard

import (
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// Offsets are counted when the log is replayed. Behind a place of which the log
// does not tell how many messages were there, those that follow may get lower
// offsets than they once had, and acks from before would settle others. What is
// counted there is unsure: neither an ack of the log nor a published offset
// settles it, and it is delivered once more rather than not at all.
//
// All records that hold offsets go by that, see sureBelow: acks and truncations say
// what is settled or gone, a group begins or is sought at an offset, compaction goes
// as far as one, and a tombstone that is forgotten is known by its own. Delivery marks
// need not: behind a loss they cover more than they did, which is marked as
// redelivered for nothing. ENDS and the places in rewritten segments tell offsets by
// the record that they are of.
//
// Such a count stands from then on. So acks and published offsets up to the record
// at which the log ended then are of another count than what comes later, see
// Shard.recounted.

// applyLoss passes a place in the log at which records were lost and given up. mu
// is held.
func (s *Shard) applyLoss(body []byte, lsn record.LSN) error {
	l, err := record.DecodeLoss(body)
	if err != nil || !s.recovering {
		return err
	}
	s.logger.Warn("records were lost and given up; messages behind them may be delivered again",
		slog.Uint64("first_lsn", uint64(lsn)), slog.Uint64("last_lsn", uint64(l.End)-1))
	s.strays.lost = true
	s.doubtOffsets()
	return nil
}

// doubtOffsets makes all that is counted from here on unsure, of every stream.
func (s *Shard) doubtOffsets() {
	s.strays.sure = 0
	if s.unsure == nil {
		s.unsure = map[record.StreamID][]record.Range{}
	}
	for id, st := range s.streams {
		if !s.doubts(id) {
			s.unsure[id] = append(s.unsure[id], record.Range{First: st.refs.End(), End: noLimit})
		}
	}
}

// doubts tells whether the next offset of the stream is unsure.
func (s *Shard) doubts(id record.StreamID) bool {
	all := s.unsure[id]
	return len(all) > 0 && all[len(all)-1].End == noLimit
}

// trustOffsets makes what the stream has from the offset on sure.
func (s *Shard) trustOffsets(id record.StreamID, from record.Offset) {
	if !s.doubts(id) {
		return
	}
	all := s.unsure[id]
	if last := &all[len(all)-1]; last.First < from {
		last.End = from
	} else {
		s.unsure[id] = all[:len(all)-1]
	}
}

// counted notes that the stream is about to get a reference. mu is held.
func (s *Shard) counted(st *stream) {
	if s.unsure != nil && s.doubts(st.id) {
		s.recount = true
	}
}

// endDoubt ends the doubt of a start, and tells whether it has counted offsets that
// it was not sure of, or will. Then a record that says nothing comes first: what is
// published from now on is as of that at the least.
func (s *Shard) endDoubt() (recounted bool) {
	recounted = s.recount
	for id := range s.unsure {
		recounted = recounted || s.streams[id] != nil && s.doubts(id)
	}
	if s.unsure = nil; !recounted {
		return false
	}
	s.recounted = s.Committed()
	s.pending.Set(index.RecountedKey, index.AppendLSN(nil, s.recounted))
	s.open.Begin(record.KindAck)
	s.open.Raw = record.AppendAck(s.open.Raw, &record.Ack{})
	s.open.End()
	s.open.Sync = true
	s.lastAck = s.open.Base
	s.wake()
	return true
}

// otherCount tells whether the offsets in a record are of an earlier count than those
// that a rebuild finds.
func (s *Shard) otherCount(lsn record.LSN) bool { return s.rebuild != nil && lsn <= s.recounted }

// sureBelow returns the offset of a record, or the one before it below which all are
// counted as they were when the record was written. mu is held.
func (s *Shard) sureBelow(id record.StreamID, o record.Offset, lsn record.LSN) record.Offset {
	if s.otherCount(lsn) {
		return 0
	}
	for _, not := range s.unsure[id] {
		if not.First < o && o < not.End {
			return not.First
		}
	}
	return o
}

// isSure tells whether an offset is one that is counted as it was. mu is held.
func (s *Shard) isSure(id record.StreamID, o record.Offset) bool {
	return !slices.ContainsFunc(s.unsure[id], func(not record.Range) bool { return not.First <= o && o < not.End })
}

// settleSure settles what a replay meets, without what it is not sure of. mu is
// held.
func (s *Shard) settleSure(p *place, settled []record.Range) {
	end := p.stream.refs.End()
	for _, r := range settled {
		for _, not := range s.unsure[p.stream.id] {
			if r.First >= r.End {
				break
			}
			p.cur.Apply([]record.Range{{First: r.First, End: min(r.End, not.First)}}, end)
			r.First = max(r.First, min(r.End, not.End))
		}
		p.cur.Apply([]record.Range{r}, end)
	}
	s.changedPlace(p)
	p.stream.trim(p)
}
