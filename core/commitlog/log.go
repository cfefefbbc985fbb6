// Package commitlog is the log of one shard: segments in order in one
// directory. It appends batches, says when they are durable, reads them back
// by LSN, drops and rewrites segments that are needed no more or only in part,
// and after a crash tells the torn tail, which it cuts, from bit rot, which it
// never touches.
package commitlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// What the log refuses a call for.
var (
	// ErrPoisoned tells that a write or a sync has failed. What is on disk
	// behind the last sync is unknown, so nothing more is written or synced
	// until the log is opened again. It comes with the first error.
	ErrPoisoned = errors.New("log poisoned")
	// ErrClosed tells that the log was closed.
	ErrClosed = errors.New("log closed")
	// ErrNotFound tells that the log has no record of that LSN, or no sealed
	// segment that begins with it.
	ErrNotFound = errors.New("no such record")
	// ErrOrder tells that a batch does not begin at NextLSN.
	ErrOrder = errors.New("batch out of order")
	// ErrBehind tells that the log ends below Config.From: what the checkpoint
	// has seen is lost.
	ErrBehind = errors.New("log behind its checkpoint")
)

// DefaultSegmentBytes is the length at which a segment is sealed by default.
const DefaultSegmentBytes = 64 << 20

// Config says where a log is and how it is written.
type Config struct {
	// FS is the file system. Required.
	FS vfs.FS
	// Dir is the directory of this log alone. It is made when it is missing.
	Dir string
	// Identity is covered by every checksum: a log of another one is refused.
	Identity record.Identity
	// SegmentBytes is the length from which a segment is sealed and the next
	// one begun. The last batch may overshoot it. 0 is DefaultSegmentBytes.
	SegmentBytes int64
	// From is the LSN of the checkpoint that holds the state as of its record:
	// Open replays what is above it. 0 replays all.
	From record.LSN
	// Ends is called by Open with the LSN of the log's last record before anything is
	// cut or removed: an error refuses the log as it is. nil is not called.
	Ends func(last record.LSN) error
	// Throttle is called by Rewrite before it goes on, with the bytes that it
	// has read and written since the last call, and holds it back for as long
	// as it blocks. An error ends the rewrite. nil does not hold it back.
	Throttle func(ctx context.Context, bytes int) error
	// Leaving is called by Drop and Rewrite before the segments that begin with
	// the LSNs are no more what they were: what it writes is to be durable when it
	// returns. An error leaves them. nil is not called.
	Leaving func(bases []record.LSN) error
	// Log gets one line for each repair at Open. nil discards it.
	Log *slog.Logger
}

// Log is an open log. One goroutine appends at a time, others wait; reads are
// concurrent with it and with each other.
type Log struct {
	cfg    Config
	bytes  atomic.Int64
	synced atomic.Uint64 // LSN behind the last record that is known to be on stable storage
	cache  readers

	write  sync.Mutex // guards the writing side
	enc    record.Encoder
	poison error
	closed bool

	rewriting sync.Mutex  // held by the one rewrite; taken before upkeep
	closing   atomic.Bool // a rewrite shall end

	upkeep     sync.Mutex // guards what the manifest says; taken before write
	generation uint64     // of the last manifest that was tried
	managed    bool       // there is a manifest
	removed    []leftover // files that may still be there

	mu       sync.RWMutex // guards what readers see
	sealed   []*file      // in order; replaced, never changed
	sealedTo record.LSN   // LSN behind the last segment that was sealed
	chain    uint32       // CRC that ends it
	active   *segment.Writer
	next     record.LSN
}

// Append writes the batch behind all others and, if it asks for that, syncs
// it. b.Base must be NextLSN. When it returns nil the batch can be read and is
// as durable as b.Sync asks. ErrOrder and record.ErrTooLarge leave the log as
// it was; any other error is final, see ErrPoisoned.
func (l *Log) Append(b *record.Batch) error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if b.Base != l.next {
		return fmt.Errorf("append batch %d at %d: %w", b.Base, l.next, ErrOrder)
	}
	if err := l.makeRoom(b.First); err != nil {
		return l.fail(err)
	}
	frame, err := l.enc.Encode(b, l.cfg.Identity, l.active.Synced())
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if err := l.put(frame); err != nil {
		return l.fail(err)
	}
	if b.Sync {
		if err := l.active.Sync(); err != nil {
			return l.fail(err)
		}
		l.synced.Store(uint64(b.Next()))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = b.Next()
	return nil
}

func (l *Log) put(frame []byte) error {
	size := int64(len(frame))
	if err := l.active.Append(frame); err != nil {
		return err
	}
	l.bytes.Add(size)
	return nil
}

// Sync brings all batches to stable storage, also those that did not ask for it.
func (l *Log) Sync() error {
	l.write.Lock()
	defer l.write.Unlock()
	return l.sync()
}

