package route

// Size tells how many nodes and entries are in use, so that tests see what is left over.
func (t *Table[D]) Size() (nodes, entries int) {
	return t.tree.nodes.size(), t.entries.size()
}

// Size tells how many nodes are in use.
func (t *Topics[V]) Size() int { return t.tree.nodes.size() }

// Edges tells how many children are in the map of edges.
func (t *Table[D]) Edges() int { return len(t.tree.edges) }

// MatchCost is Match without a function; it returns the number of nodes visited.
func (t *Topics[V]) MatchCost(filter string) int {
	s := t.Search(filter)
	for s.Next(1, func(string, V) bool { return true }) {
	}
	return s.visited
}

func (s *slab[T]) size() int { return int(s.last) - len(s.free) }
