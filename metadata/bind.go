package metadata

import (
	"context"
	"fmt"
)

// CreateBinding binds a queue or an exchange to an exchange. Both ends must
// exist, else ErrNotFound; predeclared exchanges do.
//
// The transaction compares both ends, so that neither can be deleted before
// it, and writes the guard of the source, so that a delete of the source that
// was planned without this binding is planned again. The destination needs no
// guard: its delete covers all bindings below it.
func (c *Catalog) CreateBinding(ctx context.Context, b Binding) (created bool, err error) {
	what := b.describe("bind")
	value, err := encodeBinding(b)
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	guard, err := encode(marker{})
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	key, err := c.keys.binding(&b)
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	return c.write(ctx, what, func(v *view) (plan, error) {
		ends, err := v.ends(&b)
		if err != nil {
			return plan{}, err
		}
		p, err := v.planCreate(key, value, ends...)
		if err == nil && !Predeclared(b.Source) {
			p.ops = append(p.ops, Op{Key: v.keys.guard(b.Namespace, b.Source), Value: guard})
		}
		return p, err
	})
}

// DeleteBinding removes a binding and tells whether it was there.
func (c *Catalog) DeleteBinding(ctx context.Context, b Binding) (bool, error) {
	what := b.describe("unbind")
	key, err := c.keys.binding(&b)
	if err != nil {
		return false, fmt.Errorf("%s: %w", what, err)
	}
	return c.write(ctx, what, func(v *view) (plan, error) {
		there, err := v.exists(key)
		if err != nil {
			return plan{}, errNothing
		}
		return plan{compares: []Compare{there}, ops: []Op{{Key: key}}}, nil
	})
}

// ends are the conditions that both ends of a binding exist. A predeclared
// exchange exists if its namespace does.
func (v *view) ends(b *Binding) ([]Compare, error) {
	source, dest := v.keys.exchange(b.Namespace, b.Source), v.keys.queue(b.Namespace, b.Dest)
	if Predeclared(b.Source) {
		source = v.keys.namespace(b.Namespace)
	}
	switch {
	case b.ToExchange && Predeclared(b.Dest):
		dest = v.keys.namespace(b.Namespace)
	case b.ToExchange:
		dest = v.keys.exchange(b.Namespace, b.Dest)
	}
	first, err := v.exists(source)
	if err != nil {
		return nil, err
	}
	if dest == source {
		return []Compare{first}, nil
	}
	second, err := v.exists(dest)
	if err != nil {
		return nil, err
	}
	return []Compare{first, second}, nil
}

func (b *Binding) describe(verb string) string {
	kind := "queue"
	if b.ToExchange {
		kind = "exchange"
	}
	return fmt.Sprintf("%s %s %q to %q in namespace %q", verb, kind, b.Dest, b.Source, b.Namespace)
}
