package commitlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

const (
	// blockBytes is the length of the records in one frame of a rewritten
	// segment: zstd gains next to nothing from more, and one record costs its
	// reader a whole frame.
	blockBytes = 256 << 10
	// paceBytes is what a rewrite reads and writes between two looks at its
	// context and its throttle.
	paceBytes = 256 << 10
	// flushBytes is what a rewrite leaves to the operating system before it
	// syncs: a large sync at once would hold up those of Append.
	flushBytes = 8 << 20
)

// Keep tells what a rewrite makes of a record: kind and body to write, which may
// be those that it was given, or kind 0 to leave the record out. The body that
// it is given is valid until it returns, the one that it returns until it is
// called again. An error ends the rewrite.
type Keep func(lsn record.LSN, kind record.Kind, body []byte) (record.Kind, []byte, error)

// Rewrite writes one segment in the place of those that begin with the LSNs,
// which must be sealed and neighbours, in large blocks compressed with zstd. It
// holds what keep makes of their records. What a start has to replay must not
// be left out, so nothing above the checkpoint may be rewritten. Where nothing
// is left there is no segment afterwards, and Records of the result is 0.
//
// keep is called in order of LSNs from the calling goroutine. Appends and reads
// go on meanwhile; a record that is gone gives ErrNotFound. One rewrite runs at
// a time, others wait. It ends early with an error of ctx, of Config.Throttle
// or of keep.
//
// When it returns nil the rewrite is durable. An error leaves the segments as
// they were, and the log sound, unless it is ErrPoisoned.
func (l *Log) Rewrite(ctx context.Context, bases []record.LSN, keep Keep) (Info, error) {
	l.rewriting.Lock()
	defer l.rewriting.Unlock()
	old, generation, err := l.beginRewrite(bases)
	if err == nil {
		err = l.leaving(bases)
	}
	if err != nil {
		return Info{}, fmt.Errorf("rewrite: %w", err)
	}
	base, next := old[0].base, old[len(old)-1].next
	r := &rewrite{log: l, keep: keep, file: file{base: base, next: next, generation: generation}}
	came, err := r.run(ctx, old)
	if err == nil {
		err = l.endRewrite(old, came)
	}
	if err != nil {
		return Info{}, fmt.Errorf("rewrite %d to %d: %w", base, next-1, err)
	}
	if came == nil {
		return Info{Base: base, Last: next - 1, Rewritten: true}, nil
	}
	return came.info(), nil
}

// beginRewrite picks the segments, and sees to it that there is a manifest
// before there is a file that means nothing without one.
func (l *Log) beginRewrite(bases []record.LSN) ([]*file, uint64, error) {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	if err := l.healthy(); err != nil {
		return nil, 0, err
	}
	old, err := l.pick(bases)
	if err != nil {
		return nil, 0, err
	}
	if !l.neighbours(old) {
		return nil, 0, fmt.Errorf("segments %v are no neighbours: %w", bases, ErrNotFound)
	}
	if !l.managed {
		if err := l.install(nil, nil); err != nil {
			return nil, 0, err
		}
	}
	l.generation++
	return old, l.generation, nil
}

// neighbours tells whether there is no segment between the first and the last.
func (l *Log) neighbours(picked []*file) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(picked) == 0 {
		return false
	}
	i := after(l.sealed, picked[0].base) - 1
	return i >= 0 && i+len(picked) <= len(l.sealed) && slices.Equal(l.sealed[i:i+len(picked)], picked)
}

// endRewrite puts the new segment in the place of the old ones, unless one of
// those was dropped since.
func (l *Log) endRewrite(old []*file, came *file) error {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	err := l.healthy()
	if err == nil && !l.neighbours(old) {
		err = fmt.Errorf("dropped meanwhile: %w", ErrNotFound)
	}
	if err == nil {
		err = l.install(old, came)
	}
	if err != nil && came != nil && !errors.Is(err, errUncertain) {
		err = errors.Join(err, removeIfThere(l.cfg.FS, l.cfg.path(came.name())))
	}
	return err
}

// rewrite is the writing of one rewritten segment.
type rewrite struct {
	log  *Log
	keep Keep
	file file // as it will be

	w     *segment.Writer
	enc   record.Encoder
	block record.Batch
	check record.Batch
	work  int // bytes since the last pace
}

