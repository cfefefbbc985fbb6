package index

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tidegate/tidegate/core/record"
)

// Snapshot is a store as it was at one moment, after whole batches. It may be
// read from any goroutine, and holds space of the disk until it is closed.
type Snapshot interface {
	// Get returns a copy of the value, or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// Scan calls fn for each key with the prefix, in order. The slices are valid
	// until fn returns. An error of fn ends the scan and is returned.
	Scan(prefix []byte, fn func(key, value []byte) error) error
	// Close lets the moment go.
	Close() error
}

// Snapshot implements [Store].
func (m *Map) Snapshot() Snapshot { return m.Copy() }

// Snapshot implements [Store].
func (p *Pebble) Snapshot() Snapshot { return pebbleSnapshot{p.db.NewSnapshot()} }

type pebbleSnapshot struct{ *pebble.Snapshot }

// Get implements [Snapshot].
func (s pebbleSnapshot) Get(key []byte) ([]byte, error) { return get(s.Snapshot, key) }

// Scan implements [Snapshot].
func (s pebbleSnapshot) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return scan(s.Snapshot, prefix, prefix, fn)
}

// Close implements [Snapshot].
func (s pebbleSnapshot) Close() error {
	if err := s.Snapshot.Close(); err != nil {
		return fmt.Errorf("close snapshot of the index: %w", err)
	}
	return nil
}

func get(from pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read index: %w", named(err))
	}
	out := append([]byte(nil), v...)
	return out, closer.Close()
}

func scan(of pebble.Reader, prefix, from []byte, fn func(key, value []byte) error) (err error) {
	it, err := of.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: after(prefix)})
	if err != nil {
		return fmt.Errorf("scan index: %w", named(err))
	}
	defer func() {
		if closed := it.Close(); err == nil && closed != nil { // it tells again what it met
			err = fmt.Errorf("scan index: %w", named(closed))
		}
	}()
	for ok := it.First(); ok; ok = it.Next() {
		if err := fn(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("scan index: %w", named(err))
	}
	return nil
}

// named is an error of Pebble that names the table, and what to do, when that is damaged.
func named(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return damagedTable(info.Path, info.Details)
	}
	return err
}

// damagedTable tells of a table that does not hold what was written to it.
func damagedTable(path string, err error) error {
	return fmt.Errorf("table %s of the index is damaged: %w: %w (nothing that was confirmed is lost: stop the broker, tidegate check tells "+
		"what is wrong, and check --accept-loss sets the index aside: a start without one makes it from the log)", path, record.ErrCorrupt, err)
}