// SyncTo is Sync for what has to have the record and all before it on stable
// storage. It does nothing when they are there.
func (l *Log) SyncTo(lsn record.LSN) error {
	if lsn < record.LSN(l.synced.Load()) {
		return nil
	}
	l.write.Lock()
	defer l.write.Unlock()
	if lsn < record.LSN(l.synced.Load()) {
		return nil
	}
	return l.sync()
}

// Synced returns the last record that is known to be on stable storage, with all before
// it; 0 when none was written since the log was opened.
func (l *Log) Synced() record.LSN { return max(record.LSN(l.synced.Load()), 1) - 1 }

// sync is Sync with write held.
func (l *Log) sync() error {
	if err := l.usable(); err != nil || l.active == nil {
		return err
	}
	if err := l.active.Sync(); err != nil {
		return l.fail(err)
	}
	l.synced.Store(uint64(l.next))
	return nil
}

// WriteWatermark protects the last batches from being taken for a torn tail:
// it syncs them, appends a mark that says so, and syncs that. It does nothing
// when there is no batch behind the last mark. Call it when the log falls idle.
func (l *Log) WriteWatermark() error {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	return l.fail(l.mark())
}

func (l *Log) mark() error {
	w := l.active
	if w == nil || !w.Unmarked() {
		return nil
	}
	if w.Synced() < uint64(w.End()) {
		if err := w.Sync(); err != nil {
			return err
		}
	}
	if err := l.put(l.enc.EncodeMark(w.Next(), l.cfg.Identity, w.Synced())); err != nil {
		return err
	}
	return w.Sync()
}

// makeRoom seals a full segment and sees to it that there is one to append to.
func (l *Log) makeRoom(now int64) error {
	// A segment without records stays: the next one would have its name.
	if l.active != nil && l.active.End() >= l.cfg.SegmentBytes && l.active.Next() > l.active.Base() {
		if err := l.seal(); err != nil {
			return err
		}
	}
	if l.active != nil {
		return nil
	}
	w, err := segment.Create(l.cfg.FS, l.cfg.path(leftover{base: l.next}.name()), segment.Header{
		Identity: l.cfg.Identity, Base: l.next, Previous: l.chain, Created: now,
	})
	if err != nil {
		return err
	}
	l.bytes.Add(segment.HeaderSize)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active = w
	return nil
}

func (l *Log) seal() error {
	w, size := l.active, l.active.FooterSize()
	sum, err := w.Seal()
	if err != nil {
		return err
	}
	l.bytes.Add(size)
	if err := w.Close(); err != nil {
		return err
	}
	f := &file{base: w.Base(), next: w.Next(), size: w.End() + size, sum: sum}
	f.stats, _ = w.Stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	err = l.cache.drop(f.name(), nil)
	l.sealed = append(slices.Clip(l.sealed), f)
	l.sealedTo, l.chain, l.active = f.next, sum, nil
	return err
}

// leaving calls Config.Leaving.
func (l *Log) leaving(bases []record.LSN) error {
	if l.cfg.Leaving == nil {
		return nil
	}
	return l.cfg.Leaving(bases)
}

// usable tells why the log takes no more, if so.
func (l *Log) usable() error {
	switch {
	case l.closed:
		return ErrClosed
	case l.poison != nil:
		return l.poison
	}
	return nil
}

// fail poisons the log when err is not nil, and returns what callers get.
func (l *Log) fail(err error) error {
	if err == nil {
		return nil
	}
	l.poison = fmt.Errorf("%w: %w", ErrPoisoned, err)
	return l.poison
}

// FirstLSN is the first LSN of the oldest segment, or of the first to come.
func (l *Log) FirstLSN() record.LSN {
	l.mu.RLock()
	defer l.mu.RUnlock()
	switch {
	case len(l.sealed) > 0:
		return l.sealed[0].base
	case l.active != nil:
		return l.active.Base()
	}
	return l.next
}

// NextLSN is the LSN of the next record.
func (l *Log) NextLSN() record.LSN {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.next
}

// Bytes is the size of all segments on disk.
func (l *Log) Bytes() int64 { return l.bytes.Load() }

// Close syncs what is not synced, protects it by a watermark and closes the
// files. A poisoned log only closes its files, and returns ErrPoisoned. Close
// waits for reads under way, and for a Rewrite to notice. Further calls do nothing and return nil.
func (l *Log) Close() error {
	l.closing.Store(true)
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	err := l.poison
	if err == nil {
		err = l.fail(l.mark())
	}
	if err == nil && l.active != nil && l.active.Synced() < uint64(l.active.End()) {
		err = l.fail(l.active.Sync())
	}
	if l.active != nil {
		err = errors.Join(err, l.active.Close())
	}
	return errors.Join(err, l.cache.close())
}
