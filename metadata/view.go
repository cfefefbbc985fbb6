package metadata

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// objectID names what has a name within a namespace.
type objectID struct {
	namespace, name string
}

// topicID names a topic permission.
type topicID struct {
	namespace, user, exchange string
}

// policiesOf are the policies of one kind.
func (v *view) policiesOf(operator bool) map[objectID]Policy {
	if operator {
		return v.operators
	}
	return v.policies
}

// accessOf counts a change of what logins and permissions depend on.
func (v *view) accessOf(object any) {
	switch object.(type) {
	case Namespace, User, Permission, TopicPermission:
		v.access++
	}
}

// entry is one key of the view: the stored bytes and what they mean.
type entry struct {
	rev    Revision
	value  []byte
	object any // see keys.decodeEntry
}

// view is the catalog as of one revision. It does no I/O and takes no locks:
// the catalog guards it. Queues are the most numerous of what it knows and
// are in the entries only once.
type view struct {
	keys     keys
	rev      Revision
	access   uint64 // counts changes of users, permissions and namespaces
	identity string
	entries  map[string]entry // by key

	namespaces  map[string]Namespace
	users       map[string]User
	permissions map[objectID]Permission // name is the user's
	topics      map[topicID]TopicPermission
	policies    map[objectID]Policy
	operators   map[objectID]Policy
	parameters  map[parameterID]Parameter
	globals     map[string]GlobalParameter
	exchanges   map[objectID]Exchange
	queues      map[objectID]string           // the key of each, see [view.queue]
	bindings    map[string]map[string]Binding // by namespace and key
}

func newView(k keys) *view {
	return &view{
		keys:        k,
		entries:     make(map[string]entry),
		namespaces:  make(map[string]Namespace),
		users:       make(map[string]User),
		permissions: make(map[objectID]Permission),
		topics:      make(map[topicID]TopicPermission),
		policies:    make(map[objectID]Policy),
		operators:   make(map[objectID]Policy),
		parameters:  make(map[parameterID]Parameter),
		globals:     make(map[string]GlobalParameter),
		exchanges:   make(map[objectID]Exchange),
		queues:      make(map[objectID]string),
		bindings:    make(map[string]map[string]Binding),
	}
}

// has tells whether the catalog keeps keys of this kind in memory.
func has(kind string) bool {
	_, known := levels[kind]
	return known || kind == kindGuards
}

// apply makes the changes of one revision and returns what the listener must
// know, in the listener's order. A value that can't be read leaves the object
// as it was, or absent, and is among the errors.
func (v *view) apply(rev Revision, events []Event) (changes []Change, errs []error) {
	v.rev = rev
	for _, e := range events {
		if !has(v.keys.kindOf(e.Key)) {
			continue
		}
		old, existed := v.entries[e.Key]
		switch {
		case e.Value == nil && existed:
			delete(v.entries, e.Key)
			changes = v.remove(changes, e.Key, old.object)
		case e.Value == nil:
		case existed && bytes.Equal(old.value, e.Value):
			old.rev = e.Revision
			v.entries[e.Key] = old
		default:
			object, err := v.keys.decodeEntry(e.Key, e.Value)
			if err != nil {
				errs = append(errs, err)
				v.entries[e.Key] = entry{rev: e.Revision, value: e.Value, object: old.object}
				continue
			}
			v.entries[e.Key] = entry{rev: e.Revision, value: e.Value, object: object}
			changes = v.put(changes, e.Key, object)
		}
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return a.rank() - b.rank() })
	return changes, errs
}

func (v *view) put(changes []Change, key string, object any) []Change {
	v.accessOf(object)
	switch o := object.(type) {
	case identity:
		v.identity = o.ID
		return changes
	case Namespace:
		v.namespaces[o.Name] = o
	case User:
		v.users[o.Name] = o
	case Permission:
		v.permissions[objectID{o.Namespace, o.User}] = o
	case TopicPermission:
		v.topics[topicID{o.Namespace, o.User, o.Exchange}] = o
	case Policy:
		v.policiesOf(o.Operator)[objectID{o.Namespace, o.Name}] = o
	case Parameter:
		v.parameters[parameterID{o.Namespace, o.Component, o.Name}] = o
	case GlobalParameter:
		v.globals[o.Name] = o
	case Exchange:
		v.exchanges[objectID{o.Namespace, o.Name}] = o
	case Queue:
		v.queues[objectID{o.Namespace, o.Name}] = key
	case Binding:
		if v.bindings[o.Namespace] == nil {
			v.bindings[o.Namespace] = make(map[string]Binding)
		}
		v.bindings[o.Namespace][key] = o
	}
	return appendChange(changes, object, false)
}

