package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/work"
)

// maxUnsynced is how long batches that ask for no sync go without one while
// the log is busy: it bounds what those who do not wait for syncs may lose with
// the machine.
const maxUnsynced = time.Second

// stopped fails the shard for an error.
func (s *Shard) stopped(err error) {
	s.logger.Error("shard stopped", slog.Any("shard", s.cfg.Identity.Shard), slog.Any("error", err))
	s.fail(err)
}

// finish commits what is left, says exactly what was delivered, and leaves
// next to nothing to replay.
func (s *Shard) finish() error {
	s.mu.Lock()
	s.markExactly()
	s.mu.Unlock()
	if _, err := s.commit(true); err != nil {
		return err
	}
	if err := s.awaitFlush(); err != nil {
		return err
	}
	if err := s.store.Flush(); err != nil {
		return err
	}
	return ErrClosed
}

// commit makes the open batch durable, spills if that is due, and applies the
// batch. wrote tells that there was something in it.
func (s *Shard) commit(last bool) (wrote bool, err error) {
	now := s.clock.Now()
	b, waiters, sp, err := s.take(now, last)
	if err == nil {
		err = s.checkpoint.err()
	}
	if err == nil {
		err = s.propose(b, sp)
	}
	if err != nil {
		s.giveUp(waiters)
		return false, err
	}
	if b.Len() > 0 {
		s.stats.commit(b, s.clock.Now().Sub(now))
		s.checkpoint.bytes += uint64(len(b.Raw))
	}
	for _, w := range waiters {
		w.notify()
	}
	s.amu.Lock()
	clear(waiters)
	s.spare = waiters[:0]
	s.amu.Unlock()
	return b.Len() > 0, nil
}

// take takes the open batch with all acks given so far, and the spill that may
// be stored once the batch is durable, nil when none is due.
func (s *Shard) take(now time.Time, last bool) (*record.Batch, []*Waiter, *spill, error) {
	sp, err := s.prepare(now, last) // publishers go on
	s.mu.Lock()
	defer s.mu.Unlock()
	s.amu.Lock()
	defer s.amu.Unlock()
	s.gatherAcks() // all of those that the spill has, at the least
	select {       // a second wake for a batch that an ack timer takes along
	case <-s.kick:
	default:
	}
	b, waiters := s.swap()
	b.Small = s.flow.small(len(b.Raw))
	return b, waiters, sp, err
}

// propose has the batch committed. With a spill it is synced whatever it holds,
// and the log before it.
func (s *Shard) propose(b *record.Batch, sp *spill) error {
	if b.Len() == 0 {
		if sp == nil {
			return nil
		}
		if err := s.log.Sync(); err != nil {
			return err
		}
		return s.write(sp)
	}
	now := s.clock.Now()
	b.First, b.Last = now.UnixMilli(), now.UnixMilli()
	b.Sync = b.Sync || sp != nil || now.Sub(s.synced) >= maxUnsynced
	s.checkpoint.ready = sp
	if err := s.replica.Propose(b); err != nil {
		return err
	}
	if b.Sync {
		s.synced = now
	}
	return s.applyErr
}

// giveUp puts waiters of a failed batch back, for fail to tell them.
func (s *Shard) giveUp(ws []*Waiter) {
	s.amu.Lock()
	s.waiters = append(s.waiters, ws...)
	s.amu.Unlock()
}

// gatherAcks appends an ack record for every cursor that settled something, and what
// came back. mu and amu are held.
func (s *Shard) gatherAcks() {
	s.gatherReturns()
	for _, p := range s.dirty {
		p.dirty = false
		if p.gone {
			continue
		}
		s.ack.Stream, s.ack.Cursor, s.ack.Ranges = p.stream.id, p.id, p.cur.TakeAcks()
		s.flow.settled(s.ack.Ranges)
		s.checkpoint.went = s.checkpoint.went || len(s.ack.Ranges) > 0
		if !p.stream.durable || len(s.ack.Ranges) == 0 {
			continue
		}
		s.open.Begin(record.KindAck)
		s.open.Raw = record.AppendAck(s.open.Raw, &s.ack)
		s.open.End()
		s.open.Sync = true
		s.lastAck = s.open.Base + record.LSN(s.open.Len()) - 1
		s.unpublish(p)
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
}

// SyncTo brings the record and all before it to stable storage, unless they are
// there: for who is about to write what rests on it to another shard.
func (s *Shard) SyncTo(lsn record.LSN) error {
	err := s.log.SyncTo(lsn)
	switch {
	case errors.Is(err, commitlog.ErrPoisoned):
		s.stopped(err)
		return s.Err()
	case errors.Is(err, commitlog.ErrClosed):
		return ErrClosed
	}
	return err
}

// Wait returns when everything up to lsn is committed and applied.
func (s *Shard) Wait(ctx context.Context, lsn record.LSN) error {
	err := s.wait(ctx.Done(), lsn)
	if errors.Is(err, work.ErrGivenUp) {
		return fmt.Errorf("wait for record %d: %w", lsn, ctx.Err())
	}
	return err
}

// Await is Wait for who can't give up: it ends at the latest with the shard.
func (s *Shard) Await(lsn record.LSN) error { return s.wait(nil, lsn) }

func (s *Shard) wait(giveUp <-chan struct{}, lsn record.LSN) error {
	if s.Committed() >= lsn {
		return nil
	}
	ready := make(chan struct{}, 1)
	w := NewWaiter(func() {
		select {
		case ready <- struct{}{}:
		default:
		}
	})
	for {
		s.amu.Lock()
		failed := s.failed
		// The record is in the open batch, or in the one being committed: in
		// both cases a waiter on the open batch, woken now, comes after it.
		if failed == nil && s.Committed() < lsn {
			s.await(w)
			s.wake()
		}
		s.amu.Unlock()
		if s.Committed() >= lsn {
			return nil
		}
		if failed != nil {
			return failed
		}
		if err := s.work.Wait(ready, giveUp); err != nil {
			return err
		}
	}
}
