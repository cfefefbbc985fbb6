package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/work"
)

// UpkeepConfig says how a shard frees the disk of what its log does not need any
// more. The zero value gives up segments that nothing needs, when Upkeep is called.
type UpkeepConfig struct {
	// Interval is how often it is looked whether there is something to do; 0
	// leaves it to the owner of the shard to call Upkeep.
	Interval time.Duration
	// RewritePercent is the share of a segment's records below which it is
	// rewritten without the others; 0 keeps it until none is needed.
	RewritePercent int
	// Compress has each segment that is sealed and needed rewritten once with
	// zstd in large blocks.
	Compress bool
	// BytesPerSecond bounds what rewriting reads and writes while the shard
	// commits something; while it does not, idleHaste times as much. 0 is no bound.
	BytesPerSecond int64
}

const (
	// censusShare bounds the time that is spent on counting: a census is not
	// taken before this many times the time has passed that the last one took.
	// So its cost is a share of the time, however large the backlog.
	censusShare = 20
	// restingShare is censusShare while messages only come, of which another census
	// would find all still needed.
	restingShare = 200
	// retryAfter is how long after an error the next rewrite comes. It doubles up to
	// retryAtMost.
	retryAfter  = time.Second
	retryAtMost = 5 * time.Minute
)

// upkeep drops segments that nothing refers to, and rewrites those with few
// records that are needed, and those that can be smaller. It works on what the
// store has, so it holds no lock of the shard.
//
// What is not needed as of a snapshot of the store is never needed again, also
// after a crash: what settled it is on stable storage before the store has it,
// references are only added for new records, and a new cursor begins behind them.
//
// A rewrite leaves acks out, and a drop takes those of messages elsewhere along.
// An index that is lost is made from the log and from what is published, so both
// wait until acks are published, see PublishedUpTo.
type upkeep struct {
	cancel context.CancelFunc // nil when no loop was started
	done   <-chan struct{}
	timer  *clock.Timer // of the loop, like what follows
	more   bool         // there may be work at once

	step    sync.Mutex // held for a step; guards what follows
	census  *census    // nil before the first
	flushed uint64     // flushes of the store before the last census
	next    time.Time  // of the next census, at the earliest
	resting time.Time  // the same while messages only come
	kept    map[record.LSN]kept
	damaged map[record.LSN]bool // segments that can't be read; left alone
	marks   record.LSN          // marks of records before it were removed
	over    record.LSN          // ends up to it were left out of the log, see sweepEnds
	swept   record.LSN          // notes of ends up to it were removed
	retry   retry

	mu    sync.Mutex // guards stats
	stats UpkeepStats
	pace  pace
}

// UpkeepStats are what upkeep has done since start, and the log's present sizes.
type UpkeepStats struct {
	// Segments of the log, their bytes on disk and those of their records decoded.
	Segments   int
	Bytes, Raw uint64
	// Dropped are bytes of segments that were given up whole, Rewritten those of
	// segments that were replaced, and Written those of what replaced them.
	Dropped, Rewritten, Written uint64
	// Damaged is the number of segments that could not be read for a rewrite.
	Damaged int
}

// retry is when to rewrite again after an error; dropping does not wait.
type retry struct {
	delay time.Duration
	at    time.Time
	last  string // what was logged
}

// startUpkeep starts the loop that calls Upkeep, if it is wanted.
func (s *Shard) startUpkeep() {
	u := &s.upkeep
	if s.cfg.Upkeep.Interval <= 0 {
		return
	}
	var ctx context.Context
	ctx, u.cancel = context.WithCancel(context.Background())
	u.timer = s.clock.NewTimer(s.cfg.Upkeep.Interval)
	u.done = s.work.Loop(work.Loop{Name: "upkeep", Turn: func(wait bool) work.State { return s.upkeepTurn(ctx, wait) }})
}

// stopUpkeep ends that loop.
func (s *Shard) stopUpkeep() error {
	if s.upkeep.cancel == nil {
		return nil
	}
	s.upkeep.cancel()
	return s.work.Wait(s.upkeep.done, nil)
}

