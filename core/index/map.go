package index

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Map is a Store in memory, for simulations: a crash leaves what was flushed.
type Map struct {
	mu      sync.Mutex
	live    map[string]string
	flushed map[string]string
}

var _ Store = (*Map)(nil)

// NewMap makes an empty store.
func NewMap() *Map { return &Map{live: map[string]string{}, flushed: map[string]string{}} }

// Crash returns the store as it is after a crash that loses all it may.
func (m *Map) Crash() *Map {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Map{live: maps.Clone(m.flushed), flushed: maps.Clone(m.flushed)}
}

// Copy returns the store as it is after a crash that loses nothing.
func (m *Map) Copy() *Map {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Map{live: maps.Clone(m.live), flushed: maps.Clone(m.live)}
}

// Get implements [Store].
func (m *Map) Get(key []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.live[string(key)]
	if !ok {
		return nil, ErrNotFound
	}
	return []byte(v), nil
}

// GetSorted implements [Store].
func (m *Map) GetSorted(keys [][]byte, fn func(i int, value []byte)) error {
	for i, k := range keys {
		if v, err := m.Get(k); err == nil {
			fn(i, v)
		}
	}
	return nil
}

// Scan implements [Store].
func (m *Map) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return m.ScanFrom(prefix, prefix, fn)
}

// ScanFrom implements [Store].
func (m *Map) ScanFrom(prefix, from []byte, fn func(key, value []byte) error) error {
	m.mu.Lock()
	var keys []string
	for k := range m.live {
		if strings.HasPrefix(k, string(prefix)) && k >= string(from) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	values := make([]string, len(keys))
	for i, k := range keys {
		values[i] = m.live[k]
	}
	m.mu.Unlock()
	for i, k := range keys {
		if err := fn([]byte(k), []byte(values[i])); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements [Store].
func (m *Map) Commit(b *Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return b.each(func(kind opKind, key, value []byte) error {
		switch kind {
		case opSet:
			m.live[string(key)] = string(value)
		case opDelete:
			delete(m.live, string(key))
		case opDeletePrefix:
			m.deleteRange(key, after(key))
		default:
			m.deleteRange(key, value)
		}
		return nil
	})
}

func (m *Map) deleteRange(first, end []byte) {
	for k := range m.live {
		if k >= string(first) && (end == nil || bytes.Compare([]byte(k), end) < 0) {
			delete(m.live, k)
		}
	}
}

// Failed implements [Store].
func (*Map) Failed() <-chan struct{} { return nil }

// Flush implements [Store].
func (m *Map) Flush() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.flushed)
	maps.Copy(m.flushed, m.live)
	return nil
}

// Close implements [Store].
func (m *Map) Close() error { return nil }
