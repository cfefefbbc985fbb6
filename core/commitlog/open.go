package commitlog

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// firstLSN is the LSN of the first record of a log.
const firstLSN record.LSN = 1

// suffix ends the name of a segment file; before it is the LSN of the first
// record in 20 digits.
const suffix = ".seg"

// ErrCorrupt is what a CorruptError wraps.
var ErrCorrupt = record.ErrCorrupt

// CorruptError tells where a log has lost bytes that were on stable storage.
// The log is refused and nothing of it was changed.
type CorruptError struct {
	// Segment is the path of the file.
	Segment string
	// From and To are the range of bytes that are no use. It is empty where
	// the bytes are sound but do not follow those before.
	From, To int64
	// First and Last are the LSNs of the records that are lost. Last is 0 when
	// nothing behind them tells where they end, and First-1 when no record is
	// lost.
	First, Last record.LSN
	// Err is what was found. It wraps ErrCorrupt.
	Err error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("segment %s, bytes %d to %d, records %d to %d: %v",
		e.Segment, e.From, e.To, e.First, e.Last, e.Err)
}

// Unwrap returns ErrCorrupt and what was found.
func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

// Open opens the log and calls replay with every batch of it, in order. A
// batch is valid until replay returns. On return all of the log is on stable
// storage.
//
// Bytes that are no frames, at or above the durable watermark of the last
// segment, are the torn tail of a crash: they are cut away with all that
// follows them. Any other fault gives a *CorruptError, or an error that wraps
// record.ErrVersion for what a later version wrote, and leaves the files as
// they are; replay may have been called by then.
func Open(cfg Config, replay func(*record.Batch) error) (*Log, error) {
	if cfg.SegmentBytes <= 0 {
		cfg.SegmentBytes = DefaultSegmentBytes
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{cfg: cfg, next: firstLSN}
	l.enc.Zstd = cfg.Zstd
	if err := l.recover(replay); err != nil {
		return nil, fmt.Errorf("open log %s: %w", cfg.Dir, err)
	}
	return l, nil
}

func (l *Log) path(base record.LSN) string {
	return l.cfg.FS.PathJoin(l.cfg.Dir, fmt.Sprintf("%020d%s", base, suffix))
}

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

// list returns the bases of the segments in order, and the names of files that
// a crash left half made.
func (l *Log) list() (bases []record.LSN, temps []string, err error) {
	names, err := l.cfg.FS.List(l.cfg.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("list: %w", err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, suffix+segment.TempSuffix) {
			temps = append(temps, name)
			continue
		}
		digits, ok := strings.CutSuffix(name, suffix)
		base, err := strconv.ParseUint(digits, 10, 64)
		if !ok || err != nil || len(digits) != 20 {
			l.cfg.Log.Warn("strange file in the log's directory", slog.String("file", name))
			continue
		}
		bases = append(bases, record.LSN(base))
	}
	slices.Sort(bases)
	return bases, temps, nil
}

// recover validates and replays all segments, and only then repairs.
func (l *Log) recover(replay func(*record.Batch) error) error {
	bases, temps, err := l.list()
	if err != nil {
		return err
	}
	var last *segment.Recovery
	for i, base := range bases {
		rec, err := segment.Recover(l.cfg.FS, l.path(base), l.cfg.Identity, replay)
		if err != nil {
			return err
		}
		var following record.LSN
		if i+1 < len(bases) {
			following = bases[i+1]
		}
		if err := l.judge(base, following, rec); err != nil {
			return err
		}
		if rec.End > 0 {
			l.next, l.previous = rec.Next, rec.Sum
		}
		l.bytes.Add(rec.Size)
		last = rec
	}
	l.bases = bases
	if err := l.removeTemps(temps); err != nil {
		return err
	}
	if last != nil {
		if err := l.repair(last); err != nil {
			return err
		}
	}
	return segment.SyncDir(l.cfg.FS, l.cfg.Dir)
}

// judge tells whether a segment is as it must be, or as a crash may leave the
// last one. following is the base of the segment behind it; 0 is none.
func (l *Log) judge(base, following record.LSN, rec *segment.Recovery) error {
	path, d := l.path(base), rec.Damage
	if d != nil && errors.Is(d.Err, record.ErrVersion) {
		return fmt.Errorf("segment %s at %d: %w", path, d.From, d.Err)
	}
	bad := &CorruptError{Segment: path, To: segment.HeaderSize, First: l.next, Last: base - 1}
	switch {
	case base != l.next:
		bad.To, bad.Err = 0, fmt.Errorf("segment where that of %d should be: %w", l.next, ErrCorrupt)
		return bad
	case rec.End == 0 && following == 0 && rec.Torn():
		return nil
	case rec.End == 0:
		bad.To, bad.Last, bad.Err = d.To, max(following, 1)-1, d.Err
		return bad
	case rec.Header.Base != base || rec.Header.Previous != l.previous:
		bad.Err = fmt.Errorf("header of segment %d does not follow the one before: %w", rec.Header.Base, ErrCorrupt)
		return bad
	case d == nil && (rec.Sealed || following == 0), following == 0 && rec.TornTail():
		return nil
	}
	bad.From, bad.To, bad.First, bad.Last = rec.Size, rec.Size, rec.Next, max(following, 1)-1
	bad.Err = fmt.Errorf("segment ends without a footer: %w", ErrCorrupt)
	if d != nil {
		bad.From, bad.To, bad.Err = d.From, d.To, d.Err
		if d.Last > 0 {
			bad.Last = d.Last
		}
	}
	return bad
}

func (l *Log) removeTemps(names []string) error {
	for _, name := range names {
		if err := l.cfg.FS.Remove(l.cfg.FS.PathJoin(l.cfg.Dir, name)); err != nil {
			return fmt.Errorf("remove half made file: %w", err)
		}
	}
	return nil
}

// repair makes the last segment fit to go on: it removes one whose creation
// was torn, cuts a torn tail, brings the rest to stable storage, and opens one
// that is not sealed for appending.
func (l *Log) repair(last *segment.Recovery) error {
	base := l.bases[len(l.bases)-1]
	path := l.path(base)
	if last.Torn() {
		l.cfg.Log.Warn("segment of torn creation removed", slog.String("segment", path))
		if err := l.cfg.FS.Remove(path); err != nil {
			return fmt.Errorf("remove torn segment: %w", err)
		}
		l.bases = l.bases[:len(l.bases)-1]
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
