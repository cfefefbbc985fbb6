package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// idleWatermark is how long the log is idle before its watermark is written,
// so that rot in the last batch can be told from a torn tail.
const idleWatermark = 100 * time.Millisecond

// maxUnsynced is how long batches that ask for no sync go without one while
// the log is busy: it bounds what those who do not wait for syncs may lose with
// the machine.
const maxUnsynced = time.Second

// run is the committer: no timer decides a batch, what arrives during one
// commit is the next. Acks alone wait for company up to AckDelay.
func (s *Shard) run() {
	defer close(s.done)
	idle := s.clock.NewTimer(idleWatermark)
	defer idle.Stop()
	acks := s.clock.NewTimer(0)
	defer acks.Stop()
	<-acks.C
	for {
		select {
		case <-s.kick:
		case <-s.ackKick:
			acks.Reset(s.cfg.AckDelay)
			continue
		case <-acks.C:
		case <-idle.C:
			if err := s.log.WriteWatermark(); err != nil {
				s.fail(err)
				return
			}
			continue
		case <-s.stop:
			s.fail(s.finish())
			return
		}
		if err := s.commit(); err != nil {
			s.logger.Error("shard stopped", slog.Any("shard", s.cfg.Identity.Shard), slog.Any("error", err))
			s.fail(err)
			return
		}
		idle.Reset(idleWatermark)
	}
}

// finish commits what is left and says exactly what was delivered.
func (s *Shard) finish() error {
	s.mu.Lock()
	s.markExactly()
	s.mu.Unlock()
	if err := s.commit(); err != nil {
		return err
	}
	return ErrClosed
}

// commit makes the open batch durable and applies it.
func (s *Shard) commit() error {
	s.mu.Lock()
	s.amu.Lock()
	select { // a second wake for a batch that an ack timer takes along
	case <-s.kick:
	default:
	}
	s.gatherAcks()
	b, waiters := s.swap()
	s.amu.Unlock()
	s.mu.Unlock()
	if b.Len() > 0 {
		now := s.clock.Now()
		b.First, b.Last = now.UnixMilli(), now.UnixMilli()
		b.Sync = b.Sync || now.Sub(s.synced) >= maxUnsynced
		if err := s.replica.Propose(b); err != nil {
			s.giveUp(waiters)
			return err
		}
		if s.applyErr != nil {
			s.giveUp(waiters)
			return s.applyErr
		}
		if b.Sync {
			s.synced = now
		}
		s.stats.commit(b, s.clock.Now().Sub(now))
	}
	for _, w := range waiters {
		w.notify()
	}
	s.amu.Lock()
	clear(waiters)
	s.spare = waiters[:0]
	s.amu.Unlock()
	return nil
}

// giveUp puts waiters of a failed batch back, for fail to tell them.
func (s *Shard) giveUp(ws []*Waiter) {
	s.amu.Lock()
	s.waiters = append(s.waiters, ws...)
	s.amu.Unlock()
}

// gatherAcks appends an ack record for every cursor that settled something. mu
// and amu are held.
func (s *Shard) gatherAcks() {
	for _, p := range s.dirty {
		p.dirty = false
		if p.gone {
			continue
		}
		s.ack.Stream, s.ack.Cursor, s.ack.Ranges = p.stream.id, p.id, p.cur.TakeAcks()
		if !p.stream.durable || len(s.ack.Ranges) == 0 {
			continue
		}
		s.open.Begin(record.KindAck)
		s.open.Raw = record.AppendAck(s.open.Raw, &s.ack)
		s.open.End()
		s.open.Sync = true
		if !p.unpublished {
			p.unpublished = true
			s.unpublished = append(s.unpublished, p)
		}
	}
	clear(s.dirty)
	s.dirty = s.dirty[:0]
}

// Wait returns when everything up to lsn is committed and applied.
func (s *Shard) Wait(ctx context.Context, lsn record.LSN) error {
	err := s.wait(ctx.Done(), lsn)
	if errors.Is(err, errGivenUp) {
		return fmt.Errorf("wait for record %d: %w", lsn, ctx.Err())
	}
	return err
}

// Await is Wait for who can't give up: it ends at the latest with the shard.
func (s *Shard) Await(lsn record.LSN) error { return s.wait(nil, lsn) }

// errGivenUp says that the caller of wait does not want to wait any longer.
var errGivenUp = errors.New("given up")

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
		select {
		case <-ready:
		case <-giveUp:
			return errGivenUp
		}
	}
}