// upkeepTurn does one piece of work after the other, and waits for an interval
// when there is none.
func (s *Shard) upkeepTurn(ctx context.Context, wait bool) work.State {
	u := &s.upkeep
	if wait && !u.more {
		select {
		case <-ctx.Done():
		case <-u.timer.C:
			u.more = true
		}
	}
	switch {
	case ctx.Err() != nil:
		u.timer.Stop()
		return work.Ended
	case !u.more && !work.Took(u.timer.C):
		return work.Idle
	}
	if u.more = s.Upkeep(ctx); !u.more {
		u.timer.Reset(s.cfg.Upkeep.Interval)
	}
	return work.Worked
}

// Upkeep does one bounded piece of work, a census, a drop or the rewrite of about
// a segment, and tells whether there may be more to do at once. Errors are logged
// and tried again later.
func (s *Shard) Upkeep(ctx context.Context) (more bool) {
	u := &s.upkeep
	u.step.Lock()
	defer u.step.Unlock()
	if s.Err() != nil {
		return false
	}
	more, err := s.upkeepStep(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil || errors.Is(err, commitlog.ErrClosed):
		return false
	case errors.Is(err, commitlog.ErrPoisoned):
		s.stopped(err)
		return false
	default:
		s.upkeepFailed(err)
	}
	return more && err == nil
}

// upkeepFailed puts the next rewrite off, and logs an error that is not the last one.
func (s *Shard) upkeepFailed(err error) {
	r := &s.upkeep.retry
	r.delay = min(max(2*r.delay, retryAfter), retryAtMost)
	if errors.Is(err, errNoRoom) {
		r.delay = retryAfter // nothing was done yet, and publishers may wait for it
	}
	r.at = s.clock.Now().Add(r.delay)
	if text := err.Error(); text != r.last {
		r.last = text
		s.logger.Warn("the log's upkeep failed and will be tried again",
			slog.Any("shard", s.cfg.Identity.Shard), slog.Duration("after", r.delay), slog.Any("error", err))
	}
}

// upkeepStep does the piece of work. u.step is held.
func (s *Shard) upkeepStep(ctx context.Context) (more bool, err error) {
	u := &s.upkeep
	segments := s.touchable()
	if len(segments) == 0 {
		return false, nil
	}
	if counted, err := s.count(ctx, segments); counted || err != nil {
		return true, err
	}
	p := s.plan(s.publishedOf(segments), s.rewriteRoom())
	switch {
	case len(p.drop) > 0:
		return true, s.drop(p.drop)
	case s.clock.Now().Before(u.retry.at):
		return false, nil
	case p.lacks > 0:
		return false, fmt.Errorf("%w: %d bytes", errNoRoom, p.lacks)
	case len(p.rewrite) == 0:
		return false, nil
	}
	if err := s.rewrite(ctx, p); err != nil {
		return false, err
	}
	u.retry = retry{}
	return true, nil
}

// touchable returns the segments that no start replays any more.
func (s *Shard) touchable() []commitlog.Info {
	durable := s.Durable()
	all := s.log.Segments()
	return slices.DeleteFunc(all, func(i commitlog.Info) bool { return !i.Sealed || i.Last > durable })
}

// publishedOf returns the oldest of the segments, up to the first one that may have
// acks that are not published.
func (s *Shard) publishedOf(segments []commitlog.Info) []commitlog.Info {
	published := record.LSN(s.published.Load())
	i := slices.IndexFunc(segments, func(i commitlog.Info) bool { return i.Last > published })
	if i < 0 {
		return segments
	}
	return segments[:i]
}

// count takes a census if the store has changed since the last one.
func (s *Shard) count(ctx context.Context, segments []commitlog.Info) (bool, error) {
	u := &s.upkeep
	s.checkpoint.mu.Lock()
	flushed, due := s.checkpoint.rounds, u.resting
	if s.checkpoint.gone > u.flushed {
		due = u.next
	}
	s.checkpoint.mu.Unlock()
	begin := s.clock.Now()
	if u.census != nil && (flushed == u.flushed || begin.Before(due)) {
		return false, nil
	}
	snap := s.store.Snapshot()
	c, err := takeCensus(ctx, snap, segments)
	if err == nil && u.over > u.swept {
		var all bool
		if all, err = s.sweepEnds(snap, u.over); all && err == nil {
			u.swept = u.over
		}
	}
	if err = errors.Join(err, snap.Close()); err != nil {
		return false, fmt.Errorf("count references: %w", err)
	}
	end := s.clock.Now()
	s.forgetFired(c.over)
	c.over = nil
	u.census, u.flushed = c, flushed
	u.next, u.resting = end.Add(censusShare*end.Sub(begin)), end.Add(restingShare*end.Sub(begin))
	s.unmark(segments[0].Base)
	maps.DeleteFunc(u.kept, func(base record.LSN, _ kept) bool { return !c.has(base) })
	maps.DeleteFunc(u.damaged, func(base record.LSN, _ bool) bool { return !c.has(base) })
	return true, nil
}

