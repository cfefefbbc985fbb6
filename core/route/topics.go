package route

import (
	"math"
	"strings"
)

// Topics maps MQTT topics to values, and finds those that a filter matches without
// looking at branches that it does not. It is the index of retained messages. One
// goroutine at a time may use it.
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
	s := t.Search(filter)
	for s.Next(math.MaxInt, fn) {
	}
}
