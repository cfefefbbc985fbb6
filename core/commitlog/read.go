package commitlog

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// maxReaders is the number of segments that are kept open for reading while
// nobody reads them.
const maxReaders = 16

// Read returns the batch that holds the LSN. It may be called from any
// goroutine; the batch is the caller's own. ErrNotFound when the log does not
// reach to the LSN.
func (l *Log) Read(lsn record.LSN) (*record.Batch, error) {
	base, from, end, err := l.segmentOf(lsn)
	if err != nil {
		return nil, fmt.Errorf("read %d: %w", lsn, err)
	}
	h, err := l.cache.take(base, func() (*segment.Reader, error) {
		return segment.Open(l.cfg.FS, l.path(base), l.cfg.Identity)
	})
	if err != nil {
		return nil, fmt.Errorf("read %d: %w", lsn, err)
	}
	b, err := readBatch(h.r, lsn, from, end)
	if err := errors.Join(err, l.cache.give(h)); err != nil {
		return nil, fmt.Errorf("read %d: %w", lsn, err)
	}
	return b, nil
}

// readBatch reads from a sealed segment, or from the range of the active one
// when end is not 0.
func readBatch(r *segment.Reader, lsn record.LSN, from, end int64) (*record.Batch, error) {
	var pos int64
	var err error
	if end > 0 {
		pos, err = r.Locate(from, end, lsn)
	} else {
		pos, err = r.Find(lsn)
	}
	if err != nil {
		return nil, err
	}
	b := new(record.Batch)
	_, err = r.ReadAt(pos, b)
	return b, err
}

// segmentOf returns the base of the segment that holds the LSN, and where in
// it to look when it is the active one.
func (l *Log) segmentOf(lsn record.LSN) (base record.LSN, from, end int64, err error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	i, found := slices.BinarySearch(l.bases, lsn)
	if !found {
		i--
	}
	if i < 0 || lsn >= l.next {
		return 0, 0, 0, ErrNotFound
	}
	if base = l.bases[i]; l.active != nil && base == l.active.Base() {
		from, end = l.active.Find(lsn)
	}
	return base, from, end, nil
}

// readers keeps segments open for reading. The zero value is ready.
type readers struct {
	mu     sync.Mutex
	open   []*handle // the most recently used last
	closed bool
	users  sync.WaitGroup // one for each handle taken; added to with mu held
}

type handle struct {
	base  record.LSN
	r     *segment.Reader
	users int
	stale bool // not in open any more: the last user closes it
}

// take returns the open segment, and opens it when it is not. Opening and
// keeping are one step, so that after drop no reader from before it is kept.
func (c *readers) take(base record.LSN, open func() (*segment.Reader, error)) (*handle, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	i := slices.IndexFunc(c.open, func(h *handle) bool { return h.base == base })
	var h *handle
	if i >= 0 {
		h = c.open[i]
		c.open = slices.Delete(c.open, i, i+1)
	} else {
		r, err := open()
		if err != nil {
			return nil, err
		}
		h = &handle{base: base, r: r}
	}
	c.open = append(c.open, h)
	h.users++
	c.users.Add(1)
	return h, nil
}

// give hands a segment back, and closes those that are too many.
func (c *readers) give(h *handle) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.users.Done()
	h.users--
	if h.stale {
		return c.retire(h)
	}
	var err error
	for i := 0; i < len(c.open) && len(c.open) > maxReaders; {
		if old := c.open[i]; old.users == 0 {
			c.open = slices.Delete(c.open, i, i+1)
			err = errors.Join(err, c.retire(old))
			continue
		}
		i++
	}
	return err
}

// retire closes a handle that is not in open, now or after its last user.
func (c *readers) retire(h *handle) error {
	h.stale = true
	if h.users > 0 {
		return nil
	}
	return h.r.Close()
}

// drop forgets a segment, whose file has got another shape.
func (c *readers) drop(base record.LSN) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.IndexFunc(c.open, func(h *handle) bool { return h.base == base })
	if i < 0 {
		return nil
	}
	h := c.open[i]
	c.open = slices.Delete(c.open, i, i+1)
	return c.retire(h)
}

// close waits for the users and closes all.
func (c *readers) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.users.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for _, h := range c.open {
		err = errors.Join(err, c.retire(h))
	}
	c.open = nil
	return err
}
