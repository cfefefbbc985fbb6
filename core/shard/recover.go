package shard

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// recover loads the state as of the last checkpoint and replays the log from
// there. Without one it rebuilds the state.
func (s *Shard) recover(deps Deps) error {
	open := deps.OpenStore
	if open == nil {
		open = func() (index.Store, error) { return index.OpenPebble(deps.FS, s.cfg.IndexDir, deps.Log) }
	}
	store, err := open()
	if err != nil {
		return fmt.Errorf("%w (tidegate check tells what is wrong, and check --accept-loss sets an index aside that is no use: "+
			"a start without one makes it from the log)", err)
	}
	s.store, s.fs = store, deps.FS
	loadable, err := s.loadable()
	if err != nil {
		return err
	}
	var from record.LSN
	if loadable {
		from, err = s.load()
	} else {
		err = s.beginRebuild(deps.FS)
	}
	if err != nil {
		return err
	}
	cfg := commitlog.Config{
		FS: deps.FS, Dir: s.cfg.Dir, Identity: s.cfg.Identity, SegmentBytes: s.cfg.SegmentBytes, From: from,
		Ends: func(end record.LSN) error {
			if err := s.reachesPublished(end, deps.Reached, "marks in the metadata tell of"); err != nil {
				return err
			}
			return s.reachesKnown(end)
		},
		Leaving: s.writeEnds, Throttle: s.throttle, Log: deps.Log,
	}
	last, err := commitlog.LastSegment(cfg)
	if err != nil {
		return err
	}
	s.checkpoint.durable, s.checkpoint.flushedAt = from, s.clock.Now()
	if s.log, err = commitlog.Open(cfg, func(b *record.Batch) error { return s.replay(b, last) }); err != nil {
		return err
	}
	if s.rebuild != nil {
		if err := s.endRebuild(deps.Published); err != nil {
			return errors.Join(fmt.Errorf("rebuild the index: %w", err), s.log.Close())
		}
	}
	if err := s.reachesEnds(); err != nil {
		return errors.Join(err, s.log.Close())
	}
	if err := s.settleLostTail(from); err != nil {
		return errors.Join(fmt.Errorf("settle what was lost: %w", err), s.log.Close())
	}
	s.endStrays()
	if err := s.noOrphans(); err != nil {
		return errors.Join(err, s.log.Close())
	}
	if next := s.log.NextLSN(); next != s.Committed()+1 {
		return errors.Join(fmt.Errorf("the index holds records up to %d, the log ends at %d: %w",
			s.Committed(), next-1, record.ErrCorrupt), s.log.Close())
	}
	return nil
}

// reachesEnds refuses a log that ends before a record of which its file of ends tells,
// as one does whose newest segments were replaced by older copies, though an older index
// lets it start. A file that is no use is only needed when the index is lost.
func (s *Shard) reachesEnds() error {
	if s.rebuild != nil {
		return nil // it has looked
	}
	all, err := readEnds(s.fs, s.cfg.Dir, s.cfg.Identity)
	if err != nil {
		s.logger.Warn("ends of streams not read: an index that is lost could not be made again",
			slog.Any("shard", s.cfg.Identity.Shard), slog.Any("error", err))
		return nil
	}
	if s.Committed() < all.highest {
		return fmt.Errorf("log ends at %d, %s tells of record %d: %w", s.Committed(), endsName, all.highest, commitlog.ErrBehind)
	}
	return nil
}

// replay applies a batch that the checkpoint does not have. Long replays spill
// as they go, so that memory stays flat: but not from the last segment, which
// may not be on the disk before the log is open.
func (s *Shard) replay(b *record.Batch, last record.LSN) error {
	from := s.Committed()
	if b.Next() <= from+1 {
		return nil
	}
	if s.rebuild != nil {
		s.rebuild.meets(s, b, last)
	} else if b.Base != from+1 {
		return fmt.Errorf("the index holds records up to %d, the log goes on at %d: %w", from, b.Base, record.ErrCorrupt)
	}
	if b.Base < last {
		sp, err := s.prepare(s.clock.Now(), false)
		if err != nil {
			return err
		}
		if sp != nil {
			if err := s.write(sp); err != nil {
				return err
			}
		}
	}
	if err := s.apply(b); err != nil {
		return err
	}
	s.checkpoint.bytes += uint64(len(b.Raw))
	return nil
}

