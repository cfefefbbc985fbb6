package index

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// Sizes of the Pebble store's memory.
const (
	pebbleCache    = 32 << 20
	pebbleMemTable = 16 << 20
	// longScan is how much a scan reads that leaves nothing in the cache.
	longScan = pebbleCache / 8
	// pebbleUnflushed is how much may be committed and not flushed. Pebble's own
	// limits would block for as long as the disk fails: they are out of reach.
	pebbleUnflushed = 48 << 20
	pebbleUnlimited = 1 << 20
)

// Pebble is a Store on a Pebble database without write-ahead log: the shard's
// own log is that, and the database a view of it that may be lost and rebuilt.
// After the first error of the disk it takes nothing more.
type Pebble struct {
	db        *pebble.DB
	cache     *pebble.Cache
	unflushed atomic.Int64

	once   sync.Once
	failed chan struct{} // closed with err set
	err    error
	ended  atomic.Bool // Pebble can't go on, see pebbleLog.Fatalf
}

var _ Store = (*Pebble)(nil)

// OpenPebble opens the database in dir, or makes one.
func OpenPebble(fs vfs.FS, dir string, log *slog.Logger) (*Pebble, error) {
	cache := pebble.NewCache(pebbleCache)
	p := &Pebble{cache: cache, failed: make(chan struct{})}
	db, err := pebble.Open(dir, &pebble.Options{
		FS:                          errorfs.Wrap(fs, errorfs.InjectorFunc(p.refuse)),
		Cache:                       cache,
		DisableWAL:                  true,
		MemTableSize:                pebbleMemTable,
		MemTableStopWritesThreshold: pebbleUnlimited,
		L0StopWritesThreshold:       pebbleUnlimited,
		FormatMajorVersion:          pebble.FormatNewest,
		MaxOpenFiles:                256,
		Logger:                      pebbleLog{p, log},
		EventListener: &pebble.EventListener{
			BackgroundError: p.fail,
			// Pebble's own answer would be Fatalf, in whatever goroutine has read it.
			DataCorruption: func(i pebble.DataCorruptionInfo) { p.fail(damagedTable(i.Path, i.Details)) },
		},
		CompactionConcurrencyRange: func() (int, int) { return 1, 1 },
	})
	if err != nil {
		cache.Unref()
		return nil, fmt.Errorf("open index %s: %w", dir, err)
	}
	p.db = db
	return p, nil
}

// fail takes the first error that Pebble meets in the background, or of a table that is
// damaged, whoever reads it. Pebble tries again for ever; what a failed sync left on the
// disk is not to be trusted, and what is written on top of damage would outlast it.
func (p *Pebble) fail(err error) {
	p.once.Do(func() {
		p.err = fmt.Errorf("index failed: %w", err)
		close(p.failed)
	})
}

// Failed implements [Store].
func (p *Pebble) Failed() <-chan struct{} { return p.failed }

// failure returns the first error of the background, or nil.
func (p *Pebble) failure() error {
	select {
	case <-p.failed:
		return p.err
	default:
		return nil
	}
}

// Get implements [Store].
func (p *Pebble) Get(key []byte) ([]byte, error) { return get(p.db, key) }

// GetSorted implements [Store].
func (p *Pebble) GetSorted(keys [][]byte, fn func(i int, value []byte)) (err error) {
	it, err := p.db.NewIter(nil)
	if err != nil {
		return fmt.Errorf("read index: %w", named(err))
	}
	defer func() {
		if closed := it.Close(); err == nil && closed != nil { // it tells again what it met
			err = fmt.Errorf("read index: %w", named(closed))
		}
	}()
	for i, k := range keys {
		if it.SeekGE(k) && bytes.Equal(it.Key(), k) {
			fn(i, it.Value())
		}
		if err := it.Error(); err != nil {
			return fmt.Errorf("read index: %w", named(err))
		}
	}
	return nil
}

// Scan implements [Store]. A long one, as a start makes, leaves nothing in the cache: none
// of that is read again soon.
func (p *Pebble) Scan(prefix []byte, fn func(key, value []byte) error) error {
	read := 0
	err := scan(p.db, prefix, prefix, func(key, value []byte) error {
		read += len(key) + len(value)
		return fn(key, value)
	})
	if read > longScan {
		p.cache.Reserve(pebbleCache)()
	}
	return err
}

// ScanFrom implements [Store].
func (p *Pebble) ScanFrom(prefix, from []byte, fn func(key, value []byte) error) error {
	return scan(p.db, prefix, from, fn)
}

// Commit implements [Store].
func (p *Pebble) Commit(b *Batch) (err error) {
	if err := p.failure(); err != nil {
		return err
	}
	if p.unflushed.Add(int64(b.Size())) > pebbleUnflushed {
		if err := p.Flush(); err != nil {
			return err
		}
	}
	w := p.db.NewBatchWithSize(b.Size() + 16*b.Len() + 64)
	defer func() { err = errors.Join(err, w.Close()) }()
	err = b.each(func(kind opKind, key, value []byte) error {
		switch kind {
		case opSet:
			return w.Set(key, value, nil)
		case opDelete:
			return w.Delete(key, nil)
		case opDeletePrefix:
			return w.DeleteRange(key, after(key), nil)
		default:
			return w.DeleteRange(key, value, nil)
		}
	})
	if err == nil {
		err = p.db.Apply(w, pebble.NoSync)
	}
	if err != nil {
		return fmt.Errorf("write index: %w", err)
	}
	return nil
}

// Flush implements [Store].
func (p *Pebble) Flush() error {
	if err := p.failure(); err != nil {
		return err
	}
	p.unflushed.Store(0)
	done, err := p.db.AsyncFlush()
	if err != nil {
		return fmt.Errorf("flush index: %w", err)
	}
	select {
	case <-done:
		return p.failure()
	case <-p.failed:
		return p.err
	}
}

// refuse refuses whatever would change a file after the first error: what Pebble still
// tries in the background must not be written on top of it.
func (p *Pebble) refuse(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpFileClose {
		return p.failure()
	}
	return nil
}

// Close implements [Store]. A database that has ended for good is left as it is: Pebble
// would wait for work of its own that has ended with it.
func (p *Pebble) Close() error {
	if p.ended.Load() {
		return nil
	}
	err := p.db.Close()
	p.cache.Unref()
	if err != nil && p.failure() == nil { // else it is that failure, which was told
		return fmt.Errorf("close index: %w", err)
	}
	return nil
}
