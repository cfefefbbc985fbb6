package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Drop gives up the sealed segments that begin with the LSNs, with all records
// in them. Reads under way finish; later ones get ErrNotFound. ErrNotFound
// when one is no sealed segment, and then none is dropped.
//
// When it returns nil the drop is durable. An error leaves the segments as
// they were, and the log sound, unless it is ErrPoisoned.
func (l *Log) Drop(bases ...record.LSN) error {
	if err := l.leaving(bases); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	if err := l.healthy(); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	gone, err := l.pick(bases)
	if err == nil && len(gone) > 0 {
		err = l.install(gone, nil)
	}
	if err != nil {
		return fmt.Errorf("drop %d segments: %w", len(bases), err)
	}
	return nil
}

// healthy is usable for those who do not hold write.
func (l *Log) healthy() error {
	l.write.Lock()
	defer l.write.Unlock()
	return l.usable()
}

// pick returns the sealed segments that begin with the LSNs, in order. The
// last segment of all is never one of them: the next start of the log is known
// by it even if the manifest is lost.
func (l *Log) pick(bases []record.LSN) ([]*file, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	bases = slices.Clone(bases)
	slices.Sort(bases)
	var picked []*file
	for _, base := range slices.Compact(bases) {
		i := after(l.sealed, base)
		if i == 0 || l.sealed[i-1].base != base || (i == len(l.sealed) && l.active == nil) {
			return nil, fmt.Errorf("segment %d: %w", base, ErrNotFound)
		}
		picked = append(picked, l.sealed[i-1])
	}
	return picked, nil
}

// install makes the log one without the segments that are gone, and with the
// one that came in their place if it is not nil: first by the manifest, then
// for readers, and at last on disk. upkeep is held.
func (l *Log) install(gone []*file, came *file) error {
	l.generation++
	l.mu.RLock()
	m := &manifest{
		generation: l.generation, end: l.sealedTo, chain: l.chain,
		files: replace(l.sealed, gone, came), removed: slices.Clone(l.removed),
	}
	l.mu.RUnlock()
	for _, f := range gone {
		m.removed = append(m.removed, f.leftover())
	}
	if err := writeManifest(&l.cfg, m); err != nil {
		if errors.Is(err, errUncertain) {
			l.write.Lock()
			defer l.write.Unlock()
			return l.fail(err)
		}
		return err
	}
	l.managed, l.removed = true, m.removed
	l.mu.Lock()
	l.sealed = replace(l.sealed, gone, came)
	l.mu.Unlock()
	if came != nil {
		l.bytes.Add(came.size)
	}
	for _, f := range gone {
		l.bytes.Add(-f.size)
		if err := l.cache.drop(f.name(), f); err != nil {
			l.cfg.Log.Warn("segment that is gone was not closed", slog.Any("error", err))
		}
	}
	l.unlink()
	return nil
}

// replace returns the list without the files that are gone, and with the one
// that came where it belongs.
func replace(files, gone []*file, came *file) []*file {
	left := make([]*file, 0, len(files)+1)
	for _, f := range files {
		if !slices.Contains(gone, f) {
			left = append(left, f)
		}
	}
	if came != nil {
		left = slices.Insert(left, after(left, came.base), came)
	}
	return left
}

// unlink removes the files that the manifest calls removed. What fails is
// tried again with the next manifest, or by Open: the log is right without it,
// and only its space is not free yet.
func (l *Log) unlink() {
	var err error
	for _, r := range l.removed {
		err = errors.Join(err, removeIfThere(l.cfg.FS, l.cfg.path(r.name())))
	}
	if err == nil {
		err = segment.SyncDir(l.cfg.FS, l.cfg.Dir)
	}
	if err != nil {
		l.cfg.Log.Warn("removed segments still take space", slog.Int("segments", len(l.removed)), slog.Any("error", err))
		return
	}
	l.removed = nil
}
