package segment

import (
	"errors"
	"fmt"
	"sync"

	"github.com/tidegate/tidegate/core/record"
)

// runChunk is what ReadRun takes from a file at once when it wants more than
// one frame.
const runChunk = 256 << 10

// runner is what a ReadRun works with.
type runner struct {
	buf   []byte
	batch record.Batch
}

var runners = sync.Pool{New: func() any { return new(runner) }}

// ReadRun is Find and ReadAt for the frame that holds the LSN, and adds those
// that follow it while their records have no more than limit bytes in all.
// The result is a sparse batch when it comes from more than one frame. Many
// small frames cost one read of the disk and no allocation each. Who reads on from
// there finds as much again on its way into memory.
func (r *Reader) ReadRun(lsn record.LSN, limit int, into *record.Batch) error {
	return r.ReadRunIn(r.index.floor(lsn), r.end, lsn, limit, into)
}

// ReadRunIn is ReadRun among the frames from position from up to end.
func (r *Reader) ReadRunIn(from, end int64, lsn record.LSN, limit int, into *record.Batch) error {
	run, ok := runners.Get().(*runner)
	if !ok {
		run = new(runner)
	}
	defer runners.Put(run)
	s := newScanner(r.file, r.header.Identity, from, end)
	s.win.chunk, s.win.buf = locateChunk, run.buf[:0]
	err := r.locateRun(s, lsn)
	if err == nil {
		begin := s.pos
		if err = s.run(limit, into, &run.batch); err == nil {
			s.prefetch(begin)
		}
	}
	if cap(s.win.buf) <= runChunk {
		run.buf = s.win.buf
	}
	if cap(run.batch.Raw) > runChunk {
		run.batch = record.Batch{}
	}
	return err
}

// locateRun moves the scanner to the frame that holds the LSN.
func (r *Reader) locateRun(s *Scanner, lsn record.LSN) error {
	for s.pos < s.end {
		p, err := s.win.at(s.pos, record.HeaderSize)
		if err != nil {
			return err
		}
		h, err := record.DecodeHeader(p, s.id)
		if err != nil {
			return fmt.Errorf("locate %d at %d: %w", lsn, s.pos, err)
		}
		if h.Base <= lsn && lsn < h.Next() {
			return nil
		}
		s.pos += int64(h.Size())
	}
	return fmt.Errorf("locate %d: not in segment %d: %w", lsn, r.header.Base, record.ErrCorrupt)
}

// run decodes the frame at the scanner's place and those behind it. A fault in
// a later frame ends the run, and is met by who asks for that frame.
func (s *Scanner) run(limit int, into, scratch *record.Batch) error {
	frame, err := s.frame(s.pos)
	if err == nil {
		_, err = record.DecodeFrame(frame, s.id, into)
	}
	if err != nil {
		return fmt.Errorf("read frame at %d: %w", s.pos, err)
	}
	if !s.fits(int64(len(frame)), into, limit) {
		return nil
	}
	first := *into
	*into = record.Batch{}
	into.ResetSparse(first.Base)
	into.Raw = make([]byte, 0, limit)
	into.Term, into.Sync = first.Term, first.Sync
	if err := into.Extend(&first); err != nil {
		return fmt.Errorf("read frame at %d: %w", s.pos, err)
	}
	s.win.chunk = runChunk
	for s.fits(int64(len(frame)), into, limit) {
		s.pos += int64(len(frame))
		if frame, err = s.frame(s.pos); err == nil {
			_, err = record.DecodeFrame(frame, s.id, scratch)
		}
		if err != nil && !isDamage(err) {
			return fmt.Errorf("read frame at %d: %w", s.pos, err)
		}
		if err != nil || s.header.Base != into.Next() {
			return nil //nolint:nilerr // the fault is not in what was asked for
		}
		if s.header.Count == 0 && s.header.Next() == into.Next() {
			continue
		}
		if err := into.Extend(scratch); err != nil {
			if errors.Is(err, record.ErrTooLarge) {
				return nil
			}
			return fmt.Errorf("read frame at %d: %w", s.pos, err)
		}
	}
	return nil
}

// prefetch has the file read on behind the window, by as much as was read since begin.
func (s *Scanner) prefetch(begin int64) {
	behind := s.win.start + int64(len(s.win.buf))
	if n := min(behind-begin, s.end-behind); n > 0 {
		_ = s.win.file.Prefetch(behind, n) // a hint: without it the next read takes longer
	}
}

// fits tells whether a frame follows the present one, of size bytes, whose
// records can be added to the batch within the limit.
func (s *Scanner) fits(size int64, into *record.Batch, limit int) bool {
	pos := s.pos + size
	if pos >= s.end {
		return false
	}
	p, err := s.win.at(pos, record.HeaderSize)
	if err != nil {
		return false
	}
	h, err := record.DecodeHeader(p, s.id)
	return err == nil && len(into.Raw)+h.Raw-h.Table <= limit
}
