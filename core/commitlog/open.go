package commitlog

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// firstLSN is the LSN of the first record of a log.
const firstLSN record.LSN = 1

// Open opens the log and calls replay with every batch that has a record above
// cfg.From, in order; those of rewritten segments are sparse. A batch is valid
// until replay returns. On return all of the log is on stable storage.
//
// Sealed segments with no record above cfg.From are judged by header, footer
// and length; their frames are checked when they are read, and by [Verify].
//
// Bytes that are no frames, at or above the durable watermark of the last
// segment, are the torn tail of a crash: they are cut away with all that
// follows them. Any other fault gives a *CorruptError, or an error that wraps
// record.ErrVersion for what a later version wrote, and leaves the files as
// they are; replay may have been called by then. A log that ends below
// cfg.From gives ErrBehind. So may one that ends too early for cfg.Ends, with its
// tail as it was.
func Open(cfg Config, replay func(*record.Batch) error) (*Log, error) {
	cfg.setDefaults()
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{cfg: cfg, next: firstLSN}
	if err := l.recover(replay); err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Dir, err)
	}
	return l, nil
}

func (cfg *Config) setDefaults() {
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = DefaultSegmentBytes
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
}

func (cfg *Config) path(name string) string { return cfg.FS.PathJoin(cfg.Dir, name) }

// makeDir makes a directory and those above it, with durable entries. The
// entry of the directory itself is synced also when it is there already: a
// crash may have come in between.
func makeDir(fs vfs.FS, dir string) error {
	parent := fs.PathDir(dir)
	if _, err := fs.Stat(parent); oserror.IsNotExist(err) && parent != dir {
		if err := makeDir(fs, parent); err != nil {
			return err
		}
	}
	if err := fs.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	return segment.SyncDir(fs, parent)
}

// recover validates and replays all segments, and only then repairs.
func (l *Log) recover(replay func(*record.Batch) error) error {
	dir, m, c, err := load(&l.cfg)
	if err == nil {
		err = c.missing()
	}
	if err != nil {
		return err
	}
	var last *segment.Recovery
	for i, e := range c.expected {
		rec, err := l.examine(e, i == len(c.expected)-1, replay)
		if err == nil {
			err = c.judge(e, rec)
		}
		if err != nil {
			return err
		}
		l.bytes.Add(rec.Size)
		if rec.Sealed {
			l.sealed = append(l.sealed, fileOf(e, rec))
		} else {
			last = rec
		}
		if e.listed == nil && rec.Sealed && i == len(c.expected)-1 {
			last = rec
		}
	}
	c.close()
	if l.next = c.next; l.cfg.From >= l.next {
		return fmt.Errorf("log ends at %d, checkpoint at %d: %w", l.next-1, l.cfg.From, ErrBehind)
	}
	if l.cfg.Ends != nil {
		if err := l.cfg.Ends(l.next - 1); err != nil {
			return err
		}
	}
	l.chain, l.sealedTo = c.chain, c.sealedTo
	l.generation, l.managed = m.generation, dir.manifest
	if err := l.tidy(dir, m); err != nil {
		return err
	}
	if last != nil {
		if err := l.repair(last); err != nil {
			return err
		}
	}
	l.synced.Store(uint64(l.next)) // the rest of the last segment, too, see repair
	return segment.SyncDir(l.cfg.FS, l.cfg.Dir)
}

