package segment

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// window reads a file through one buffer, in chunks.
type window struct {
	file  vfs.File
	size  int64 // nothing is read behind it
	chunk int   // least number of bytes to read at once

	start int64 // position of buf in the file
	buf   []byte
}

// at returns n bytes at pos, fewer where the file ends. They are valid until
// the next call. The caller bounds n by what it has verified.
func (w *window) at(pos int64, n int) ([]byte, error) {
	n = int(max(0, min(int64(n), w.size-pos)))
	if off := pos - w.start; off >= 0 && off+int64(n) <= int64(len(w.buf)) {
		return w.buf[off : off+int64(n)], nil
	}
	want := int(min(int64(max(n, w.chunk)), w.size-pos))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.start, w.buf = pos, w.buf[:want]
	got, err := readFull(w.file, w.buf, pos)
	w.buf = w.buf[:got]
	return w.buf[:min(n, got)], err
}

// rest returns at least n bytes at pos, fewer where the file ends, and all that
// happen to be buffered behind them.
func (w *window) rest(pos int64, n int) ([]byte, error) {
	if _, err := w.at(pos, n); err != nil {
		return nil, err
	}
	return w.buf[min(pos-w.start, int64(len(w.buf))):], nil
}

// buffers keeps the buffers of short reads; none is larger than locateChunk.
var buffers = sync.Pool{New: func() any { return new(make([]byte, locateChunk)) }}

// readFull fills p from pos; less than that is no error where the file ends.
func readFull(f vfs.File, p []byte, pos int64) (int, error) {
	n := 0
	for n < len(p) {
		got, err := f.ReadAt(p[n:], pos+int64(n))
		n += got
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("read at %d: %w", pos, err)
		}
	}
	return n, nil
}
