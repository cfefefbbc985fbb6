package shard

import (
	"context"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// idleHaste is how many times faster a rewrite may be while nothing is committed.
const idleHaste = 8

// pace holds rewriting back, so that it does not take the disk and the processor
// from those who publish.
type pace struct {
	mu   sync.Mutex // guards last
	last record.LSN // committed when a rewrite last paused
}

// throttle implements commitlog.Config.Throttle: a pause for the bytes that a
// rewrite has read and written, longer while others commit.
func (s *Shard) throttle(ctx context.Context, bytes int) error {
	rate := s.cfg.Upkeep.BytesPerSecond
	if rate <= 0 {
		return nil
	}
	p := &s.upkeep.pace
	p.mu.Lock()
	now := s.Committed()
	idle := now == p.last
	p.last = now
	p.mu.Unlock()
	wait := time.Duration(float64(bytes) / float64(rate) * float64(time.Second))
	if idle {
		wait /= idleHaste
	}
	t := s.clock.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
