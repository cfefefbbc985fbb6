package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/errors/oserror"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// planRebuild plans a manifest of the segments that are there, in the place of one
// that is lost or no use. Where several cover an LSN the latest rewrite has it;
// the others end in quarantine. What was dropped and is still there comes back.
// The damaged manifest is moved to quarantine first, and until the new one is
// written the log is refused. Without a segment it is the manifest of a log that goes
// on behind the checkpoint.
func planRebuild(cfg *Config) (carry func() error, err error) {
	dir, err := list(cfg)
	if oserror.IsNotExist(err) {
		dir, err = new(listing), nil
	}
	if err != nil {
		return nil, err
	}
	if dir.manifest {
		m, err := readManifest(cfg)
		if err == nil && len(m.files) == 0 && len(dir.rewritten) == 0 && cfg.From >= m.end {
			return func() error {
				_, err := BeginBehind(*cfg, func() record.LSN { return cfg.From })
				return err
			}, nil
		}
		if err == nil {
			return nil, fmt.Errorf("it has no fault: %w", ErrNotFound)
		}
		if !errors.Is(err, ErrCorrupt) {
			return nil, err
		}
	}
	m, err := gather(cfg, dir)
	if err == nil {
		err = m.check()
	}
	return func() error { return rebuild(cfg, dir, m) }, err
}

// rebuild puts a manifest in the place of what is there.
func rebuild(cfg *Config, dir *listing, m *manifest) error {
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return err
	}
	if dir.manifest {
		if err := errors.Join(quarantine(cfg, manifestName), segment.SyncDir(cfg.FS, cfg.Dir)); err != nil {
			return err
		}
	}
	return writeManifest(cfg, m)
}

// gather lists all segments before the last original one, at which the
// manifest ends; without one it ends behind them, and without any behind the
// checkpoint.
func gather(cfg *Config, dir *listing) (*manifest, error) {
	m, found := &manifest{}, slices.Clone(dir.rewritten)
	last := record.LSN(math.MaxUint64)
	if n := len(dir.originals); n > 0 {
		last = dir.originals[n-1]
		r, err := segment.Open(cfg.FS, cfg.path(leftover{base: last}.name()), cfg.Identity)
		if err != nil {
			return nil, err
		}
		m.end, m.chain = last, r.Header().Previous
		if err := r.Close(); err != nil {
			return nil, err
		}
		for _, base := range dir.originals[:n-1] {
			found = append(found, leftover{base: base})
		}
	}
	slices.SortFunc(found, func(a, b leftover) int {
		return cmp.Or(cmp.Compare(b.generation, a.generation), cmp.Compare(a.base, b.base))
	})
	for _, r := range found {
		m.generation = max(m.generation, r.generation+1)
		f, err := sealedFile(cfg, r)
		if err != nil {
			return nil, err
		}
		taken := slices.ContainsFunc(m.files, func(o *file) bool { return f.base < o.next && o.base < f.next })
		if !taken && f.next <= last {
			m.files = append(m.files, f)
		}
	}
	m.generation = max(m.generation, 1)
	slices.SortFunc(m.files, func(a, b *file) int { return cmp.Compare(a.base, b.base) })
	if n := len(m.files); len(dir.originals) == 0 && n > 0 {
		m.end = m.files[n-1].next
	} else if len(dir.originals) == 0 {
		m.end = max(firstLSN, cfg.From+1)
	}
	return m, nil
}

// sealedFile tells what a manifest says of a segment.
func sealedFile(cfg *Config, r leftover) (*file, error) {
	path := cfg.path(r.name())
	rec, err := segment.Inspect(cfg.FS, path, cfg.Identity)
	if err == nil && rec == nil {
		rec, err = segment.Recover(cfg.FS, path, cfg.Identity, func(*record.Batch) error { return nil })
	}
	if err != nil {
		return nil, err
	}
	if !rec.Sealed {
		return nil, &CorruptError{Segment: path, From: rec.End, To: rec.Size, First: rec.Next, Err: fmt.Errorf(
			"segment without a footer and without a manifest: %w", ErrCorrupt)}
	}
	return &file{base: r.base, generation: r.generation, next: rec.Next, size: rec.Size, sum: rec.Sum}, nil
}
