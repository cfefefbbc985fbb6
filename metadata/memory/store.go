// Package memory is a metadata store that lives in memory, for tests and for
// the simulator. It keeps the contract of [metadata.Store] to the letter,
// revisions and history included, and can be told to be unreachable.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/metadata"
)

// historyLimit is how many revisions are kept before the older half of them is
// compacted, so that a long test does not grow without bound.
const historyLimit = 16384

// version is the state of a key as of a revision; a nil value is a deleted key.
type version struct {
	rev   metadata.Revision
	value []byte
}

// change is what one revision changed.
type change struct {
	rev    metadata.Revision
	events []metadata.Event
}

// Store is an in-memory [metadata.Store]. All methods are safe for concurrent
// use. Values are copied on the way in and on the way out.
type Store struct {
	mu        sync.Mutex
	rev       metadata.Revision    // under mu; revision of the last change
	compacted metadata.Revision    // under mu; history up to here is gone
	keys      []string             // under mu; all keys of versions, sorted
	versions  map[string][]version // under mu; ascending by revision
	history   []change             // under mu; ascending by revision
	advanced  chan struct{}        // under mu; closed at the next change of any of these
	away      bool                 // under mu; see SetAway
	closed    bool                 // under mu
}

var _ metadata.Store = (*Store)(nil)

// New returns an empty store at revision 1, as an empty etcd is.
func New() *Store {
	return &Store{
		rev:      1,
		versions: make(map[string][]version),
		advanced: make(chan struct{}),
	}
}

// SetAway makes the store unreachable, or reachable again: calls return
// metadata.ErrUnavailable and running watches end with it. The data stays.
func (s *Store) SetAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	s.wake()
}

// Close makes all methods return metadata.ErrClosed and ends the watches.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.wake()
	}
	return nil
}

// Compact forgets the history up to and including rev: ranges as of an earlier
// revision and watches from an earlier one get metadata.ErrCompacted.
func (s *Store) Compact(_ context.Context, rev metadata.Revision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return err
	}
	if rev > s.rev {
		return fmt.Errorf("compact at revision %d of %d: %w", rev, s.rev, metadata.ErrInvalid)
	}
	s.compact(rev)
	return nil
}

// Get returns one key, or metadata.ErrNotFound.
func (s *Store) Get(ctx context.Context, key string) (metadata.KV, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ready(ctx); err != nil {
		return metadata.KV{}, err
	}
	v, ok := s.at(key, s.rev)
	if !ok {
		return metadata.KV{}, fmt.Errorf("get %q: %w", key, metadata.ErrNotFound)
	}
	return metadata.KV{Key: key, Value: bytes.Clone(v.value), ModRevision: v.rev}, nil
}

// ready tells why no call can be served now. The caller holds mu.
func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.usable()
}

func (s *Store) usable() error {
	if s.closed {
		return metadata.ErrClosed
	}
	if s.away {
		return metadata.ErrUnavailable
	}
	return nil
}

// at returns the version of a key as of rev, if the key existed then.
func (s *Store) at(key string, rev metadata.Revision) (version, bool) {
	for _, v := range slices.Backward(s.versions[key]) {
		if v.rev <= rev {
			return v, v.value != nil
		}
	}
	return version{}, false
}

// compact drops changes up to rev and versions that no revision from rev on
// can see. The caller holds mu.
func (s *Store) compact(rev metadata.Revision) {
	if rev <= s.compacted {
		return
	}
	s.compacted = rev
	s.history = slices.DeleteFunc(s.history, func(c change) bool { return c.rev <= rev })
	for key, versions := range s.versions {
		first := 0
		for first+1 < len(versions) && versions[first+1].rev <= rev {
			first++
		}
		if versions[first].rev <= rev && versions[first].value == nil {
			first++
		}
		if first == len(versions) {
			delete(s.versions, key)
			continue
		}
		s.versions[key] = slices.Clip(slices.Delete(versions, 0, first))
	}
	s.keys = slices.DeleteFunc(s.keys, func(key string) bool { return s.versions[key] == nil })
	s.wake()
}

// wake lets the watches look again. The caller holds mu.
func (s *Store) wake() {
	close(s.advanced)
	s.advanced = make(chan struct{})
}
