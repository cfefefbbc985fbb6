package route

import "bytes"

// The walk goes down the trie of one topic exchange along the key.
//
// Above any '#' a node is reached by exactly one way, since every edge takes one word:
// walk carries one place in the key. Below a '#' a node is reached at several places in
// the key, and trying them one after the other would take exponential time with several
// '#'. There the walk carries the set of all places at which the node is reached, which
// follows from its parent's set alone. So every node is visited at most once, whatever
// the filters look like.

// walkTopic takes what the key matches below root. A filter that begins with a wildcard
// does not match a topic that begins with '$'; an AMQP binding key does.
func (m *match[D]) walkTopic(root uint32) {
	start := 0
	if len(m.key) == 0 {
		start = 1 // past the last word: there is none
	}
	wild := len(m.key) == 0 || m.key[0] != '$'
	m.walk(root, start, true, wild)
}

// walk visits node i, reached where the next word begins at key[start]; start is beyond
// the key's end when no word is left. filters tells whether filters count here, wild
// whether they do below a wildcard that is the node's child.
func (m *match[D]) walk(i uint32, start int, filters, wild bool) {
	m.result.Visited++
	tree := &m.table.tree
	n := tree.at(i)
	if n.flags&hasHash != 0 {
		m.walkHash(tree.find(i, hash, nil), start, wild)
	}
	if start > len(m.key) {
		m.take(n.data, filters)
		return
	}
	if n.first == 0 {
		return
	}
	end := len(m.key)
	if dot := bytes.IndexByte(m.key[start:], '.'); dot >= 0 {
		end = start + dot
	}
	if n.flags&hasStar != 0 {
		m.walk(tree.find(i, star, nil), end+1, wild, wild)
	}
	if next := tree.find(i, literal, m.key[start:end]); next != 0 {
		m.walk(next, end+1, filters, filters)
	}
}

// walkHash visits a '#' that is reached at start. It matches the rest of the key, and
// reaches every place in it.
func (m *match[D]) walkHash(i uint32, start int, filters bool) {
	n := m.table.tree.at(i)
	if n.first == 0 {
		m.result.Visited++
		m.take(n.data, filters)
		return
	}
	var rest words
	rest.split(m.key, start)
	m.walkAll(i, upFrom(0, rest.n), &rest, filters)
}

// walkAll visits node i, reached at all the places of at, which is not empty.
func (m *match[D]) walkAll(i uint32, at positions, rest *words, filters bool) {
	m.result.Visited++
	tree := &m.table.tree
	n := tree.at(i)
	if at.has(rest.n) {
		m.take(n.data, filters)
	}
	if n.first == 0 {
		return
	}
	if n.flags&hasHash != 0 {
		m.walkAll(tree.find(i, hash, nil), upFrom(at.min(), rest.n), rest, filters)
	}
	at.drop(rest.n) // from here on a word is needed
	if n.flags&hasStar != 0 && at.min() >= 0 {
		m.walkAll(tree.find(i, star, nil), at.afterWord(), rest, filters)
	}
	for place := at.min(); place >= 0; place = at.from(place + 1) {
		next := tree.find(i, literal, rest.at(place))
		if next == 0 {
			continue
		}
		m.walkAll(next, rest.takeEqual(&at, place), rest, filters)
	}
}

// words is the rest of a key, split.
type words struct {
	key   []byte
	n     int
	start [MaxWords + 1]int // word i is key[start[i] : start[i+1]-1]
}

// split takes the words of key from the byte at start on.
func (w *words) split(key []byte, start int) {
	w.key = key
	for start <= len(key) {
		w.start[w.n] = start
		w.n++
		end := len(key)
		if dot := bytes.IndexByte(key[start:], '.'); dot >= 0 {
			end = start + dot
		}
		start = end + 1
	}
	w.start[w.n] = start
}

func (w *words) at(i int) []byte { return w.key[w.start[i] : w.start[i+1]-1] }

// takeEqual removes from set the place first and all later ones that the same word
// follows, and returns the places after those words.
func (w *words) takeEqual(set *positions, first int) (after positions) {
	word := w.at(first)
	for i := first; i >= 0; i = set.from(i + 1) {
		if bytes.Equal(w.at(i), word) {
			set.drop(i)
			after.add(i + 1)
		}
	}
	return after
}
