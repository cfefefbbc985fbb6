package metadata

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Bootstrap makes the first namespace and the first user with its permission,
// all or nothing. It does nothing when the namespace exists.
func (c *Catalog) Bootstrap(ctx context.Context, ns Namespace, u User, p Permission) (created bool, err error) {
	p.Namespace, p.User = ns.Name, u.Name
	var ops []Op
	for _, object := range []struct {
		key   string
		value any
	}{
		{c.keys.namespace(ns.Name), ns},
		{c.keys.key(kindUsers, u.Name), u},
		{c.keys.key(kindPermissions, ns.Name, u.Name), p},
	} {
		value, err := encode(object.value)
		if err != nil {
			return false, err
		}
		ops = append(ops, Op{Key: object.key, Value: value})
	}
	return c.write(ctx, fmt.Sprintf("make namespace %q with user %q", ns.Name, u.Name), func(v *view) (plan, error) {
		if _, there := v.entries[ops[0].Key]; there {
			return plan{}, errNothing
		}
		return plan{compares: []Compare{{Key: ops[0].Key}}, ops: ops}, nil
	})
}

// AccessGeneration changes whenever a user, a permission or a namespace does:
// what was found allowed under one generation need not be looked up again. It
// takes no lock.
func (c *Catalog) AccessGeneration() uint64 { return c.access.Load() }

// PutPermission sets what a user may do in a namespace. Both must exist, else
// ErrNotFound.
func (c *Catalog) PutPermission(ctx context.Context, p Permission) error {
	what := fmt.Sprintf("put permission of user %q in namespace %q", p.User, p.Namespace)
	return c.putAccess(ctx, what, c.keys.key(kindPermissions, p.Namespace, p.User), p, p.User, p.Namespace)
}

// PutTopicPermission sets which routing keys of a topic exchange a user may
// use. User and namespace must exist, else ErrNotFound; the exchange need not.
func (c *Catalog) PutTopicPermission(ctx context.Context, p TopicPermission) error {
	what := fmt.Sprintf("put topic permission of user %q in namespace %q", p.User, p.Namespace)
	return c.putAccess(ctx, what, c.keys.key(kindTopics, p.Namespace, p.User, p.Exchange), p, p.User, p.Namespace)
}

// putAccess puts what belongs to a user and a namespace.
func (c *Catalog) putAccess(ctx context.Context, what, key string, object any, user, namespace string) error {
	value, err := encode(object)
	if err != nil {
		return err
	}
	_, err = c.write(ctx, what, func(v *view) (plan, error) {
		who, err := v.exists(v.keys.key(kindUsers, user))
		if err != nil {
			return plan{}, err
		}
		home, err := v.exists(v.keys.namespace(namespace))
		if err != nil {
			return plan{}, err
		}
		return plan{compares: []Compare{who, home}, ops: []Op{{Key: key, Value: value}}}, nil
	})
	return err
}

// DeletePermission takes all that a user may do in a namespace.
func (c *Catalog) DeletePermission(ctx context.Context, user, namespace string) (bool, error) {
	what := fmt.Sprintf("delete permission of user %q in namespace %q", user, namespace)
	return c.remove(ctx, what, c.keys.key(kindPermissions, namespace, user))
}

// DeleteTopicPermission lifts the bounds on a user's routing keys of an exchange.
func (c *Catalog) DeleteTopicPermission(ctx context.Context, user, namespace, exchange string) (bool, error) {
	what := fmt.Sprintf("delete topic permission of user %q in namespace %q", user, namespace)
	return c.remove(ctx, what, c.keys.key(kindTopics, namespace, user, exchange))
}

// remove deletes one key and tells whether it was there.
func (c *Catalog) remove(ctx context.Context, what, key string) (bool, error) {
	return c.write(ctx, what, func(v *view) (plan, error) {
		there, err := v.exists(key)
		if err != nil {
			return plan{}, errNothing
		}
		return plan{compares: []Compare{there}, ops: []Op{{Key: key}}}, nil
	})
}

