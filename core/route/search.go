package route

import "strings"

// Search finds the topics with a value that a filter matches, in no particular order and
// in steps: between two calls of Next the index may change. A topic that has a value all
// the time is found once, one that gets or loses it meanwhile at the most once for each
// time that it got one.
type Search[V any] struct {
	t       *Topics[V]
	topic   []byte // of the node at hand, with a '/' before each level
	path    []step // from the root to that node; its nodes are pinned
	visited int
}

// step is a node that is being visited.
type step struct {
	node   uint32
	length int    // of the topic without the node's word
	rest   string // of the filter, from the node's children on, if more is true
	more   bool
	// begun tells that the node itself was looked at. Then child is the one of its
	// children to be visited next, 0 for none, and the last if single is true; childRest
	// and childMore are what remains of the filter for the children.
	begun, single bool
	child         uint32
	childRest     string
	childMore     bool
}

// Search begins a search. It holds on to nodes of the index until Next has returned
// false, or End is called.
func (t *Topics[V]) Search(filter string) *Search[V] {
	s := &Search[V]{t: t, topic: make([]byte, 0, 128)}
	if filterFault(filter) == "" {
		s.enter(t.root, filter, true)
	}
	return s
}

// Next goes on with the search, until fn has returned false, which ends it, or limit
// nodes were visited. It returns false when the search has ended. fn must not change the
// index.
func (s *Search[V]) Next(limit int, fn func(topic string, v V) bool) (more bool) {
	for n := 0; len(s.path) > 0; {
		at := &s.path[len(s.path)-1]
		switch {
		case !at.begun && n == limit:
			return true
		case !at.begun:
			n++
			if !s.begin(at, fn) {
				s.End()
				return false
			}
		case at.child != 0:
			s.enter(at.child, at.childRest, at.childMore)
		default:
			s.leave()
		}
	}
	return false
}

// End gives the search up.
func (s *Search[V]) End() {
	for len(s.path) > 0 {
		s.leave()
	}
}

// enter puts a node at the end of the path.
func (s *Search[V]) enter(i uint32, rest string, more bool) {
	length := len(s.topic)
	if n := s.t.tree.at(i); i != s.t.root {
		s.topic = append(append(s.topic, '/'), n.word...)
	}
	s.t.tree.pin(i)
	s.path = append(s.path, step{node: i, length: length, rest: rest, more: more})
}

// leave takes the last node off the path. The one before it goes on with the next child.
func (s *Search[V]) leave() {
	last := s.path[len(s.path)-1]
	s.path = s.path[:len(s.path)-1]
	s.topic = s.topic[:last.length]
	if len(s.path) > 0 {
		before := &s.path[len(s.path)-1]
		if before.child = 0; !before.single {
			before.child = s.unhidden(s.t.tree.at(last.node).next)
		}
	}
	s.t.tree.unpin(last.node)
}

// begin looks at a node, and for the first of its children that is to be visited. It
// returns false when fn has ended the search.
func (s *Search[V]) begin(at *step, fn func(string, V) bool) bool {
	s.visited++
	at.begun = true
	if !at.more {
		return s.found(at.node, fn)
	}
	tree := &s.t.tree
	level, rest, more := strings.Cut(at.rest, "/")
	switch level {
	case "#":
		if !s.found(at.node, fn) {
			return false
		}
		at.childRest, at.childMore = "#", true
		at.child = s.unhidden(tree.at(at.node).first)
	case "+":
		at.childRest, at.childMore = rest, more
		at.child = s.unhidden(tree.at(at.node).first)
	default:
		at.childRest, at.childMore, at.single = rest, more, true
		at.child = tree.find(at.node, literal, []byte(level))
	}
	return true
}

// found calls fn if the node has a value.
func (s *Search[V]) found(i uint32, fn func(string, V) bool) bool {
	n := s.t.tree.at(i)
	return n.flags&used == 0 || fn(string(s.topic[1:]), n.data)
}

// unhidden is the node, or the first of its siblings behind it, that wildcards match: all
// but first levels with '$'.
func (s *Search[V]) unhidden(i uint32) uint32 {
	for i != 0 {
		n := s.t.tree.at(i)
		if n.parent != s.t.root || n.word == "" || n.word[0] != '$' {
			return i
		}
		i = n.next
	}
	return 0
}
