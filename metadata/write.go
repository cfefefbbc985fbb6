package metadata

import (
	"context"
	"errors"
	"fmt"
)

// maxAttempts is how often a write that others interfere with is planned anew.
const maxAttempts = 32

// errNothing tells that a plan found nothing to do.
var errNothing = errors.New("nothing to do")

// plan is a transaction made from the view.
type plan struct {
	compares []Compare
	ops      []Op
	// more tells that the write needs a further transaction after this one.
	more bool
}

// write plans a transaction on the view and applies it, again and again until
// no other write came between. It returns once the view and the listener have
// the outcome. A refusal by prepare, errNothing too, is believed only if the view
// is as new as the call.
func (c *Catalog) write(ctx context.Context, what string, prepare func(*view) (plan, error)) (applied bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	applied, err = c.attempt(ctx, prepare)
	if err != nil {
		return applied, fmt.Errorf("%s: %w", what, asUnavailable(ctx, err))
	}
	return applied, nil
}

func (c *Catalog) attempt(ctx context.Context, prepare func(*view) (plan, error)) (bool, error) {
	select {
	case <-c.stopped:
		return false, ErrClosed
	default:
	}
	if !c.Status().Connected {
		return false, ErrUnavailable
	}
	current := false
	for tries := 0; tries < maxAttempts; {
		p, refusal := c.plan(prepare)
		switch {
		case refusal != nil && current && errors.Is(refusal, errNothing):
			return false, nil
		case refusal != nil && current:
			return false, refusal
		case refusal != nil:
			if err := c.sync(ctx); err != nil {
				return false, err
			}
			current = true
			continue
		}
		applied, rev, err := c.store.Txn(ctx, p.compares, p.ops)
		switch {
		case err != nil:
			return false, err
		case applied:
			if err := c.wait(ctx, rev); err != nil || !p.more {
				return true, err
			}
		default:
			if err := c.catchUp(ctx, rev); err != nil {
				return false, err
			}
			current = true
			tries++
		}
	}
	return false, fmt.Errorf("others interfered %d times: %w", maxAttempts, ErrUnavailable)
}

func (c *Catalog) plan(prepare func(*view) (plan, error)) (plan, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return prepare(c.view)
}

// Current returns once what is looked up, and what the listener was told, is as new as
// the store was at the call. ErrUnavailable when the store is away.
func (c *Catalog) Current(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if !c.Status().Connected {
		return fmt.Errorf("read the metadata: %w", ErrUnavailable)
	}
	if err := c.sync(ctx); err != nil {
		return fmt.Errorf("read the metadata: %w", asUnavailable(ctx, err))
	}
	return nil
}

// sync returns once the view is as new as the store was at the call.
func (c *Catalog) sync(ctx context.Context) error {
	_, rev, err := c.store.Range(ctx, c.keys.key(kindSync), "", 1, 0)
	if err != nil {
		return err
	}
	return c.catchUp(ctx, rev)
}

// catchUp waits until the view has a revision that may lie outside of the
// catalog's keys, where the watch would never tell of it: then a write of its
// own makes the watch move.
func (c *Catalog) catchUp(ctx context.Context, rev Revision) error {
	if c.Status().Revision >= rev {
		return nil
	}
	value, err := encode(marker{})
	if err != nil {
		return err
	}
	_, rev, err = c.store.Txn(ctx, nil, []Op{{Key: c.keys.key(kindSync), Value: value}})
	if err != nil {
		return err
	}
	return c.wait(ctx, rev)
}

// wait returns once the view and the listener have the revision.
func (c *Catalog) wait(ctx context.Context, rev Revision) error {
	for {
		c.mu.RLock()
		delivered, advanced := c.delivered, c.advanced
		c.mu.RUnlock()
		if delivered >= rev {
			return nil
		}
		select {
		case <-advanced:
		case <-c.stopped:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("written as revision %d but not seen: %w", rev, ctx.Err())
		}
	}
}
