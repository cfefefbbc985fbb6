package route

import "hash/maphash"

// Bits of a node's flags: what edge leads to it, what edges leave it.
const (
	literal uint32 = 0 // the edge takes one word, equal to node.word
	star    uint32 = 1 // the edge takes any one word
	hash    uint32 = 2 // the edge takes any number of words, also none
	kinds   uint32 = 3 // mask of the three above

	hasStar uint32 = 1 << 2 // one child is a star
	hasHash uint32 = 1 << 3 // one child is a hash
	indexed uint32 = 1 << 4 // the children are in tree.edges
	used    uint32 = 1 << 5 // the node carries a value and is not pruned

	// onePin is added for each search that the node is on the path of: it is not pruned.
	onePin uint32 = 1 << 8
)

// fewChildren is how many children are searched one by one. A node with more
// has them in the tree's map of edges.
const fewChildren = 4

// node is a place in a tree: a sequence of words from its root.
type node[V any] struct {
	word       string
	parent     uint32 // 0 for a root
	first      uint32 // newest child
	next, prev uint32 // siblings
	chain      uint32 // next child of the parent with the same edge hash
	flags      uint32
	data       V
}

func (n *node[V]) is(kind uint32, word []byte) bool {
	return n.flags&kinds == kind && n.word == string(word)
}

// edge names the children of a node whose words have the same hash.
type edge struct{ parent, sum uint32 }

// tree is a forest of words. Adding, finding and removing a child does not
// depend on how many there are.
type tree[V any] struct {
	nodes slab[node[V]]
	edges map[edge]uint32
	seed  maphash.Seed
}

func newTree[V any]() tree[V] {
	return tree[V]{edges: make(map[edge]uint32), seed: maphash.MakeSeed()}
}

// newRoot adds a node without a parent. It stays until it is released.
func (t *tree[V]) newRoot() uint32 { return t.nodes.alloc() }

func (t *tree[V]) at(i uint32) *node[V] { return t.nodes.at(i) }

func (t *tree[V]) edge(parent, kind uint32, word []byte) edge {
	return edge{parent, uint32(maphash.Bytes(t.seed, word)) + kind}
}

// find returns the child of parent over the edge, or 0.
func (t *tree[V]) find(parent, kind uint32, word []byte) uint32 {
	p := t.at(parent)
	if p.flags&indexed != 0 {
		i := t.edges[t.edge(parent, kind, word)]
		for i != 0 && !t.at(i).is(kind, word) {
			i = t.at(i).chain
		}
		return i
	}
	i := p.first
	for i != 0 && !t.at(i).is(kind, word) {
		i = t.at(i).next
	}
	return i
}

// child returns the child of parent over the edge, adding it when missing.
func (t *tree[V]) child(parent, kind uint32, word []byte) uint32 {
	if i := t.find(parent, kind, word); i != 0 {
		return i
	}
	i := t.nodes.alloc()
	n, p := t.at(i), t.at(parent)
	n.word, n.parent, n.flags = string(word), parent, kind
	n.next = p.first
	if p.first != 0 {
		t.at(p.first).prev = i
	}
	p.first = i
	p.flags |= leaving(kind)
	t.indexChild(p, i)
	return i
}

// leaving returns the flag of a parent that has a child of the kind.
func leaving(kind uint32) uint32 {
	switch kind {
	case star:
		return hasStar
	case hash:
		return hasHash
	default:
		return 0
	}
}

// indexChild puts the new child i into the map of edges, with its siblings when
// p has just got too many to be searched one by one.
func (t *tree[V]) indexChild(p *node[V], i uint32) {
	if p.flags&indexed != 0 {
		t.addEdge(i)
		return
	}
	count := 0
	for c := p.first; c != 0; c = t.at(c).next {
		count++
	}
	if count <= fewChildren {
		return
	}
	p.flags |= indexed
	for c := p.first; c != 0; c = t.at(c).next {
		t.addEdge(c)
	}
}

func (t *tree[V]) edgeTo(n *node[V]) edge {
	return t.edge(n.parent, n.flags&kinds, []byte(n.word))
}

func (t *tree[V]) addEdge(i uint32) {
	n := t.at(i)
	e := t.edgeTo(n)
	n.chain = t.edges[e]
	t.edges[e] = i
}

func (t *tree[V]) removeEdge(i uint32) {
	n := t.at(i)
	e := t.edgeTo(n)
	head := t.edges[e]
	switch {
	case head != i:
		for t.at(head).chain != i {
			head = t.at(head).chain
		}
		t.at(head).chain = n.chain
	case n.chain != 0:
		t.edges[e] = n.chain
	default:
		delete(t.edges, e)
	}
}

// pin keeps the node in its place until unpin.
func (t *tree[V]) pin(i uint32) { t.at(i).flags += onePin }

func (t *tree[V]) unpin(i uint32) {
	t.at(i).flags -= onePin
	t.prune(i)
}

// prune removes the node i and then its ancestors as long as they have neither
// value nor children and nothing is at them. A root stays.
func (t *tree[V]) prune(i uint32) {
	for {
		n := t.at(i)
		if n.parent == 0 || n.first != 0 || n.flags&used != 0 || n.flags >= onePin {
			return
		}
		parent := n.parent
		t.remove(i)
		i = parent
	}
}

func (t *tree[V]) remove(i uint32) {
	n := t.at(i)
	p := t.at(n.parent)
	if n.prev == 0 {
		p.first = n.next
	} else {
		t.at(n.prev).next = n.next
	}
	if n.next != 0 {
		t.at(n.next).prev = n.prev
	}
	if p.flags&indexed != 0 {
		t.removeEdge(i)
	}
	p.flags &^= leaving(n.flags & kinds)
	if p.first == 0 {
		p.flags &^= indexed
	}
	t.nodes.release(i)
}
