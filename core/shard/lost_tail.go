package shard

import (
	"log/slog"

	"github.com/tidegate/tidegate/core/record"
)

// An index may refer to records that the log has lost, once that loss was accepted: it
// was ahead of a log that was cut. Whoever meets such a reference passes over it; but
// until then it counts as a message. So a start settles those at the ends of streams.

// fromStore loads chunks of references at a start, when nobody else wants the lock.
type fromStore struct{ st *stream }

// LoadChunk implements [index.Loader].
func (f fromStore) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	return f.st.readChunk(no, dst)
}

// settleLostTail settles the references to records that are lost up to the checkpoint.
// The log is open.
func (s *Shard) settleLostTail(checkpoint record.LSN) error {
	if s.rebuild != nil || checkpoint == 0 {
		return nil // what is rebuilt refers to what is there
	}
	first, lost, err := s.log.LostAt(checkpoint)
	if err != nil { // damage of a sealed segment is told to who reads it
		s.logger.Warn("record of the checkpoint not read", slog.Any("shard", s.cfg.Identity.Shard), slog.Any("error", err))
	}
	if !lost {
		return nil
	}
	settled := uint64(0)
	for _, st := range s.streams {
		if st.kept != nil {
			continue // keeps what was settled; its readers pass over it
		}
		n, err := s.settleFrom(st, first)
		if err != nil {
			return err
		}
		settled += n
	}
	if settled > 0 {
		s.logger.Warn("references to records that were lost and given up are settled", slog.Any("shard", s.cfg.Identity.Shard),
			slog.Uint64("first_lsn", uint64(first)), slog.Uint64("last_lsn", uint64(checkpoint)), slog.Uint64("references", settled))
	}
	return nil
}

// settleFrom settles the references of a stream to records from an LSN on, which are its
// last ones.
func (s *Shard) settleFrom(st *stream, lsn record.LSN) (uint64, error) {
	from, end := st.refs.Low(), st.refs.End()
	for to := end; from < to; { // the first reference that is not below the LSN
		mid := from + (to-from)/2
		at, ok, err := st.refs.Get(mid, fromStore{st})
		if err != nil {
			return 0, err
		}
		if ok && at >= lsn {
			to = mid
		} else {
			from = mid + 1
		}
	}
	if from == end {
		return 0, nil
	}
	s.warmed(st)
	lost := []record.Range{{First: from, End: end}}
	for p := range st.everyPlace() {
		p.cur.Apply(lost, end)
		s.changedPlace(p)
		st.trim(p)
	}
	return uint64(end - from), nil
}
