package bench

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	lookEvery = 50 * time.Millisecond // how often a backlog run looks at its counters
	stalled   = 30 * time.Second      // without progress for this long a backlog run fails
)

// limit returns how many messages a publisher publishes, 0 for no limit.
func (o *Options) limit(publisher int) uint64 {
	if o.Mode != modeBacklog {
		return 0
	}
	n := o.Messages / uint64(o.Clients)
	if uint64(publisher) < o.Messages%uint64(o.Clients) {
		n++
	}
	return n
}

// backlog is a run that publishes with nobody consuming, and then drains.
type backlog struct {
	*bench
	Backlog
	wait time.Duration // without progress until the run fails
}

// measureBacklog publishes as many messages as asked for, lets the broker
// settle, and consumes them all.
func (o *Options) measureBacklog(ctx context.Context, d driver) (*Result, error) {
	living, stop := context.WithCancel(ctx)
	defer stop()
	b := &backlog{bench: &bench{options: o, driver: d}, wait: stalled}
	b.group, living = errgroup.WithContext(living)
	before, after, err := b.fill(living)
	if err == nil {
		err = b.settle(living)
	}
	if err == nil {
		err = b.empty(living)
	}
	stop()
	if err := errors.Join(err, b.group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	r := b.result(before, after)
	r.Backlog = &b.Backlog
	return r, nil
}

// fill publishes everything and waits for the confirms.
func (b *backlog) fill(ctx context.Context) (before, after reading, err error) {
	publishers, err := b.connectPublishers(ctx)
	if err != nil {
		return before, after, err
	}
	if before, err = b.snapshot(); err != nil {
		return before, after, err
	}
	for _, p := range publishers {
		b.group.Go(func() error { return p.read(ctx) })
		b.group.Go(func() error { return p.write(ctx) })
	}
	all := b.options.Messages
	start := before.at
	var first, last time.Time
	var firstAt, lastFrom uint64
	err = b.until(ctx, all, func() uint64 {
		_, confirmed := b.sent()
		if first.IsZero() && confirmed >= all/10 {
			first, firstAt = time.Now(), confirmed
		}
		if last.IsZero() && confirmed >= all-all/10 {
			last, lastFrom = time.Now(), confirmed
		}
		return confirmed
	})
	if err != nil {
		return before, after, fmt.Errorf("publish: %w", err)
	}
	after, err = b.snapshot()
	b.FirstRate = rate(firstAt, first.Sub(start))
	b.LastRate = rate(all-lastFrom, after.at.Sub(last))
	return before, after, err
}

// settle leaves the broker alone for a while.
func (b *backlog) settle(ctx context.Context) (err error) {
	if b.Published, err = dataBytes(b.options.Data); err != nil {
		return err
	}
	end := time.Now().Add(b.options.Settle)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for time.Now().Before(end) {
		if err := b.look(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	b.Settled, err = dataBytes(b.options.Data)
	return err
}

// empty consumes everything.
func (b *backlog) empty(ctx context.Context) error {
	start := time.Now()
	if err := b.startConsumers(ctx); err != nil {
		return err
	}
	all := b.options.Messages
	if !b.driver.competing() {
		all *= uint64(len(b.sinks))
	}
	err := b.until(ctx, all, func() (received uint64) {
		for _, s := range b.sinks {
			received += s.received.load()
		}
		return received
	})
	if err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	b.DrainRate = rate(all, time.Since(start))
	return nil
}

// until looks at a count until it has reached all, or does not move any more.
func (b *backlog) until(ctx context.Context, all uint64, count func() uint64) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	moved, last := time.Now(), uint64(0)
	for {
		n := count()
		if n >= all {
			return nil
		}
		if n > last {
			moved, last = time.Now(), n
		}
		if time.Since(moved) > b.wait {
			return fmt.Errorf("%d messages of %d after %v without another", n, all, b.wait)
		}
		if err := b.look(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// look notes how much memory the broker has.
func (b *backlog) look() error {
	if b.options.PID == 0 {
		return nil
	}
	rss, err := processMemory(b.options.PID)
	b.PeakMemory = max(b.PeakMemory, rss)
	return err
}

func rate(n uint64, took time.Duration) float64 { return float64(n) / took.Seconds() }

// dataBytes adds up the files of a directory, 0 for none. Files that go
// meanwhile do not count.
func dataBytes(dir string) (total uint64, err error) {
	if dir == "" {
		return 0, nil
	}
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				total += uint64(info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("size of the data directory: %w", err)
	}
	return total, nil
}