// load reads the state from the store and returns the record that it is as of.
func (s *Shard) load() (record.LSN, error) {
	v, err := s.store.Get(index.AppliedKey)
	if err != nil {
		return 0, err
	}
	from, err := index.DecodeLSN(v)
	if err != nil {
		return 0, err
	}
	s.committed.Store(uint64(from))
	s.spilled.Store(uint64(from))
	if err := s.loadRecounted(); err != nil {
		return 0, err
	}
	if _, err := s.store.Get(index.MarkedKey); errors.Is(err, index.ErrNotFound) {
		s.pending.Set(index.MarkedKey, index.AppendLSN(nil, from+1))
	} else if err != nil {
		return 0, err
	}
	s.pending.DeletePrefix(index.TransientPrefix)
	s.pending.DeletePrefix(index.TransientSizesPrefix)
	for _, part := range []struct {
		prefix []byte
		load   func(key, value []byte) error
	}{
		{index.StreamPrefix, s.loadStream},
		{index.KeptPrefix, s.loadKept},
		{index.CursorPrefix, s.loadCursor},
		{index.ReturnsPrefix, s.loadReturns},
		{index.RetainedPrefix, s.loadRetained},
		{index.OncePrefix, s.loadOnce},
		{index.TransferPrefix, s.loadTransfer},
		{index.TransferredPrefix, s.loadTransferred},
		{index.TransferDoneKey, s.loadTransferDone},
		{index.HeldCountPrefix, s.loadHeldCount},
	} {
		if err := s.store.Scan(part.prefix, part.load); err != nil {
			return 0, fmt.Errorf("load index: %w", err)
		}
	}
	return from, nil
}

func (s *Shard) loadRecounted() error {
	v, err := s.store.Get(index.RecountedKey)
	if errors.Is(err, index.ErrNotFound) {
		return nil
	}
	if err == nil {
		s.recounted, err = index.DecodeLSN(v)
	}
	return err
}

func (s *Shard) loadStream(_, v []byte) error {
	var info index.Stream
	if err := index.DecodeStream(v, &info); err != nil {
		return err
	}
	st := s.newStream(&info.Stream, true, info.Since)
	st.refs, st.found = index.Restore(info.Low, info.End), nameless(&info.Stream)
	s.streams[info.ID] = st
	return nil
}

func (s *Shard) loadCursor(k, v []byte) error {
	stream, err := index.Uint64(k, 0)
	if err != nil {
		return err
	}
	id, err := index.Uint64(k, 1)
	if err != nil {
		return err
	}
	var c index.Cursor
	if err := index.DecodeCursor(v, &c); err != nil {
		return err
	}
	st := s.streams[record.StreamID(stream)]
	if st == nil {
		return fmt.Errorf("cursor of stream %x, which is not there: %w", stream, record.ErrCorrupt)
	}
	if n := len(c.Ranges); c.Floor > st.refs.End() || n > 0 && c.Ranges[n-1].End > st.refs.End() {
		return fmt.Errorf("cursor %x of stream %x is past its end: %w", id, stream, record.ErrCorrupt)
	}
	cur := queue.RestoreCursor(c.Floor, c.Marked, c.Ranges)
	if st.queue != nil {
		st.queue.Cursor = cur
		return nil
	}
	if st.kept != nil {
		return st.kept.restore(id, &cur)
	}
	st.places.put(newPlace(st, id, true, cur))
	return nil
}

func (s *Shard) loadOnce(k, v []byte) error {
	lsn, err := index.DecodeLSN(v)
	if err != nil {
		return err
	}
	o, err := index.SplitOnceKey(k)
	if err != nil {
		return err
	}
	s.remember(o, lsn)
	return nil
}