// run writes the segment under its own name, and returns nil when there is
// nothing to keep.
func (r *rewrite) run(ctx context.Context, old []*file) (*file, error) {
	l := r.log
	path := l.cfg.path(r.file.name())
	temp := path + segment.TempSuffix
	w, err := segment.Create(l.cfg.FS, temp, segment.Header{
		Identity: l.cfg.Identity, Base: r.file.base, Created: old[0].stats.First,
		Rewritten: true, Generation: r.file.generation,
	})
	if err != nil {
		return nil, errors.Join(err, removeIfThere(l.cfg.FS, temp))
	}
	r.w, r.enc.Zstd = w, true
	r.block.ResetSparse(r.file.base)
	for _, f := range old {
		if err == nil {
			err = r.copy(ctx, f)
		}
	}
	if err == nil {
		err = r.finish()
	}
	err = errors.Join(err, w.Close())
	empty := err == nil && r.file.stats.Records == 0
	if err == nil && !empty {
		err = l.cfg.FS.Rename(temp, path)
	}
	if err == nil && !empty {
		if err = segment.SyncDir(l.cfg.FS, l.cfg.Dir); err != nil {
			temp = path
		}
	}
	if err != nil || empty {
		return nil, errors.Join(err, removeIfThere(l.cfg.FS, temp))
	}
	return &r.file, nil
}

// copy takes what is to be kept of one segment.
func (r *rewrite) copy(ctx context.Context, f *file) (err error) {
	l := r.log
	src, err := segment.Open(l.cfg.FS, l.cfg.path(f.name()), l.cfg.Identity)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	s, next := src.Scan(segment.HeaderSize), f.base
	for s.Next() {
		b := s.Batch()
		if b.Base != next {
			return fmt.Errorf("frame %d where %d should be: %w", b.Base, next, ErrCorrupt)
		}
		next = b.Next()
		if err := r.take(b); err != nil {
			return err
		}
		if err := r.pace(ctx, s.Header().Size()); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	if next != f.next {
		return fmt.Errorf("segment %d ends at %d, not %d: %w", f.base, next, f.next, ErrCorrupt)
	}
	return nil
}

func (r *rewrite) take(b *record.Batch) error {
	for i := range b.Len() {
		lsn := b.LSN(i)
		kind, body := b.Record(i)
		kind, body, err := r.keep(lsn, kind, body)
		if err != nil {
			return fmt.Errorf("record %d: %w", lsn, err)
		}
		if kind == 0 {
			continue
		}
		if err := r.reach(lsn); err != nil {
			return err
		}
		if err := r.block.Put(lsn, b.Time(i), kind, body); err != nil {
			return err
		}
		if len(r.block.Raw) >= blockBytes {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// reach begins new blocks until one can cover the LSN.
func (r *rewrite) reach(lsn record.LSN) error {
	const far = 1 << 31
	for lsn-r.block.Base >= far {
		if err := r.block.Cover(r.block.Base + far); err != nil {
			return err
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
	return nil
}

// flush writes the block, if it covers anything, and begins the next one. What
// was compressed is decoded again: the originals are about to go.
func (r *rewrite) flush() error {
	if r.block.Until == r.block.Base {
		return nil
	}
	frame, err := r.enc.Encode(&r.block, r.log.cfg.Identity, r.w.Synced())
	if err != nil {
		return err
	}
	if _, err := record.DecodeFrame(frame, r.log.cfg.Identity, &r.check); err != nil {
		return fmt.Errorf("read back block %d: %w", r.block.Base, err)
	}
	if !bytes.Equal(r.check.Raw, r.block.Raw) || !slices.Equal(r.check.Ends, r.block.Ends) ||
		!slices.Equal(r.check.Sparse, r.block.Sparse) {
		return fmt.Errorf("block %d reads back as another: %w", r.block.Base, ErrCorrupt)
	}
	r.work += len(frame)
	if err := r.w.Append(frame); err != nil {
		return err
	}
	r.block.ResetSparse(r.block.Until)
	if r.w.End()-int64(r.w.Synced()) >= flushBytes {
		return r.w.Sync()
	}
	return nil
}

// finish covers the rest of the range and seals the segment.
func (r *rewrite) finish() error {
	if err := r.reach(r.file.next); err != nil {
		return err
	}
	if err := r.block.Cover(r.file.next); err != nil {
		return err
	}
	if err := r.flush(); err != nil {
		return err
	}
	r.file.stats, _ = r.w.Stats()
	r.file.size = r.w.End() + r.w.FooterSize()
	sum, err := r.w.Seal()
	r.file.sum = sum
	return err
}

// pace lets others go first, and sees whether the rewrite is still wanted.
func (r *rewrite) pace(ctx context.Context, read int) error {
	if r.work += read; r.work < paceBytes {
		return nil
	}
	work := r.work
	r.work = 0
	if r.log.closing.Load() {
		return ErrClosed
	}
	if r.log.cfg.Throttle != nil {
		if err := r.log.cfg.Throttle(ctx, work); err != nil {
			return fmt.Errorf("throttle: %w", err)
		}
	}
	return context.Cause(ctx)
}
