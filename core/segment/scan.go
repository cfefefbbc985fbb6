package segment

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// Scanner walks over the frames of a segment in order:
//
//	s := r.Scan(segment.HeaderSize)
//	for s.Next() {
//		use(s.Batch())
//	}
//	return s.Err()
type Scanner struct {
	win window
	id  record.Identity
	end int64

	pos    int64 // behind the present frame
	start  int64 // of the present frame
	header record.Header
	batch  record.Batch
	err    error
}

// Scan returns a scanner over the frames from a position that [Reader.Find]
// returned, or from HeaderSize, up to End.
func (r *Reader) Scan(from int64) *Scanner {
	return newScanner(r.file, r.header.Identity, from, r.end)
}

func newScanner(f vfs.File, id record.Identity, from, end int64) *Scanner {
	return &Scanner{win: window{file: f, size: end, chunk: scanChunk}, id: id, pos: from, end: end}
}

// Next reads the next frame. It returns false at the end and at the first
// fault, see Err.
func (s *Scanner) Next() bool {
	if s.err != nil || s.pos >= s.end {
		return false
	}
	s.start = s.pos
	frame, err := s.frame(s.pos)
	if err == nil {
		_, err = record.DecodeFrame(frame, s.id, &s.batch)
	}
	if err != nil {
		s.err = fmt.Errorf("frame at %d: %w", s.pos, err)
		return false
	}
	s.pos += int64(len(frame))
	return true
}

// frame returns the bytes of the frame at pos, of which only the header has
// been checked, and sets the header.
func (s *Scanner) frame(pos int64) ([]byte, error) {
	p, err := s.win.at(pos, record.HeaderSize)
	if err != nil {
		return nil, err
	}
	if s.header, err = record.DecodeHeader(p, s.id); err != nil {
		return nil, err
	}
	if int64(s.header.Size()) > s.end-pos {
		return nil, fmt.Errorf("%d bytes at the end of the file: %w", s.header.Size(), record.ErrShort)
	}
	return s.win.at(pos, s.header.Size())
}

// Pos is the position of the present frame.
func (s *Scanner) Pos() int64 { return s.start }

// Header is the header of the present frame.
func (s *Scanner) Header() *record.Header { return &s.header }

// Batch is the batch of the present frame, valid until Next; that of a mark is
// empty.
func (s *Scanner) Batch() *record.Batch { return &s.batch }

// Err is the fault that ended the walk, or nil when it reached the end. It
// wraps record.ErrCorrupt, record.ErrShort or record.ErrVersion when the bytes
// are at fault; other errors are those of reading.
func (s *Scanner) Err() error { return s.err }