// DeleteUser deletes a user with all its permissions. A permission that is put
// at the same time can't be left behind: it needs the user.
func (c *Catalog) DeleteUser(ctx context.Context, name string) (bool, error) {
	return c.write(ctx, fmt.Sprintf("delete user %q", name), func(v *view) (plan, error) {
		key := v.keys.key(kindUsers, name)
		there, err := v.exists(key)
		if err != nil {
			return plan{}, errNothing
		}
		var ops []Op
		for id := range v.permissions {
			if id.name == name {
				ops = append(ops, Op{Key: v.keys.key(kindPermissions, id.namespace, name)})
			}
		}
		for id := range v.topics {
			if id.user == name {
				ops = append(ops, Op{Key: v.keys.key(kindTopics, id.namespace, name, id.exchange)})
			}
		}
		if room := MaxTxnOps - 1; len(ops) > room {
			return plan{compares: []Compare{there}, ops: ops[:room], more: true}, nil
		}
		return plan{compares: []Compare{there}, ops: append(ops, Op{Key: key})}, nil
	})
}

// DeleteNamespace deletes a namespace with everything in it.
func (c *Catalog) DeleteNamespace(ctx context.Context, name string) (bool, error) {
	return c.write(ctx, fmt.Sprintf("delete namespace %q", name), func(v *view) (plan, error) {
		key := v.keys.namespace(name)
		there, err := v.exists(key)
		if err != nil {
			return plan{}, errNothing
		}
		ops := []Op{{Key: key}}
		for _, kind := range []string{
			kindPermissions, kindTopics, kindPolicies, kindParameters, kindExchanges, kindGuards, kindQueues, kindBindings,
		} {
			ops = append(ops, Op{Key: v.keys.prefix(kind, name), Prefix: true})
		}
		return plan{compares: []Compare{there}, ops: ops}, nil
	})
}

// ReplaceHash gives a user another password hash if it still has the old one.
func (c *Catalog) ReplaceHash(ctx context.Context, user string, old, hash Secret) (bool, error) {
	key := c.keys.key(kindUsers, user)
	return c.write(ctx, fmt.Sprintf("replace password hash of user %q", user), func(v *view) (plan, error) {
		u, ok := v.users[user]
		if !ok || u.Hash != old {
			return plan{}, errNothing
		}
		there, err := v.exists(key)
		if err != nil {
			return plan{}, err
		}
		u.Hash = hash
		value, err := encode(u)
		return plan{compares: []Compare{there}, ops: []Op{{Key: key, Value: value}}}, err
	})
}

// Users returns all users by name.
func (c *Catalog) Users() []User {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return sortedValues(c.view.users, func(a, b User) int { return strings.Compare(a.Name, b.Name) })
}

// Permissions returns all permissions by namespace and user.
func (c *Catalog) Permissions() []Permission {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return sortedValues(c.view.permissions, func(a, b Permission) int {
		return compareAll(a.Namespace, b.Namespace, a.User, b.User)
	})
}

// TopicPermissions returns all topic permissions by namespace, user and exchange.
func (c *Catalog) TopicPermissions() []TopicPermission {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return sortedValues(c.view.topics, func(a, b TopicPermission) int {
		return compareAll(a.Namespace, b.Namespace, a.User, b.User, a.Exchange, b.Exchange)
	})
}

// TopicPermission returns the bounds on a user's routing keys of an exchange.
func (c *Catalog) TopicPermission(user, namespace, exchange string) (TopicPermission, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.view.topics[topicID{namespace, user, exchange}]
	return p, ok
}

func sortedValues[K comparable, V any](m map[K]V, compare func(a, b V) int) []V {
	out := make([]V, 0, len(m))
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, compare)
	return out
}

// compareAll compares pairs of strings until one differs.
func compareAll(pairs ...string) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := strings.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