// unmark removes the marks of records that are gone, see markControl.
func (s *Shard) unmark(before record.LSN) {
	u := &s.upkeep
	if index.ControlBlock(before) == index.ControlBlock(u.marks) {
		return
	}
	u.marks = before
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending.DeleteRange(index.ControlKey(0), index.ControlKey(index.ControlBlock(before)))
}

// drop gives segments up.
func (s *Shard) drop(segments []commitlog.Info) error {
	bases, bytes := make([]record.LSN, 0, len(segments)), uint64(0)
	for _, i := range segments {
		bases, bytes = append(bases, i.Base), bytes+uint64(i.Bytes)
	}
	if err := s.log.Drop(bases...); err != nil {
		return err
	}
	u := &s.upkeep
	for _, base := range bases {
		u.census.forget(base)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stats.Dropped += bytes
	return nil
}

// rewrite replaces segments by one that holds what is needed of them.
func (s *Shard) rewrite(ctx context.Context, p plan) error {
	u := &s.upkeep
	controls := s.controlsSoFar()
	snap := s.store.Snapshot()
	k := newKeeper(snap, p.oldest)
	bases, bytes := make([]record.LSN, 0, len(p.rewrite)), uint64(0)
	for _, i := range p.rewrite {
		bases, bytes = append(bases, i.Base), bytes+uint64(i.Bytes)
	}
	came, err := s.log.Rewrite(ctx, bases, k.keep)
	if err = errors.Join(err, snap.Close()); err != nil {
		if errors.Is(err, commitlog.ErrCorrupt) && s.foundDamage(bases) {
			return nil
		}
		return err
	}
	for _, base := range bases {
		u.census.forget(base)
		delete(u.kept, base)
	}
	if came.Records > 0 {
		u.census.replaced(came.Base, k.live)
		u.keep(came.Base, kept{controls: k.controls, ends: k.ends, oldest: p.oldest, at: controls})
	}
	if p.oldest {
		u.over = max(u.over, p.rewrite[len(p.rewrite)-1].Last)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stats.Rewritten += bytes
	u.stats.Written += uint64(came.Bytes)
	return nil
}

// foundDamage looks which of the segments are damaged, reports that, and has them
// left alone from now on.
func (s *Shard) foundDamage(bases []record.LSN) (found bool) {
	u := &s.upkeep
	for _, base := range bases {
		faults, err := s.log.Faults(base)
		if err != nil || len(faults) == 0 {
			continue
		}
		found = true
		if u.damaged == nil {
			u.damaged = map[record.LSN]bool{}
		}
		u.damaged[base] = true
		for _, f := range faults {
			s.logger.Error("segment is damaged: it is left as it is, and reads of these records fail",
				slog.Any("shard", s.cfg.Identity.Shard), slog.Uint64("first_lsn", uint64(f.First)),
				slog.Uint64("last_lsn", uint64(f.Last)), slog.Any("error", f))
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.stats.Damaged = len(u.damaged)
	return found
}

func (u *upkeep) keep(base record.LSN, k kept) {
	if u.kept == nil {
		u.kept = map[record.LSN]kept{}
	}
	u.kept[base] = k
}

// UpkeepStats returns what upkeep has done, and the present sizes.
func (s *Shard) UpkeepStats() UpkeepStats {
	s.upkeep.mu.Lock()
	st := s.upkeep.stats
	s.upkeep.mu.Unlock()
	st.Bytes, st.Raw = s.Bytes(), 0
	all := s.log.Segments()
	st.Segments = len(all)
	for _, i := range all {
		st.Raw += uint64(i.Raw)
	}
	return st
}
