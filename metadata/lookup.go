package metadata

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// The lookups answer from memory and do not allocate on a hit. Args of what
// they return are shared and must not be changed.

// Namespaces returns all namespaces by name.
func (c *Catalog) Namespaces() []Namespace {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.view.namespaces), func(a, b Namespace) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// Namespace returns the namespace of that name.
func (c *Catalog) Namespace(name string) (Namespace, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	ns, ok := c.view.namespaces[name]
	return ns, ok
}

// User returns the user of that name.
func (c *Catalog) User(name string) (User, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	u, ok := c.view.users[name]
	return u, ok
}

// Permission returns what a user may do in a namespace.
func (c *Catalog) Permission(user, namespace string) (Permission, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	p, ok := c.view.permissions[objectID{namespace, user}]
	return p, ok
}

// Exchange returns the exchange of that name, a predeclared one too.
func (c *Catalog) Exchange(namespace, name string) (Exchange, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.view.exchange(namespace, name)
}

func (v *view) exchange(namespace, name string) (Exchange, bool) {
	if kind, ok := predeclared[name]; ok {
		_, exists := v.namespaces[namespace]
		return Exchange{Namespace: namespace, Name: name, Type: kind}, exists
	}
	e, ok := v.exchanges[objectID{namespace, name}]
	return e, ok
}

// Queue returns the queue of that name.
func (c *Catalog) Queue(namespace, name string) (Queue, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.view.queue(namespace, name)
}

// Exchanges returns the exchanges of a namespace by name, without the
// predeclared ones.
func (c *Catalog) Exchanges(namespace string) []Exchange {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Exchange
	for id, e := range c.view.exchanges {
		if id.namespace == namespace {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b Exchange) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Queues returns the queues of a namespace by name.
func (c *Catalog) Queues(namespace string) []Queue {
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []Queue
	for id := range c.view.queues {
		if q, ok := c.view.queue(id.namespace, id.name); ok && id.namespace == namespace {
			out = append(out, q)
		}
	}
	slices.SortFunc(out, func(a, b Queue) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Bindings returns the bindings of a namespace by source, destination and key.
func (c *Catalog) Bindings(namespace string) []Binding {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.SortedFunc(maps.Values(c.view.bindings[namespace]), func(a, b Binding) int {
		return cmp.Or(
			strings.Compare(a.Source, b.Source),
			strings.Compare(a.Dest, b.Dest),
			strings.Compare(a.Key, b.Key),
		)
	})
}
