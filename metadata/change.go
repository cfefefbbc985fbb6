package metadata

// Change is one change of the catalog, given to the listener in order. Exactly
// one pointer is set.
type Change struct {
	Deleted bool
	// Lost, with Deleted, tells that nobody deleted the object: the store was
	// restored from an older state or replaced by another one. What belongs to
	// the object must be kept aside, never removed.
	Lost      bool
	Namespace *Namespace
	Policy    *Policy
	Exchange  *Exchange
	Queue     *Queue
	Binding   *Binding
}

// rank orders the changes of one revision: deletes first, from bindings down
// to namespaces, then puts from namespaces up to bindings.
func (c *Change) rank() int {
	height := 0
	switch {
	case c.Policy != nil:
		height = 1
	case c.Exchange != nil:
		height = 2
	case c.Queue != nil:
		height = 3
	case c.Binding != nil:
		height = 4
	}
	if c.Deleted {
		return -height - 1
	}
	return height
}

// appendChange adds the change of an object that listeners hear of.
func appendChange(changes []Change, object any, deleted bool) []Change {
	c := Change{Deleted: deleted}
	switch o := object.(type) {
	case Namespace:
		c.Namespace = &o
	case Policy:
		c.Policy = &o
	case Exchange:
		c.Exchange = &o
	case Queue:
		c.Queue = &o
	case Binding:
		c.Binding = &o
	default:
		return changes
	}
	return append(changes, c)
}