// load reads what a directory holds and what its manifest says of it.
func load(cfg *Config) (*listing, *manifest, *court, error) {
	dir, err := list(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	m, err := readManifest(cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := newCourt(cfg, dir, m)
	return dir, m, c, err
}

// examine reads as much of a segment as the log needs to trust it, and replays
// what is above the checkpoint.
func (l *Log) examine(e *expected, last bool, replay func(*record.Batch) error) (*segment.Recovery, error) {
	path := l.cfg.path(e.file.name())
	if below := e.following > 0 && e.following-1 <= l.cfg.From; below && !last {
		rec, err := segment.Inspect(l.cfg.FS, path, l.cfg.Identity)
		if err != nil {
			return nil, err
		}
		if rec != nil && rec.Next == e.following {
			return rec, nil
		}
	}
	return segment.Recover(l.cfg.FS, path, l.cfg.Identity, func(b *record.Batch) error {
		if b.Next() <= l.cfg.From+1 && (b.Len() > 0 || b.Base <= l.cfg.From) {
			return nil
		}
		return replay(b)
	})
}

func fileOf(e *expected, rec *segment.Recovery) *file {
	return &file{
		base: e.file.base, generation: e.file.generation, next: rec.Next,
		size: rec.Size, sum: rec.Sum, stats: rec.Stats,
	}
}

// tidy removes what was never finished and what the manifest has replaced, and
// puts aside what it does not know. All segments of the log were judged sound.
func (l *Log) tidy(dir *listing, m *manifest) error {
	for _, name := range dir.temps {
		if err := l.cfg.FS.Remove(l.cfg.path(name)); err != nil {
			return fmt.Errorf("remove half made file: %w", err)
		}
	}
	replaced, unknown := dir.unlisted(m)
	for _, r := range replaced {
		if err := l.cfg.FS.Remove(l.cfg.path(r.name())); err != nil {
			return fmt.Errorf("remove replaced segment: %w", err)
		}
	}
	for _, r := range unknown {
		waits, err := l.neverInstalled(r, m)
		if err != nil {
			return err
		}
		if waits {
			l.cfg.Log.Warn("segment of an interrupted rewrite removed", slog.String("segment", r.name()))
			if err := l.cfg.FS.Remove(l.cfg.path(r.name())); err != nil {
				return fmt.Errorf("remove segment of an interrupted rewrite: %w", err)
			}
			continue
		}
		l.cfg.Log.Warn("unknown segment put into quarantine", slog.String("segment", r.name()))
		if err := quarantine(&l.cfg, r.name()); err != nil {
			return err
		}
	}
	return nil
}

// neverInstalled tells that a file is one that a rewrite has finished and that a
// crash kept out of the manifest: a whole segment of this log, of a generation
// above the manifest's, which covers nothing but what the sealed segments of the
// log cover without a gap. They are what it was made from, so nothing is lost
// with it.
func (l *Log) neverInstalled(r leftover, m *manifest) (bool, error) {
	if r.generation <= m.generation {
		return false, nil
	}
	rec, err := segment.Inspect(l.cfg.FS, l.cfg.path(r.name()), l.cfg.Identity)
	if err != nil || rec == nil || rec.Header.Base != r.base || rec.Header.Generation != r.generation {
		return false, err
	}
	at := r.base
	for _, f := range l.sealed {
		if f.base == at && at < rec.Next {
			at = f.next
		}
	}
	return at == rec.Next && at > r.base, nil
}

// repair makes the last segment fit to go on: it removes one whose creation
// was torn, cuts a torn tail, brings the rest to stable storage, and opens one
// that is not sealed for appending.
func (l *Log) repair(last *segment.Recovery) error {
	base := l.sealedTo
	if last.Sealed {
		base = l.sealed[len(l.sealed)-1].base
	}
	path := l.cfg.path(leftover{base: base}.name())
	if last.Torn() {
		l.cfg.Log.Warn("segment of torn creation removed", slog.String("segment", path))
		if err := l.cfg.FS.Remove(path); err != nil {
			return fmt.Errorf("remove torn segment: %w", err)
		}
		l.bytes.Add(-last.Size)
		return nil
	}
	if d := last.Damage; d != nil {
		l.cfg.Log.Warn("torn tail cut", slog.String("segment", path), slog.Int64("at", last.End),
			slog.Int64("bytes", last.Size-last.End), slog.Uint64("next_lsn", uint64(last.Next)),
			slog.Any("cause", d.Err))
		l.bytes.Add(last.End - last.Size)
		if err := segment.Cut(l.cfg.FS, path, last); err != nil {
			return err
		}
	}
	if last.Sealed {
		return segment.Harden(l.cfg.FS, path, last)
	}
	w, err := segment.Resume(l.cfg.FS, path, last)
	if err != nil {
		return err
	}
	l.active = w
	return nil
}

// CorruptError tells where a log has lost bytes that were on stable storage.
// The log is refused and nothing of it was changed.
type CorruptError struct {
	// Segment is the path of the file, which may also be the manifest.
	Segment string
	// From and To are the range of bytes that are no use. It is empty where
	// the bytes are sound but do not follow those before.
	From, To int64
	// First and Last are the LSNs of the records that are lost. Last is 0 when
	// nothing behind them tells where they end, and First-1 when no record is
	// lost. Both are 0 for the manifest: the segments tell what is lost.
	First, Last record.LSN
	// Err is what was found. It wraps ErrCorrupt.
	Err error
}

func (e *CorruptError) Error() string {
	where := "segment " + e.Segment
	if e.First == 0 {
		where = e.Segment
	}
	if e.To > e.From {
		where += fmt.Sprintf(", bytes %d to %d", e.From, e.To)
	}
	switch {
	case e.First == 0:
	case e.Last == 0:
		where += fmt.Sprintf(", records from %d on", e.First)
	case e.Last < e.First:
		where += ", no record"
	default:
		where += fmt.Sprintf(", records %d to %d", e.First, e.Last)
	}
	return fmt.Sprintf("%s: %v", where, e.Err)
}

// Unwrap returns ErrCorrupt and what was found.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// isVersion tells that what is wrong is not damage but the work of a later
// version.
func isVersion(err error) bool { return errors.Is(err, record.ErrVersion) }
