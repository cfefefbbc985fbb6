package shard

import (
	"log/slog"

	"github.com/tidegate/tidegate/core/record"
)

// applyLoss passes a place in the log at which records were lost and given up.
// Above the checkpoint nobody knows how many of them were messages of which
// stream, so the messages that follow get lower offsets than they once had, and
// acks from before the loss was accepted would settle others. For each stream
// that may be concerned, what lies at or above its present end is therefore
// settled by no ack of the log: it is delivered once more rather than not at
// all. mu is held.
func (s *Shard) applyLoss(body []byte, lsn record.LSN) error {
	l, err := record.DecodeLoss(body)
	if err != nil || !s.recovering {
		return err
	}
	s.logger.Warn("records were lost and given up; messages behind them may be delivered again",
		slog.Uint64("first_lsn", uint64(lsn)), slog.Uint64("last_lsn", uint64(l.End)-1))
	if s.unsure == nil {
		s.unsure = map[record.StreamID]record.Offset{}
	}
	for id, st := range s.streams {
		if _, known := s.unsure[id]; !known {
			s.unsure[id] = st.refs.End()
		}
	}
	return nil
}

// certain returns the offset up to which acks of the log are to be believed. mu
// is held.
func (s *Shard) certain(st *stream) record.Offset {
	if o, unsure := s.unsure[st.id]; unsure {
		return min(o, st.refs.End())
	}
	return st.refs.End()
}
