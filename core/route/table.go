package route

// Table routes the publishes of one namespace to destinations of type D, which stand
// for queues, streams or sessions. Any number of goroutines may call Match and the
// other reading methods at once, as long as none calls a method that changes it.
type Table[D comparable] struct {
	exchanges map[string]*exchange[D]
	topic     *exchange[D] // amq.topic, where the filters are
	queues    map[string]D // the default exchange's bindings
	dests     map[D]uint32 // newest entry of each destination
	entries   slab[entry[D]]
	tree      tree[uint32] // binding keys and filters of all topic exchanges; a node's data is its newest entry
}

// New makes a table with the predeclared exchanges.
func New[D comparable]() *Table[D] {
	t := &Table[D]{
		exchanges: make(map[string]*exchange[D]),
		queues:    make(map[string]D),
		dests:     make(map[D]uint32),
		tree:      newTree[uint32](),
	}
	for _, x := range predeclared() {
		made := t.newExchange(x)
		made.fixed = true
		t.exchanges[x.Name] = made
	}
	t.topic = t.exchanges[TopicExchange]
	return t
}

// entry is one binding or one filter of one destination. It is in two lists: of its
// place in the graph, and of its destination.
type entry[D comparable] struct {
	dest               D
	binding            *binding[D] // nil for a filter
	node               uint32      // in Table.tree, for topic exchanges
	next, prev         uint32      // in the list of its place
	destNext, destPrev uint32      // in the list of its destination
}

// alone tells that the entry is the only one of its destination, so that a match
// that finds it cannot find the destination again.
func (e *entry[D]) alone() bool { return e.destNext == 0 && e.destPrev == 0 }

// place is where an entry is looked for: a key, a node or a whole exchange.
type place[D comparable] struct {
	source *exchange[D]
	key    string
	node   uint32
}

// newest returns the head of the place's list.
func (t *Table[D]) newest(p place[D]) uint32 {
	switch {
	case p.node != 0:
		return t.tree.at(p.node).data
	case p.source.keys != nil:
		return p.source.keys[p.key]
	default:
		return p.source.list
	}
}

// setNewest changes the head of the place's list; 0 ends the place.
func (t *Table[D]) setNewest(p place[D], i uint32) {
	switch {
	case p.node != 0:
		n := t.tree.at(p.node)
		n.data = i
		if i != 0 {
			n.flags |= used
			return
		}
		n.flags &^= used
		t.tree.prune(p.node)
	case p.source.keys == nil:
		p.source.list = i
	case i == 0:
		delete(p.source.keys, p.key)
	default:
		p.source.keys[p.key] = i
	}
}

// placeOf returns where the entry is.
func (t *Table[D]) placeOf(e *entry[D]) place[D] {
	if e.binding == nil {
		return place[D]{source: t.topic, node: e.node}
	}
	return place[D]{source: e.binding.source, key: e.binding.Key, node: e.node}
}

// newestOf returns the head of the list of e's destination.
func (t *Table[D]) newestOf(e *entry[D]) uint32 {
	if e.toExchange() {
		return e.binding.target.in
	}
	return t.dests[e.dest]
}

func (t *Table[D]) setNewestOf(e *entry[D], i uint32) {
	switch {
	case e.toExchange():
		e.binding.target.in = i
	case i == 0:
		delete(t.dests, e.dest)
	default:
		t.dests[e.dest] = i
	}
}

func (e *entry[D]) toExchange() bool { return e.binding != nil && e.binding.target != nil }

// same tells whether two entries are one binding or one filter.
func (e *entry[D]) same(o *entry[D]) bool {
	if e.node != o.node || e.dest != o.dest {
		return false
	}
	if e.binding == nil || o.binding == nil {
		return e.binding == o.binding
	}
	return e.binding.same(o.binding)
}

// find returns the number of the entry that is the same as want, or 0. It goes along
// both lists that hold it and stops at the end of the shorter one, so that neither a
// key with many destinations nor a destination with many keys makes it slow.
func (t *Table[D]) find(p place[D], want *entry[D]) uint32 {
	i, j := t.newest(p), t.newestOf(want)
	for i != 0 && j != 0 {
		a, b := t.entries.at(i), t.entries.at(j)
		if a.same(want) {
			return i
		}
		if b.same(want) {
			return j
		}
		i, j = a.next, b.destNext
	}
	return 0
}

// insert puts a new entry first into its two lists.
func (t *Table[D]) insert(p place[D], made entry[D]) uint32 {
	made.next, made.destNext = t.newest(p), t.newestOf(&made)
	i := t.entries.alloc()
	*t.entries.at(i) = made
	if made.next != 0 {
		t.entries.at(made.next).prev = i
	}
	if made.destNext != 0 {
		t.entries.at(made.destNext).destPrev = i
	}
	t.setNewest(p, i)
	t.setNewestOf(&made, i)
	return i
}

// drop removes an entry. If it was the last binding from an auto-delete exchange,
// that exchange's name is returned.
func (t *Table[D]) drop(i uint32) (autoDeleted string, ok bool) {
	e := t.entries.at(i)
	if e.next != 0 {
		t.entries.at(e.next).prev = e.prev
	}
	if e.prev != 0 {
		t.entries.at(e.prev).next = e.next
	} else {
		t.setNewest(t.placeOf(e), e.next)
	}
	if e.destNext != 0 {
		t.entries.at(e.destNext).destPrev = e.destPrev
	}
	if e.destPrev != 0 {
		t.entries.at(e.destPrev).destNext = e.destNext
	} else {
		t.setNewestOf(e, e.destNext)
	}
	b := e.binding
	if b != nil && chooses(b.source.kind) {
		t.leave(b.source, b)
	}
	t.entries.release(i)
	if b == nil {
		return "", false
	}
	b.source.out.remove(b)
	return b.source.Name, b.source.AutoDelete && b.source.out.first == nil
}

// dropAll removes a destination's entries from i on, and returns the auto-delete
// exchanges that are without bindings then.
func (t *Table[D]) dropAll(i uint32) (autoDeleted []string) {
	for i != 0 {
		next := t.entries.at(i).destNext
		if name, ok := t.drop(i); ok {
			autoDeleted = append(autoDeleted, name)
		}
		i = next
	}
	return autoDeleted
}
