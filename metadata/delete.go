package metadata

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// DeleteQueue deletes a queue with its bindings. A bind at the same time can't
// leave a binding behind: it needs the queue at the revision that ends here.
func (c *Catalog) DeleteQueue(ctx context.Context, namespace, name string) (bool, error) {
	what := fmt.Sprintf("delete queue %q in namespace %q", name, namespace)
	return c.write(ctx, what, func(v *view) (plan, error) {
		key := v.keys.queue(namespace, name)
		there, err := v.exists(key)
		if err != nil {
			return plan{}, errNothing
		}
		return plan{
			compares: []Compare{there},
			ops: []Op{
				{Key: key},
				{Key: v.keys.prefix(kindBindings, namespace, destKind(false), name), Prefix: true},
			},
		}, nil
	})
}

// DeleteExchange deletes an exchange with its bindings in both directions. A
// bind from it at the same time writes its guard, which makes the delete plan
// again. One that is bound to more than a hundred destinations loses most of
// the bindings in earlier transactions.
func (c *Catalog) DeleteExchange(ctx context.Context, namespace, name string) (bool, error) {
	what := fmt.Sprintf("delete exchange %q in namespace %q", name, namespace)
	if Predeclared(name) {
		return false, fmt.Errorf("%s: predeclared: %w", what, ErrInvalid)
	}
	return c.write(ctx, what, func(v *view) (plan, error) { return v.planDeleteExchange(namespace, name) })
}

func (v *view) planDeleteExchange(namespace, name string) (plan, error) {
	key, guard := v.keys.exchange(namespace, name), v.keys.guard(namespace, name)
	there, err := v.exists(key)
	if err != nil {
		return plan{}, errNothing
	}
	ops := []Op{
		{Key: key},
		{Key: guard},
		{Key: v.keys.prefix(kindBindings, namespace, destKind(true), name), Prefix: true},
	}
	outgoing := v.outgoing(namespace, name)
	if room := MaxTxnOps - len(ops); len(outgoing) > room {
		return plan{compares: []Compare{there}, ops: outgoing[:room], more: true}, nil
	}
	return plan{
		compares: []Compare{there, {Key: guard, Revision: v.entries[guard].rev}},
		ops:      append(ops, outgoing...),
	}, nil
}

// outgoing deletes all bindings from an exchange, with one op for each
// destination.
func (v *view) outgoing(namespace, source string) []Op {
	prefixes := make(map[string]bool)
	for _, b := range v.bindings[namespace] {
		if b.Source == source {
			prefixes[v.keys.prefix(kindBindings, namespace, destKind(b.ToExchange), b.Dest, source)] = true
		}
	}
	var ops []Op
	for _, prefix := range slices.Sorted(maps.Keys(prefixes)) {
		ops = append(ops, Op{Key: prefix, Prefix: true})
	}
	return ops
}
