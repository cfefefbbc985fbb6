package shard

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// spillBytes bounds what waits in memory to be written to the store, beside
// Config.SpillRefs.
const spillBytes = 4 << 20

// checkpoint is the progress of the store: what was spilled is readable there,
// what was flushed survives a crash. mu of the shard guards refs, the committer
// owns the rest, but for what has a lock of its own.
type checkpoint struct {
	refs      int    // appended to streams since the last spill
	bytes     uint64 // of the log since the last flush
	flushedAt time.Time
	ready     *spill // waits until the batch that holds its acks is durable

	mu      sync.Mutex      // guards all below
	durable record.LSN      // the state up to it is in the store for good
	rounds  uint64          // flushes that have ended well
	running bool            // a flush
	failed  error           // of a flush: final
	flushed <-chan struct{} // closed when the last flush that was begun has ended; nil before
}

// spill is a change of the store to the state as of a record.
type spill struct {
	applied record.LSN
	batch   index.Batch
	streams []*stream
	places  []*place
	flush   bool // make it durable too
}

// changedStream remembers that the store's copy of the stream is old. mu is held.
func (s *Shard) changedStream(st *stream) {
	if !st.changed {
		st.changed = true
		s.changed = append(s.changed, st)
	}
}

// changedPlace remembers that the store's copy of the cursor is old. mu is held.
func (s *Shard) changedPlace(p *place) {
	if !p.changed {
		p.changed = true
		s.cursors = append(s.cursors, p)
	}
}

// warmed remembers that the stream holds memory that it can do without when it
// rests. mu is held.
func (s *Shard) warmed(st *stream) {
	if !st.warm {
		st.warm = true
		s.warm = append(s.warm, st)
	}
}

// spillDue tells whether enough has changed since the last spill. mu is held.
func (s *Shard) spillDue() bool {
	return s.checkpoint.refs >= s.cfg.SpillRefs || s.pending.Size() >= spillBytes ||
		len(s.changed)+len(s.cursors) >= s.cfg.SpillRefs
}

// flushDue tells whether a start would replay more than it should. mu is held.
func (s *Shard) flushDue(now time.Time) bool {
	c := &s.checkpoint
	return c.bytes >= uint64(s.cfg.CheckpointBytes) || now.Sub(c.flushedAt) >= s.cfg.CheckpointInterval &&
		(c.bytes > 0 || len(s.changed)+len(s.cursors)+len(s.warm)+s.pending.Len() > 0)
}

// prepare gathers what the store does not have, if it is time.
//
// Cursors are settled before their acks are in the log, so the result is the
// state as of the last applied record, and of all acks that the open batch has.
// It must not reach the store before that batch is durable: else a crash could
// keep an ack and lose a record that was appended before it. Records of the
// batch other than acks are not in the result; recovery replays all of them,
// and acks twice do no harm. mu is held, and the acks are gathered.
func (s *Shard) prepare(now time.Time, always bool) (*spill, error) {
	flush := always || s.flushDue(now)
	if !flush && !s.spillDue() {
		return nil, nil
	}
	if flush {
		s.checkpoint.flushedAt, s.checkpoint.bytes = now, 0
	}
	sp := &spill{applied: s.Committed(), flush: flush}
	s.cool()
	if err := s.gather(sp); err != nil {
		return nil, err
	}
	sp.batch, s.pending = s.pending, index.Batch{}
	sp.batch.Set(index.AppliedKey, index.AppendLSN(nil, sp.applied))
	s.checkpoint.refs = 0
	return sp, nil
}

// cool frees the memory of streams that have rested since the last spill.
func (s *Shard) cool() {
	for _, st := range s.warm {
		st.warm = false
		if !st.changed {
			st.refs.Rest()
			if st.kept != nil {
				st.kept.forgetClean()
			}
		}
	}
	clear(s.warm)
	s.warm = s.warm[:0]
}

// write writes a spill to the store. Nothing was applied since it was prepared.
func (s *Shard) write(sp *spill) error {
	if err := s.store.Commit(&sp.batch); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range sp.streams {
		st.refs.Spilled()
		if st.kept != nil {
			st.kept.spilled()
		}
		s.warmed(st)
	}
	for _, p := range sp.places {
		p.cur.Rest()
	}
	if sp.flush {
		s.flush(sp.applied)
	}
	return nil
}

// gather appends what has changed to the pending batch. What was dropped is
// left out: its record is in the log by the time that the spill is stored, and
// takes it out of the store when it is applied.
func (s *Shard) gather(sp *spill) error {
	var value []byte
	laterStreams, laterPlaces := s.changed[:0], s.cursors[:0]
	for _, st := range s.changed {
		switch {
		case st.gone:
		case st.since > sp.applied: // its record is not committed: it may never have been
			laterStreams = append(laterStreams, st)
			continue
		default:
			sp.streams = append(sp.streams, st)
			if err := s.gatherStream(st, &value); err != nil {
				return fmt.Errorf("spill stream %x: %w", uint64(st.id), err)
			}
		}
		st.changed = false
	}
	for _, p := range s.cursors {
		if p.stream.since > sp.applied && !p.gone {
			laterPlaces = append(laterPlaces, p)
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
	clear(s.changed[len(laterStreams):])
	clear(s.cursors[len(laterPlaces):])
	s.changed, s.cursors = laterStreams, laterPlaces
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
	return st.refs.Spill(st, func(no uint64, lsns []record.LSN) {
		*value = index.AppendChunk((*value)[:0], lsns)
		s.pending.Set(key(st.id, no), *value)
	}, func(first, end uint64) {
		s.pending.DeleteRange(key(st.id, first), key(st.id, end))
	})
}

// LoadChunk implements [index.Loader]. mu is held.
func (st *stream) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	st.s.warmed(st)
	key := index.TransientChunkKey
	if st.durable {
		key = index.ChunkKey
	}
	v, err := st.s.store.Get(key(st.id, no))
	if err != nil {
		return dst, fmt.Errorf("stream %x: %w", uint64(st.id), err)
	}
	return index.DecodeChunk(v, dst)
}

// flush makes what was spilled durable, beside the committer. While one runs no
// other is begun: the next interval makes up for it.
func (s *Shard) flush(spilled record.LSN) {
	c := &s.checkpoint
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running || c.failed != nil {
		return
	}
	c.running = true
	c.flushed = s.work.Go("flush", func() {
		err := s.store.Flush()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running = false
		if err != nil {
			c.failed = err
			return
		}
		c.durable = max(c.durable, spilled)
		c.rounds++
	})
}

// awaitFlush waits for a flush that runs.
func (s *Shard) awaitFlush() error {
	s.checkpoint.mu.Lock()
	flushed := s.checkpoint.flushed
	s.checkpoint.mu.Unlock()
	if flushed == nil {
		return nil
	}
	return s.work.Wait(flushed, nil)
}

// err returns why a flush has failed.
func (c *checkpoint) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failed
}

// Durable returns the LSN up to which the state is in the store for good: the
// log below it is needed for nothing but the messages themselves.
func (s *Shard) Durable() record.LSN {
	s.checkpoint.mu.Lock()
	defer s.checkpoint.mu.Unlock()
	return s.checkpoint.durable
}

// closeStore waits for a flush that runs and closes the store.
func (s *Shard) closeStore() error {
	err := s.awaitFlush()
	if s.store == nil {
		return err
	}
	return errors.Join(err, s.checkpoint.err(), s.store.Close())
}