func (v *view) remove(changes []Change, key string, object any) []Change {
	v.accessOf(object)
	switch o := object.(type) {
	case Namespace:
		delete(v.namespaces, o.Name)
	case User:
		delete(v.users, o.Name)
	case Permission:
		delete(v.permissions, objectID{o.Namespace, o.User})
	case TopicPermission:
		delete(v.topics, topicID{o.Namespace, o.User, o.Exchange})
	case Policy:
		delete(v.policiesOf(o.Operator), objectID{o.Namespace, o.Name})
	case Parameter:
		delete(v.parameters, parameterID{o.Namespace, o.Component, o.Name})
	case GlobalParameter:
		delete(v.globals, o.Name)
	case Exchange:
		delete(v.exchanges, objectID{o.Namespace, o.Name})
	case Queue:
		delete(v.queues, objectID{o.Namespace, o.Name})
	case Binding:
		delete(v.bindings[o.Namespace], key)
	}
	return appendChange(changes, object, true)
}

func (v *view) queue(namespace, name string) (Queue, bool) {
	q, ok := v.entries[v.queues[objectID{namespace, name}]].object.(Queue)
	return q, ok
}

// replace turns the view into the state of a store as of rev. Deletions come
// before everything else; an exchange or queue that is another one now is
// deleted and put again, and so are its bindings.
func (v *view) replace(rev Revision, now map[string]KV) (changes []Change, errs []error) {
	lost := rev < v.rev || v.otherStore(now)
	var gone, puts []Event
	replaced := v.replaced(now)
	for key, old := range v.entries {
		_, exists := now[key]
		if !exists || touches(old.object, replaced) {
			gone = append(gone, Event{Key: key, Revision: rev})
		}
	}
	for key, kv := range now {
		puts = append(puts, Event{Key: key, Value: kv.Value, Revision: kv.ModRevision})
	}
	byKey := func(a, b Event) int { return strings.Compare(a.Key, b.Key) }
	slices.SortFunc(gone, byKey)
	slices.SortFunc(puts, byKey)
	deleted, _ := v.apply(rev, gone)
	for i := range deleted {
		deleted[i].Lost = lost
	}
	put, errs := v.apply(rev, puts)
	return append(deleted, put...), errs
}

// otherStore tells that the keys are of a store that was set up anew.
func (v *view) otherStore(now map[string]KV) bool {
	kv, ok := now[v.keys.key(kindIdentity)]
	if v.identity == "" || !ok {
		return v.identity != ""
	}
	id := identity{}
	return decode(kv.Value, &id) == nil && id.ID != v.identity
}

// end is an exchange or a queue, where bindings begin and end.
type end struct {
	objectID
	exchange bool
}

func endOf(object any) (end, bool) {
	switch o := object.(type) {
	case Exchange:
		return end{objectID{o.Namespace, o.Name}, true}, true
	case Queue:
		return end{objectID{o.Namespace, o.Name}, false}, true
	}
	return end{}, false
}

// replaced finds exchanges and queues that were deleted and made anew with
// other properties while the catalog did not watch.
func (v *view) replaced(now map[string]KV) map[end]bool {
	out := make(map[end]bool)
	for key, old := range v.entries {
		kv, exists := now[key]
		if e, ok := endOf(old.object); ok && exists && !bytes.Equal(kv.Value, old.value) {
			out[e] = true
		}
	}
	return out
}

// touches reports whether the object is one of the ends, or a binding of one.
func touches(object any, ends map[end]bool) bool {
	if e, ok := endOf(object); ok {
		return ends[e]
	}
	b, ok := object.(Binding)
	return ok && (ends[end{objectID{b.Namespace, b.Source}, true}] ||
		ends[end{objectID{b.Namespace, b.Dest}, b.ToExchange}])
}

// all describes the whole view to a new listener.
func (v *view) all() []Change {
	var changes []Change
	for _, key := range slices.Sorted(maps.Keys(v.entries)) {
		changes = appendChange(changes, v.entries[key].object, false)
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return a.rank() - b.rank() })
	return changes
}
