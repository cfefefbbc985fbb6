package shard

import (
	"github.com/tidegate/tidegate/core/record"
)

// count tells where a rebuild can count offsets: from the first record on as long
// as none is missing, and from those on that ENDS tells of. In between it doubts
// what it counts. A rewrite leaves no message without its places; what salvages of
// a damaged segment hold is as it was.
func (r *rebuild) count(s *Shard, b *record.Batch) {
	whole, messages := b.Len() == int(b.Next()-b.Base), false
	for i := range b.Len() {
		switch kind, _ := b.Record(i); kind {
		case record.KindMessage, record.KindFire:
			messages = true
		case record.KindPlaced, record.KindPlacedFire, record.KindLoss:
			whole = false
		default:
		}
	}
	goesOn := b.Base == r.row
	switch {
	case r.ends.tellsOf(b.Base):
		r.trust(s, b.Base)
		goesOn = true
	case goesOn && whole:
	case messages:
		s.doubtOffsets()
		goesOn = true
	case !r.ends.there && !whole:
		s.doubtOffsets()
	}
	if goesOn && (whole || messages) {
		r.row = b.Next()
	}
}

// trust ends all doubt where original segments begin behind a gap.
func (r *rebuild) trust(s *Shard, gap record.LSN) {
	s.strays.sure = gap
	for id := range s.unsure {
		st := s.streams[id]
		if st == nil {
			continue
		}
		from := st.refs.End()
		for _, e := range r.ends.of[id] {
			if e.since == st.since && e.from <= gap {
				from = max(from, e.offset)
			}
		}
		s.trustOffsets(id, from)
	}
}
