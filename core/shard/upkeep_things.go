package shard

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

const (
	// controlOverhead is about what a record takes in a segment beside its body.
	controlOverhead = 16
	// maxOver bounds the notes of ends that a sweep removes.
	maxOver = 1 << 16
	// overSlice is how many of them are removed without letting others have the
	// lock.
	overSlice = 256
)

// says notes that a record tells what a thing is. mu is held.
func (s *Shard) says(t index.Thing, lsn record.LSN) {
	s.pending.Set(t.NewestKey(), index.AppendLSN(nil, lsn))
}

// ended notes that a record ends a thing with all that it has. mu is held.
func (s *Shard) ended(t index.Thing, lsn record.LSN) {
	if t == t.Owner() {
		s.pending.DeletePrefix(t.NewestKey())
	} else {
		s.pending.Delete(t.NewestKey())
	}
	s.pending.Set(t.EndKey(), index.AppendLSN(nil, lsn))
}

// controlsSoFar returns the bytes of control records that were applied.
func (s *Shard) controlsSoFar() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.controlBytes
}

// sweepEnds removes the notes of ends up to a record: nothing that is older is left
// in the log, nor are they. A note of a later end of the same thing may go with one;
// then that end is kept longer than it must be. It tells whether that was all.
func (s *Shard) sweepEnds(snap index.Snapshot, last record.LSN) (all bool, err error) {
	var over [][]byte
	for _, prefix := range [][]byte{index.NewestPrefix, index.EndedPrefix} {
		err := snap.Scan(prefix, func(k, v []byte) error {
			lsn, err := index.DecodeLSN(v)
			if err == nil && lsn <= last && index.TellsEnd(k) && len(over) < maxOver {
				over = append(over, slices.Clone(k))
			}
			return err
		})
		if err != nil {
			return false, err
		}
	}
	for some := range slices.Chunk(over, overSlice) {
		s.mu.Lock()
		for _, key := range some {
			s.pending.Delete(key)
		}
		s.mu.Unlock()
	}
	return len(over) < maxOver, nil
}

// noted returns the LSN that a key holds, 0 when the store does not have it: it
// was written by a build that did not note such records, or what it tells of is
// over.
func (k *keeper) noted(key []byte) (record.LSN, error) {
	v, err := k.snap.Get(key)
	if errors.Is(err, index.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return index.DecodeLSN(v)
}

// newest tells whether no later record says what the thing is.
func (k *keeper) newest(t index.Thing, lsn record.LSN) (bool, error) {
	at, err := k.noted(t.NewestKey())
	return lsn >= at, err
}

// endsThing tells whether a record that ends a thing is still to be kept: it is the
// newest one that does, its owner has not ended since, and older segments may
// speak of the thing.
func (k *keeper) endsThing(t index.Thing, lsn record.LSN) (bool, error) {
	at, err := k.noted(t.EndKey())
	switch {
	case err != nil || lsn < at:
		return false, err
	case k.oldest:
		return false, nil
	case t == t.Owner():
		return true, nil
	}
	at, err = k.noted(t.Owner().EndKey())
	return lsn > at, err
}
