package shard

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

const (
	// sweepStep is how far the beginning of a compacted stream moves until keys are
	// looked through for those whose last message is gone.
	sweepStep = 1 << 14
	// sweepKeys bounds the keys that one sweep forgets; more than sweepStep, so
	// that keys do not gather.
	sweepKeys = 4 * sweepStep
	// sweepLocked bounds the keys that are forgotten while the lock is held.
	sweepLocked = 512
)

// sweep forgets keys whose last message was truncated. To the state that is no
// change, since such a key counts as unknown: the log says nothing of it.
func (s *Shard) sweep(id record.StreamID) error {
	low, due := s.sweepDue(id)
	if !due {
		return nil
	}
	var stale [][]byte
	prefix := index.LastKey(id, "")
	err := s.store.Scan(prefix, func(key, v []byte) error {
		var l index.Last
		if err := index.DecodeLast(v, &l); err != nil {
			return err
		}
		if l.Offset < low {
			stale = append(stale, bytes.Clone(key[len(prefix):]))
		}
		if len(stale) == sweepKeys {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return fmt.Errorf("stream %x, sweep keys: %w", uint64(id), err)
	}
	for len(stale) > 0 {
		n := min(len(stale), sweepLocked)
		if err := s.forgetKeys(id, stale[:n]); err != nil {
			return err
		}
		stale = stale[n:]
	}
	return nil
}

func (s *Shard) sweepDue(id record.StreamID) (low record.Offset, due bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil || st.kept.compaction == nil || !st.kept.stored {
		return 0, false
	}
	c := st.kept.compaction
	if low = st.refs.Low(); low < c.swept+sweepStep {
		return 0, false
	}
	c.swept = low
	return low, true
}

// forgetKeys takes keys out of the store, unless they have messages by now.
func (s *Shard) forgetKeys(id record.StreamID, keys [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.kept == nil {
		return nil
	}
	for _, key := range keys {
		_, known, err := st.kept.lastOf(key)
		if err != nil {
			return err
		}
		if !known {
			delete(st.kept.compaction.last, string(key))
			s.pending.Delete(index.LastKey(id, key))
		}
	}
	return nil
}
