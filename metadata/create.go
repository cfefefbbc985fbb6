package metadata

import (
	"context"
	"fmt"
)

// The Create methods put the object if there is none of that name and return
// the one that is there now; created tells which. The Delete methods tell
// whether it was there. Deleting an exchange or queue deletes its bindings in
// the same transaction.

// CreateNamespace makes a namespace; its predeclared exchanges come with it.
func (c *Catalog) CreateNamespace(ctx context.Context, ns Namespace) (created bool, err error) {
	value, err := encode(ns)
	if err != nil {
		return false, err
	}
	key := c.keys.namespace(ns.Name)
	return c.write(ctx, fmt.Sprintf("create namespace %q", ns.Name), func(v *view) (plan, error) {
		return v.planCreate(key, value)
	})
}

// PutNamespace makes a namespace or replaces the settings of the one of that name.
func (c *Catalog) PutNamespace(ctx context.Context, ns Namespace) error {
	return c.put(ctx, fmt.Sprintf("put namespace %q", ns.Name), c.keys.namespace(ns.Name), ns)
}

// CreateUser makes a user.
func (c *Catalog) CreateUser(ctx context.Context, u User) (created bool, err error) {
	value, err := encode(u)
	if err != nil {
		return false, err
	}
	key := c.keys.key(kindUsers, u.Name)
	return c.write(ctx, fmt.Sprintf("create user %q", u.Name), func(v *view) (plan, error) {
		return v.planCreate(key, value)
	})
}

// PutUser makes a user or replaces the one of that name.
func (c *Catalog) PutUser(ctx context.Context, u User) error {
	return c.put(ctx, fmt.Sprintf("put user %q", u.Name), c.keys.key(kindUsers, u.Name), u)
}

func (c *Catalog) put(ctx context.Context, what, key string, object any) error {
	value, err := encode(object)
	if err != nil {
		return err
	}
	_, err = c.write(ctx, what, func(*view) (plan, error) {
		return plan{ops: []Op{{Key: key, Value: value}}}, nil
	})
	return err
}

// CreateExchange makes an exchange. A predeclared name gives the predeclared
// exchange. A namespace that does not exist is ErrNotFound.
func (c *Catalog) CreateExchange(ctx context.Context, e Exchange) (now Exchange, created bool, err error) {
	what := fmt.Sprintf("create exchange %q in namespace %q", e.Name, e.Namespace)
	value, err := encodeExchange(e)
	if err != nil {
		return Exchange{}, false, fmt.Errorf("%s: %w", what, err)
	}
	key := c.keys.exchange(e.Namespace, e.Name)
	created, err = c.write(ctx, what, func(v *view) (plan, error) {
		home, err := v.exists(v.keys.namespace(e.Namespace))
		if err != nil {
			return plan{}, err
		}
		if there, ok := v.exchange(e.Namespace, e.Name); ok {
			now = there
			return plan{}, errNothing
		}
		if _, ok := v.entries[key]; ok {
			return plan{}, fmt.Errorf("exists, but can't be read: %w", ErrVersion)
		}
		return v.planCreate(key, value, home)
	})
	if created {
		now, err = readBack[Exchange](c.keys, key, value, err)
	}
	return now, created, err
}

// CreateQueue makes a queue. A namespace that does not exist is ErrNotFound.
func (c *Catalog) CreateQueue(ctx context.Context, q Queue) (now Queue, created bool, err error) {
	what := fmt.Sprintf("create queue %q in namespace %q", q.Name, q.Namespace)
	value, err := encodeQueue(q)
	if err != nil {
		return Queue{}, false, fmt.Errorf("%s: %w", what, err)
	}
	key := c.keys.queue(q.Namespace, q.Name)
	created, err = c.write(ctx, what, func(v *view) (plan, error) {
		home, err := v.exists(v.keys.namespace(q.Namespace))
		if err != nil {
			return plan{}, err
		}
		if there, ok := v.queue(q.Namespace, q.Name); ok {
			now = there
			return plan{}, errNothing
		}
		if _, ok := v.entries[key]; ok {
			return plan{}, fmt.Errorf("exists, but can't be read: %w", ErrVersion)
		}
		return v.planCreate(key, value, home)
	})
	if created {
		now, err = readBack[Queue](c.keys, key, value, err)
	}
	return now, created, err
}

// readBack gives a new object as every reader will see it.
func readBack[T any](k keys, key string, value []byte, err error) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	object, err := k.decodeEntry(key, value)
	if err != nil {
		return zero, err
	}
	now, ok := object.(T)
	if !ok {
		return zero, fmt.Errorf("key %q holds a %T: %w", key, object, ErrInvalid)
	}
	return now, nil
}

// exists is the condition that a key stays as the view has it.
func (v *view) exists(key string) (Compare, error) {
	e, ok := v.entries[key]
	if !ok {
		return Compare{}, fmt.Errorf("%s: %w", key, ErrNotFound)
	}
	return Compare{Key: key, Revision: e.rev}, nil
}

func (v *view) planCreate(key string, value []byte, conditions ...Compare) (plan, error) {
	if _, ok := v.entries[key]; ok {
		return plan{}, errNothing
	}
	return plan{
		compares: append(conditions, Compare{Key: key}),
		ops:      []Op{{Key: key, Value: value}},
	}, nil
}
