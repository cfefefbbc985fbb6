package metadata

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// pageSize is how many keys are read from the store at once.
const pageSize = 1000

// Waits between attempts to reach a store that is away, and how long a watch
// must have lasted for the waits to begin with the shortest again.
const (
	shortestRetry = 50 * time.Millisecond
	longestRetry  = time.Second
)

// follow keeps the view current until ctx ends: watch, and whenever the watch
// broke, read everything again and tell the differences.
func (c *Catalog) follow(ctx context.Context) {
	retry := shortestRetry
	for fresh := c.Status().Connected; ctx.Err() == nil; fresh = false {
		if !fresh {
			if !pause(ctx, retry) {
				return
			}
			retry = min(2*retry, longestRetry)
			if err := c.reload(ctx); err != nil {
				c.log.Debug("metadata store still away", slog.Any("error", err))
				continue
			}
			c.setConnected(true)
			c.log.Info("following the metadata store again", slog.Int64("revision", int64(c.Status().Revision)))
		}
		begin := time.Now()
		err := c.store.Watch(ctx, c.keys.root, c.Status().Revision, c.advance)
		c.setConnected(false)
		if time.Since(begin) > longestRetry {
			retry = shortestRetry
		}
		if ctx.Err() == nil {
			c.log.Warn("watch of the metadata store ended", slog.Any("error", err))
		}
	}
}

// pause waits and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (c *Catalog) setConnected(connected bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.connected = connected
}

// advance takes the changes of one revision from the watch.
func (c *Catalog) advance(rev Revision, events []Event) {
	c.update(rev, func(v *view) ([]Change, []error) { return v.apply(rev, events) })
	kept := func(e Event) bool { return has(c.keys.kindOf(e.Key)) }
	if slices.ContainsFunc(events, kept) {
		c.saveSoon()
	}
}

// update changes the view, tells the listener, and then whoever waits for the
// revision.
func (c *Catalog) update(rev Revision, change func(*view) ([]Change, []error)) {
	c.deliver.Lock()
	defer c.deliver.Unlock()
	c.mu.Lock()
	changes, errs := change(c.view)
	c.access.Store(c.view.access)
	c.unreadable = append(c.unreadable, errs[:min(len(errs), maxUnreadable-len(c.unreadable))]...)
	c.mu.Unlock()
	for _, err := range errs {
		c.log.Error("metadata value ignored", slog.Any("error", err))
	}
	if c.listener != nil && len(changes) > 0 {
		c.listener(changes)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delivered = rev
	close(c.advanced)
	c.advanced = make(chan struct{})
}

// reload reads the whole catalog as of one revision and applies what differs.
func (c *Catalog) reload(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err := c.identify(ctx); err != nil {
		return asUnavailable(ctx, err)
	}
	now, rev, err := c.readAll(ctx)
	for errors.Is(err, ErrCompacted) { // slower than the compaction: from the start
		now, rev, err = c.readAll(ctx)
	}
	if err != nil {
		return asUnavailable(ctx, err)
	}
	c.update(rev, func(v *view) ([]Change, []error) { return v.replace(rev, now) })
	c.saveSoon()
	return nil
}

// identify gives a new store its identity, by which another store in its place
// is told from the one that the view is of.
func (c *Catalog) identify(ctx context.Context) error {
	key := c.keys.key(kindIdentity)
	if _, err := c.store.Get(ctx, key); !errors.Is(err, ErrNotFound) {
		return err
	}
	value, err := encode(identity{ID: rand.Text()})
	if err != nil {
		return err
	}
	_, _, err = c.store.Txn(ctx, []Compare{{Key: key}}, []Op{{Key: key, Value: value}})
	return err
}

// readAll reads all keys that the view keeps.
func (c *Catalog) readAll(ctx context.Context) (map[string]KV, Revision, error) {
	now := make(map[string]KV)
	var rev Revision
	for _, kind := range []string{
		kindIdentity, kindNamespaces, kindUsers, kindPermissions, kindTopics, kindPolicies,
		kindParameters, kindGlobals,
		kindExchanges, kindGuards, kindQueues, kindBindings,
	} {
		prefix := c.keys.prefix(kind)
		if kind == kindIdentity {
			prefix = c.keys.key(kind)
		}
		at, err := c.readPages(ctx, prefix, rev, func(kv KV) error {
			now[kv.Key] = kv
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		rev = at
	}
	return now, rev, nil
}

// readPages gives fn all keys with the prefix as of revision at, or as of now
// if at is 0, and returns that revision.
func (c *Catalog) readPages(ctx context.Context, prefix string, at Revision, fn func(KV) error) (Revision, error) {
	after := ""
	for {
		page, rev, err := c.store.Range(ctx, prefix, after, pageSize, at)
		if err != nil {
			return 0, err
		}
		at = rev
		for _, kv := range page {
			if err := fn(kv); err != nil {
				return 0, err
			}
			after = kv.Key
		}
		if len(page) < pageSize {
			return at, nil
		}
	}
}

// asUnavailable turns an exceeded deadline into ErrUnavailable: the store did
// not answer in time. A caller that gave up sees its own error.
func asUnavailable(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, ErrUnavailable) || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w: %s", ErrUnavailable, strings.TrimSpace(err.Error()))
}
