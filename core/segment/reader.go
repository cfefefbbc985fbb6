package segment

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// Chunks of bytes that readers take from a file at once. They are small: a sync of
// the log waits for a read that the disk has begun.
const (
	locateChunk = IndexStep
	scanChunk   = 256 << 10
)

// Reader reads one segment. It is safe for concurrent use, also while a
// [Writer] appends to the same file.
type Reader struct {
	file   vfs.File
	header Header
	end    int64 // behind the last frame when sealed, else the file's size when opened
	next   record.LSN
	sealed bool
	index  index
}

// Open opens a segment for reading and reads its header and, when it is
// sealed, its footer. The frames are not looked at.
//
// The kernel does not read ahead: it may be set to do so by many megabytes, and each
// time the log's syncs wait for all of them. See [Reader.ReadRun].
func Open(fs vfs.FS, path string, id record.Identity) (*Reader, error) {
	file, err := fs.Open(path, vfs.RandomReadsOption)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	r := &Reader{file: file}
	if err := r.open(id); err != nil {
		return nil, errors.Join(fmt.Errorf("open segment %s: %w", path, err), file.Close())
	}
	return r, nil
}

func (r *Reader) open(id record.Identity) error {
	info, err := r.file.Stat()
	if err != nil {
		return fmt.Errorf("stat: %w", err)
	}
	r.end = info.Size()
	w := window{file: r.file, size: r.end, chunk: HeaderSize}
	p, err := w.at(0, HeaderSize)
	if err != nil {
		return err
	}
	if r.header, err = decodeHeader(p); err != nil {
		return err
	}
	if r.header.Identity != id {
		return fmt.Errorf("belongs to shard %d of cluster %x: %w",
			r.header.Identity.Shard, r.header.Identity.Cluster, record.ErrCorrupt)
	}
	t, x, err := readFooter(r.file, r.end, id)
	if err != nil || t == nil {
		return err
	}
	r.end, r.next, r.sealed, r.index = t.end, t.next, true, x
	return nil
}

// readFooter reads the footer of a file of the given size. It returns no
// trailer when there is none that is sound; an error is one of reading.
func readFooter(f vfs.File, size int64, id record.Identity) (*trailer, index, error) {
	if size < HeaderSize+TrailerSize {
		return nil, nil, nil
	}
	w := window{file: f, size: size, chunk: TrailerSize}
	p, err := w.at(size-TrailerSize, TrailerSize)
	if err != nil {
		return nil, nil, err
	}
	t, err := decodeTrailer(p, id)
	if errors.Is(err, record.ErrVersion) {
		return nil, nil, err
	}
	if err != nil || t.end < HeaderSize || t.end > size || t.next < t.base ||
		size-t.end != t.footer()+TrailerSize {
		return nil, nil, nil //nolint:nilerr // not sealed, or the seal was torn
	}
	if p, err = w.at(t.end, int(t.footer())); err != nil {
		return nil, nil, err
	}
	x, err := decodeFooter(p, &t)
	if err != nil {
		return nil, nil, nil //nolint:nilerr // the seal was torn or has rotted
	}
	return &t, x, nil
}

// Header returns the segment's header.
func (r *Reader) Header() Header { return r.header }

// Sealed tells whether the segment had a footer when it was opened.
func (r *Reader) Sealed() bool { return r.sealed }

// Next is the LSN behind the last record of a sealed segment, else 0.
func (r *Reader) Next() record.LSN { return r.next }

// End is the position behind the last frame of a sealed segment, else the
// size of the file when it was opened.
func (r *Reader) End() int64 { return r.end }

// Find returns the position of the frame that holds the LSN. ErrCorrupt when
// there is none.
func (r *Reader) Find(lsn record.LSN) (int64, error) {
	return r.Locate(r.index.floor(lsn), r.end, lsn)
}

// Locate is Find among the frames from position from up to end.
func (r *Reader) Locate(from, end int64, lsn record.LSN) (int64, error) {
	buf, ok := buffers.Get().(*[]byte)
	if !ok {
		buf = new([]byte)
	}
	defer buffers.Put(buf)
	w := window{file: r.file, size: end, chunk: locateChunk, buf: (*buf)[:0]}
	for pos := from; pos < end; {
		p, err := w.at(pos, record.HeaderSize)
		if err != nil {
			return 0, err
		}
		h, err := record.DecodeHeader(p, r.header.Identity)
		if err != nil {
			return 0, fmt.Errorf("locate %d at %d: %w", lsn, pos, err)
		}
		if h.Base <= lsn && lsn < h.Next() {
			return pos, nil
		}
		pos += int64(h.Size())
	}
	return 0, fmt.Errorf("locate %d: not in segment %d: %w", lsn, r.header.Base, record.ErrCorrupt)
}

// ReadAt reads the frame at a position that Find returned, or that ReadAt
// returned for the frame before, and returns the position of the next frame.
func (r *Reader) ReadAt(pos int64, into *record.Batch) (int64, error) {
	var head [record.HeaderSize]byte
	n, err := readFull(r.file, head[:], pos)
	if err != nil {
		return 0, err
	}
	h, err := record.DecodeHeader(head[:n], r.header.Identity)
	if err != nil {
		return 0, fmt.Errorf("read frame at %d: %w", pos, err)
	}
	frame := make([]byte, h.Size())
	if n, err = readFull(r.file, frame, pos); err != nil {
		return 0, err
	}
	if n, err = record.DecodeFrame(frame[:n], r.header.Identity, into); err != nil {
		return 0, fmt.Errorf("read frame at %d: %w", pos, err)
	}
	return pos + int64(n), nil
}

// Close closes the file. It must not be called while another method runs.
func (r *Reader) Close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	if err != nil {
		return fmt.Errorf("close segment %d: %w", r.header.Base, err)
	}
	return nil
}
