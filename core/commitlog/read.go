package commitlog

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/errors/oserror"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// maxReadAhead bounds what ReadAhead is asked for.
const maxReadAhead = 16 << 20

// Read returns the batch that holds the LSN. It may be called from any
// goroutine; the batch is the caller's own. It is sparse when it comes from a
// rewritten segment. ErrNotFound when the log does not reach to the LSN, or
// the record is gone.
func (l *Log) Read(lsn record.LSN) (*record.Batch, error) {
	b := new(record.Batch)
	err := l.read(lsn, b, func(r *segment.Reader, from, end int64) error {
		var pos int64
		var err error
		if end > 0 {
			pos, err = r.Locate(from, end, lsn)
		} else {
			pos, err = r.Find(lsn)
		}
		if err == nil {
			_, err = r.ReadAt(pos, b)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// LostAt tells whether the loss of a record was accepted, and from which record on.
func (l *Log) LostAt(lsn record.LSN) (first record.LSN, lost bool, err error) {
	b := new(record.Batch)
	err = l.read(lsn, b, func(r *segment.Reader, _, end int64) error {
		if end > 0 {
			return nil // in the active segment nothing is lost
		}
		pos, err := r.Find(lsn)
		if err == nil {
			_, err = r.ReadAt(pos, b)
		}
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return 0, false, err
	}
	if b.Len() == 0 || b.Base > lsn {
		return 0, false, nil
	}
	kind, body := b.Record(b.Len() - 1) // a loss is a batch of its own
	if kind != record.KindLoss {
		return 0, false, nil
	}
	loss, err := record.DecodeLoss(body)
	return b.Base, err == nil && lsn < loss.End, err
}

// ReadAhead is Read for who will want the records behind the LSN too: it adds
// the batches that follow while all their records have no more than limit bytes
// together, up to the end of the segment, and returns them as one sparse batch
// with the time of each record. A backlog of small batches is so read at the
// cost of large ones.
func (l *Log) ReadAhead(lsn record.LSN, limit int) (*record.Batch, error) {
	limit = min(limit, maxReadAhead)
	b := new(record.Batch)
	err := l.read(lsn, b, func(r *segment.Reader, from, end int64) error {
		if end > 0 {
			return r.ReadRunIn(from, end, lsn, limit, b)
		}
		return r.ReadRun(lsn, limit, b)
	})
	if err != nil {
		return nil, err
	}
	return b, nil
}

// read lets do read the batch that holds the LSN from its segment, or from the
// range of the active one when end is not 0.
func (l *Log) read(lsn record.LSN, b *record.Batch, do func(r *segment.Reader, from, end int64) error) error {
	for {
		s, err := l.segmentOf(lsn)
		if err != nil {
			return fmt.Errorf("read %d: %w", lsn, err)
		}
		h, err := l.cache.take(s.name, s.file, func() (*segment.Reader, error) {
			return segment.Open(l.cfg.FS, l.cfg.path(s.name), l.cfg.Identity)
		})
		if oserror.IsNotExist(err) && l.moved(lsn, s) {
			continue // it was dropped or rewritten since; look again
		}
		if err != nil {
			return fmt.Errorf("read %d: %w", lsn, err)
		}
		err = do(h.r, s.from, s.end)
		if err = errors.Join(err, l.cache.give(h)); err != nil {
			return fmt.Errorf("read %d in %s: %w", lsn, l.cfg.path(s.name), err)
		}
		if !holds(b, lsn) {
			return fmt.Errorf("read %d: %w", lsn, ErrNotFound)
		}
		return nil
	}
}

// holds tells whether a batch has the record, and not only the word of its loss.
func holds(b *record.Batch, lsn record.LSN) bool {
	i, ok := b.Find(lsn)
	if !ok {
		return false
	}
	kind, _ := b.Record(i)
	return kind != record.KindLoss
}

// moved tells whether a record is not where it was found any more.
func (l *Log) moved(lsn record.LSN, was source) bool {
	if was.file != nil {
		return l.cache.isGone(was.file)
	}
	s, err := l.segmentOf(lsn)
	return err != nil || s.file != nil
}

// source is where a record is to be read.
type source struct {
	name      string
	file      *file // nil for the active segment
	from, end int64 // the range to look in, in the active segment
}

// segmentOf returns the segment that covers the LSN.
func (l *Log) segmentOf(lsn record.LSN) (source, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.active != nil && lsn >= l.active.Base() && lsn < l.next {
		from, end := l.active.Find(lsn)
		return source{name: leftover{base: l.active.Base()}.name(), from: from, end: end}, nil
	}
	i := after(l.sealed, lsn)
	if i == 0 || lsn >= l.sealed[i-1].next {
		return source{}, ErrNotFound
	}
	f := l.sealed[i-1]
	return source{name: f.name(), file: f}, nil
}

// after returns the place of the first file that begins above the LSN.
func after(files []*file, lsn record.LSN) int {
	i, _ := slices.BinarySearchFunc(files, lsn, func(f *file, lsn record.LSN) int {
		if f.base > lsn {
			return 1
		}
		return -1
	})
	return i
}
