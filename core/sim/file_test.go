package sim_test

import (
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// handle is an open file, or an open directory when it has no node.
type handle struct {
	d    *disk
	n    *node
	name string
	pos  int
}

// Close implements [vfs.File].
func (h *handle) Close() error { return nil }

// Read implements [vfs.File].
func (h *handle) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, int64(h.pos))
	h.pos += n
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// ReadAt implements [vfs.File].
func (h *handle) ReadAt(p []byte, at int64) (int, error) {
	if err := h.d.before("read", h.name); err != nil {
		return 0, err
	}
	if at >= int64(len(h.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.n.data[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Write implements [vfs.File].
func (h *handle) Write(p []byte) (int, error) {
	n, err := h.WriteAt(p, int64(h.pos))
	h.pos += n
	return n, err
}

// WriteAt implements [vfs.File]. A disk that is full takes a part.
func (h *handle) WriteAt(p []byte, at int64) (int, error) {
	if err := h.d.before("write", h.name); err != nil {
		return 0, err
	}
	var full error
	if end := int(at) + len(p); end > len(h.n.data) && h.d.capacity > 0 {
		if over := h.d.used() + end - len(h.n.data) - h.d.capacity; over > 0 {
			p, full = p[:max(len(p)-over, 0)], syscall.ENOSPC
		}
	}
	if end := int(at) + len(p); end > len(h.n.data) {
		h.n.data = append(h.n.data, make([]byte, end-len(h.n.data))...)
	}
	h.n.dirty = min(h.n.dirty, int(at))
	h.d.wrote(p)
	return copy(h.n.data[at:], p), full
}

// Sync implements [vfs.File]. What a failed one should have written is taken
// for clean from then on, as Linux does: no later sync writes it.
func (h *handle) Sync() error {
	err := h.d.before("sync", h.name)
	switch {
	case errors.Is(err, errDead):
		return err
	case h.n == nil && err == nil:
		h.d.syncDir(h.name)
	case h.n == nil:
	case err != nil:
		h.n.dirty = len(h.n.data)
	default:
		h.n.sync()
	}
	return err
}

func (n *node) sync() {
	n.safe = n.safe[:min(n.dirty, len(n.safe))]
	n.safe = append(n.safe, make([]byte, n.dirty-len(n.safe))...)
	n.safe = append(n.safe, n.data[n.dirty:]...)
	n.dirty = len(n.data)
}

func (d *disk) syncDir(name string) {
	maps.DeleteFunc(d.safe, func(p string, _ *node) bool {
		_, is := d.now[p]
		return !is && path.Dir(p) == name
	})
	for p, n := range d.now {
		if path.Dir(p) == name {
			d.safe[p] = n
		}
	}
}

// SyncData implements [vfs.File].
func (h *handle) SyncData() error { return h.Sync() }

// SyncTo implements [vfs.File].
func (h *handle) SyncTo(int64) (bool, error) { return true, h.Sync() }

// Preallocate implements [vfs.File].
func (h *handle) Preallocate(int64, int64) error { return nil }

// Prefetch implements [vfs.File].
func (h *handle) Prefetch(int64, int64) error { return nil }

// Fd implements [vfs.File].
func (h *handle) Fd() uintptr { return vfs.InvalidFd }

// Stat implements [vfs.File].
func (h *handle) Stat() (vfs.FileInfo, error) { return infoOf(h.name, h.n), nil }

// info is what a disk tells of a file.
type info struct {
	name string
	size int64
	dir  bool
}

func infoOf(name string, n *node) info {
	i := info{name: path.Base(name), dir: n == nil}
	if n != nil {
		i.size = int64(len(n.data))
	}
	return i
}

func (i info) Name() string           { return i.name }
func (i info) Size() int64            { return i.size }
func (i info) Mode() os.FileMode      { return 0o600 }
func (i info) ModTime() time.Time     { return time.Time{} }
func (i info) IsDir() bool            { return i.dir }
func (i info) Sys() any               { return nil }
func (i info) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
