package shard

import (
	"errors"
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
	went      bool   // since the last flush began more than messages came; mu of the shard guards it

	mu      sync.Mutex      // guards all below
	durable record.LSN      // the state up to it is in the store for good
	rounds  uint64          // flushes that have ended well
	gone    uint64          // the last of those that followed more than messages
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
	held    uint64 // round of the queue of held messages
	flush   bool   // make it durable too
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
// and acks twice do no harm.
//
// mu is free from time to time while it gathers. What others do then is to
// settle, to drop and to make; so cursors may be as of different acks. All that
// goes into the open batch, which the caller, the committer, takes afterwards;
// and nobody but the caller applies.
func (s *Shard) prepare(now time.Time, always bool) (*spill, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
	s.gatherDeadlines()
	sp.held = s.gatherHeld()
	sp.batch, s.pending = s.pending, index.Batch{}
	if s.rebuild != nil {
		sp.flush = false // it holds nothing to start from yet
	} else {
		sp.batch.Set(index.AppliedKey, index.AppendLSN(nil, sp.applied))
	}
	s.checkpoint.refs = 0
	return sp, nil
}

// write writes a spill to the store. Nothing was applied since it was prepared.
func (s *Shard) write(sp *spill) error {
	if err := s.store.Commit(&sp.batch); err != nil {
		return err
	}
	s.spilled.Store(uint64(sp.applied))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, st := range sp.streams {
		s.breathe(i)
		st.spilled()
		if st.kept != nil {
			st.kept.spilled()
		}
		s.warmed(st)
	}
	for i, p := range sp.places {
		s.breathe(i)
		p.cur.Rest()
	}
	s.heldStored(sp.held)
	if sp.flush {
		s.flush(sp.applied)
	}
	return nil
}

// flush makes what was spilled durable, beside the committer. While one runs no
// other is begun: the next interval makes up for it. mu is held.
func (s *Shard) flush(spilled record.LSN) {
	c := &s.checkpoint
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running || c.failed != nil {
		return
	}
	went := c.went
	c.running, c.went = true, false
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
		if went {
			c.gone = c.rounds
		}
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
