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

// forgetKeys takes keys out of the store, unless they have messages by now: those in
// memory are newer, and of the others the store tells as long as nothing is spilled.
func (s *Shard) forgetKeys(id record.StreamID, keys [][]byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range retainTries {
		st := s.streams[id]
		if st == nil || st.kept == nil || st.kept.compaction == nil {
			return nil
		}
		k, low := st.kept, st.refs.Low()
		spills := k.spills
		var gone [][]byte
		var err error
		s.unlocked(func() { gone, err = s.keysBelow(id, keys, low) })
		if err != nil {
			return err
		}
		if k.st.gone {
			return nil
		}
		if k.spills != spills {
			continue
		}
		for _, key := range gone {
			if l := k.compaction.last[string(key)]; l == nil || l.Offset < low {
				delete(k.compaction.last, string(key))
				s.pending.Delete(index.LastKey(id, key))
			}
		}
		return nil
	}
	return nil
}

// keysBelow returns those of the keys whose last message in the store lies below an
// offset. mu is not held.
func (s *Shard) keysBelow(id record.StreamID, keys [][]byte, low record.Offset) (below [][]byte, err error) {
	if err := s.pool.enter(uint64(id), nil); err != nil {
		return nil, err
	}
	defer s.pool.leave(uint64(id))
	for _, key := range keys {
		v, err := s.store.Get(index.LastKey(id, key))
		if errors.Is(err, index.ErrNotFound) {
			continue
		}
		var l index.Last
		if err == nil {
			err = index.DecodeLast(v, &l)
		}
		if err != nil {
			return nil, fmt.Errorf("stream %x, sweep keys: %w", uint64(id), err)
		}
		if l.Offset < low {
			below = append(below, key)
		}
	}
	return below, nil
}
