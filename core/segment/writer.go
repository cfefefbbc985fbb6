package segment

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// writeCategory is the name under which a file system may count our writes.
const writeCategory vfs.DiskWriteCategory = "log"

// Writer appends to one segment. Its methods must be called from one goroutine
// at a time, but for Find. After an error of Append, Sync or Seal the file's
// contents are unknown: only Close is allowed, and nothing may be retried.
type Writer struct {
	file   vfs.File
	header Header

	synced  int64  // everything below was reached by a completed sync
	carried int64  // highest watermark that a frame in the file has
	dataEnd int64  // behind the last frame that is no mark
	lastSum uint32 // checksum of the last frame

	mu    sync.RWMutex // guards what Find and Stats read
	stats Stats
	index index
	end   int64
	next  record.LSN
}

// Create makes a new segment file, with its header and directory entry on
// stable storage. A file of that name must not exist.
func Create(fs vfs.FS, path string, h Header) (*Writer, error) {
	if _, err := fs.Stat(path); !oserror.IsNotExist(err) {
		return nil, fmt.Errorf("create segment %s: exists (%w)", path, errors.Join(oserror.ErrExist, err))
	}
	file, err := fs.OpenReadWrite(path, writeCategory)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	w := &Writer{
		file: file, header: h, next: h.Base,
		synced: HeaderSize, carried: HeaderSize, dataEnd: HeaderSize, end: HeaderSize,
	}
	if err := w.begin(fs, path); err != nil {
		return nil, errors.Join(fmt.Errorf("create segment %s: %w", path, err), file.Close())
	}
	return w, nil
}

func (w *Writer) begin(fs vfs.FS, path string) error {
	if _, err := w.file.WriteAt(w.header.encode(), 0); err != nil {
		return fmt.Errorf("write header: %w", err)
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync header: %w", err)
	}
	return SyncDir(fs, fs.PathDir(path))
}

// SyncDir makes the entries of a directory durable.
func SyncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

// Append writes one frame behind the others, with one write. The frame must
// begin at Next, carry Synced as its watermark, and be sparse if the segment is
// a rewritten one. The frame's bytes may be
// changed by the file system.
func (w *Writer) Append(frame []byte) error {
	h, err := record.DecodeHeader(frame, w.header.Identity)
	switch {
	case err != nil:
		return fmt.Errorf("append frame: %w", err)
	case h.Sparse() != w.header.Rewritten:
		return fmt.Errorf("append frame %d, sparse %v: %w", h.Base, h.Sparse(), record.ErrCorrupt)
	case h.Base != w.next || h.Size() != len(frame) || h.Watermark != w.Synced():
		return fmt.Errorf("append frame %d of %d bytes, watermark %d, to segment at %d: %w",
			h.Base, len(frame), h.Watermark, w.next, record.ErrCorrupt)
	}
	pos := w.end
	if _, err := w.file.WriteAt(frame, pos); err != nil {
		return fmt.Errorf("write frame %d: %w", h.Base, err)
	}
	w.lastSum, w.carried = h.Sum, max(w.carried, int64(h.Watermark))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end, w.next = pos+int64(h.Size()), h.Next()
	if h.Count > 0 {
		w.index.add(h.Base, pos)
	}
	if !h.Mark {
		w.dataEnd = w.end
		w.stats.note(&h)
	}
	return nil
}

// Sync brings all frames to stable storage.
func (w *Writer) Sync() error {
	if err := w.file.SyncData(); err != nil {
		return fmt.Errorf("sync segment %d: %w", w.header.Base, err)
	}
	w.synced = w.end
	return nil
}

// Seal syncs the frames, writes the footer, syncs it, and returns the CRC that
// the next segment's header repeats. Nothing can be appended after it.
func (w *Writer) Seal() (uint32, error) {
	if w.synced < w.end {
		if err := w.Sync(); err != nil {
			return 0, err
		}
	}
	p := w.stats.append(w.index.encode())
	t := trailer{
		base: w.header.Base, next: w.next, end: w.end, lastSum: w.lastSum,
		entries: len(w.index), indexSum: checksum(p), counted: true, stats: w.stats,
	}
	p = append(p, t.encode(w.header.Identity)...)
	if _, err := w.file.WriteAt(p, w.end); err != nil {
		return 0, fmt.Errorf("write footer of segment %d: %w", w.header.Base, err)
	}
	if err := w.file.Sync(); err != nil {
		return 0, fmt.Errorf("sync footer of segment %d: %w", w.header.Base, err)
	}
	return t.sum, nil
}

// FooterSize is the length of the footer that Seal would write, in bytes.
func (w *Writer) FooterSize() int64 { return int64(len(w.index)*entrySize + statsSize + TrailerSize) }

// Stats tells what the segment holds, and the length of the file without a
// footer. It is safe for concurrent use.
func (w *Writer) Stats() (Stats, int64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.stats, w.end
}

// Base is the LSN of the segment's first record.
func (w *Writer) Base() record.LSN { return w.header.Base }

// Next is the LSN of the next record.
func (w *Writer) Next() record.LSN { return w.next }

// End is the length of the file without a footer, in bytes.
func (w *Writer) End() int64 { return w.end }

// Synced is the durable watermark: the end of the last completed sync.
func (w *Writer) Synced() uint64 { return uint64(w.synced) }

// Unmarked tells that a batch lies at or above every watermark in the file: a
// mark would protect it from being taken for a torn tail.
func (w *Writer) Unmarked() bool { return w.dataEnd > w.carried }

// Find returns the range of bytes to search for the frame that holds the LSN,
// see [Reader.Locate]. It is safe for concurrent use.
func (w *Writer) Find(lsn record.LSN) (from, end int64) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.index.floor(lsn), w.end
}

// Close closes the file and syncs nothing.
func (w *Writer) Close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	if err != nil {
		return fmt.Errorf("close segment %d: %w", w.header.Base, err)
	}
	return nil
}
