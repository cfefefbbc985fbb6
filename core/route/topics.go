package route

import "strings"

// Topics maps MQTT topics to values, and finds those that a filter matches without
// looking at branches that it does not. It is the index of retained messages. Any number
// of goroutines may read at once, as long as none calls Put or Delete.
type Topics[V any] struct {
	tree tree[V] // a root's levels are the first of the topics, in topic form
	root uint32
	n    int
}

// NewTopics makes an empty index.
func NewTopics[V any]() *Topics[V] {
	t := &Topics[V]{tree: newTree[V]()}
	t.root = t.tree.newRoot()
	return t
}

// Len is how many topics have a value.
func (t *Topics[V]) Len() int { return t.n }

// Put gives the topic a value, in place of an earlier one. The topic is not checked:
// see ValidTopic. The index keeps no part of the string.
func (t *Topics[V]) Put(topic string, v V) {
	i := t.root
	rest, more := topic, true
	for more {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		i = t.tree.child(i, literal, []byte(level))
	}
	n := t.tree.at(i)
	if n.flags&used == 0 {
		n.flags |= used
		t.n++
	}
	n.data = v
}

// Get returns the topic's value.
func (t *Topics[V]) Get(topic string) (v V, ok bool) {
	i := t.find(topic)
	if i == 0 {
		return v, false
	}
	return t.tree.at(i).data, true
}

// Delete removes the topic's value and tells whether there was one.
func (t *Topics[V]) Delete(topic string) bool {
	i := t.find(topic)
	if i == 0 {
		return false
	}
	n := t.tree.at(i)
	var none V
	n.data = none
	n.flags &^= used
	t.tree.prune(i)
	t.n--
	return true
}

// find returns the node of a topic that has a value, or 0.
func (t *Topics[V]) find(topic string) uint32 {
	i := t.root
	rest, more := topic, true
	for more {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if i = t.tree.find(i, literal, []byte(level)); i == 0 {
			return 0
		}
	}
	if t.tree.at(i).flags&used == 0 {
		return 0
	}
	return i
}

// Match calls fn for each topic with a value that the filter matches, in no particular
// order, until fn returns false. fn must not change the index. A filter that ValidFilter
// refuses matches nothing. The work is bounded by the topics' nodes on branches that the
// filter's levels so far match, each visited once.
func (t *Topics[V]) Match(filter string, fn func(topic string, v V) bool) {
	if filterFault(filter) != "" {
		return
	}
	s := search[V]{tree: &t.tree, root: t.root, topic: make([]byte, 0, 128), fn: fn}
	s.walk(t.root, filter, true)
}

// search is the state of one call of [Topics.Match].
type search[V any] struct {
	tree    *tree[V]
	root    uint32
	topic   []byte // of the node at hand, with a '/' before each level
	fn      func(string, V) bool
	visited int
}

// walk visits node i, from where the levels of filter go on if more is true. It returns
// false when fn has ended the search.
func (s *search[V]) walk(i uint32, filter string, more bool) bool {
	s.visited++
	if !more {
		return s.found(i)
	}
	level, rest, more := strings.Cut(filter, "/")
	switch level {
	case "#":
		return s.found(i) && s.each(i, "#", true)
	case "+":
		return s.each(i, rest, more)
	}
	c := s.tree.find(i, literal, []byte(level))
	return c == 0 || s.down(c, rest, more)
}

// each visits all children of node i.
func (s *search[V]) each(i uint32, filter string, more bool) bool {
	for c := s.tree.at(i).first; c != 0; c = s.tree.at(c).next {
		if !s.hidden(c) && !s.down(c, filter, more) {
			return false
		}
	}
	return true
}

// down visits a child of the node at hand, and comes back.
func (s *search[V]) down(c uint32, filter string, more bool) bool {
	length := len(s.topic)
	s.topic = append(append(s.topic, '/'), s.tree.at(c).word...)
	goOn := s.walk(c, filter, more)
	s.topic = s.topic[:length]
	return goOn
}

// found calls fn if the node has a value.
func (s *search[V]) found(i uint32) bool {
	n := s.tree.at(i)
	return n.flags&used == 0 || s.fn(string(s.topic[1:]), n.data)
}

// hidden tells whether a wildcard must pass over the node: a first level with '$'.
func (s *search[V]) hidden(i uint32) bool {
	n := s.tree.at(i)
	return n.parent == s.root && n.word != "" && n.word[0] == '$'
}
