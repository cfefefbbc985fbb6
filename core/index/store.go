package index

import "errors"

// ErrNotFound tells that a store has no such key.
var ErrNotFound = errors.New("key not found")

// Store is an ordered map of bytes that keeps the state of a shard as of one
// record. What is committed becomes durable in order, whole batches at a time:
// at the latest with Flush, perhaps before. So after a crash a store holds the
// state after some batch that was committed no earlier than the last Flush.
//
// Get and Scan may run at the same time as everything else.
type Store interface {
	// Get returns a copy of the value, or ErrNotFound.
	Get(key []byte) ([]byte, error)
	// GetSorted calls fn for each of the keys, which ascend, that the store has, with its
	// place in keys: for less than Get when they lie near each other. The value is valid
	// until fn returns.
	GetSorted(keys [][]byte, fn func(i int, value []byte)) error
	// Scan calls fn for each key with the prefix, in order. The slices are valid
	// until fn returns. An error of fn ends the scan and is returned.
	Scan(prefix []byte, fn func(key, value []byte) error) error
	// ScanFrom is Scan of the keys from one on, which has the prefix.
	ScanFrom(prefix, from []byte, fn func(key, value []byte) error) error
	// Commit applies a batch, all of it or nothing.
	Commit(b *Batch) error
	// Snapshot keeps what is committed now readable. Close it before the store.
	Snapshot() Snapshot
	// Flush returns when everything committed before the call is durable.
	Flush() error
	// Failed is closed when the store has met on its own what it can't go on after, such
	// as a damaged table: Commit and Flush return that from then on. It is nil for a store
	// that never does.
	Failed() <-chan struct{}
	// Close releases the store without flushing it.
	Close() error
}

// opKind tells what an operation of a batch does.
type opKind uint8

const (
	opSet opKind = iota
	opDelete
	opDeletePrefix
	opDeleteRange // from the key up to, but not with, the value
)

// op is an operation; its key and value lie in the batch's buffer.
type op struct {
	kind     opKind
	key, end int // buffer[start:key] is the key, buffer[key:end] the value
	start    int
}

// Batch is a list of changes that are made together, in order. The zero Batch
// is empty.
type Batch struct {
	ops []op
	buf []byte
}

// Set puts a value; both slices are copied.
func (b *Batch) Set(key, value []byte) { b.add(opSet, key, value) }

// Delete removes a key.
func (b *Batch) Delete(key []byte) { b.add(opDelete, key, nil) }

// DeletePrefix removes all keys that begin with the prefix, which must hold a
// byte below 0xff.
func (b *Batch) DeletePrefix(prefix []byte) { b.add(opDeletePrefix, prefix, nil) }

// DeleteRange removes all keys from first up to, but not with, end.
func (b *Batch) DeleteRange(first, end []byte) { b.add(opDeleteRange, first, end) }

func (b *Batch) add(kind opKind, key, value []byte) {
	o := op{kind: kind, start: len(b.buf)}
	b.buf = append(b.buf, key...)
	o.key = len(b.buf)
	b.buf = append(b.buf, value...)
	o.end = len(b.buf)
	b.ops = append(b.ops, o)
}

// Len is the number of changes.
func (b *Batch) Len() int { return len(b.ops) }

// Size is how many bytes of keys and values the batch holds.
func (b *Batch) Size() int { return len(b.buf) }

// Reset empties the batch and keeps its buffers.
func (b *Batch) Reset() { b.ops, b.buf = b.ops[:0], b.buf[:0] }

// each calls fn for every change in order.
func (b *Batch) each(fn func(kind opKind, key, value []byte) error) error {
	for _, o := range b.ops {
		if err := fn(o.kind, b.buf[o.start:o.key], b.buf[o.key:o.end]); err != nil {
			return err
		}
	}
	return nil
}

// after returns the first key behind all keys with the prefix.
func after(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil // no key is behind
}
