package commitlog

import (
	"errors"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/core/segment"
)

// maxReaders is the number of segments that are kept open for reading while
// nobody reads them.
const maxReaders = 16

// readers keeps segments open for reading. The zero value is ready.
type readers struct {
	mu     sync.Mutex
	open   []*handle // the most recently used last
	closed bool
	users  sync.WaitGroup // one for each handle taken; added to with mu held
}

type handle struct {
	name  string
	ready chan struct{} // closed when r or err is set
	r     *segment.Reader
	err   error
	users int
	stale bool // not in open any more: the last user closes it
}

// take returns the open segment, and opens it when it is not. It is kept from
// before it is opened, so that after drop no reader from before it is kept; and
// opened without the lock, so that who wants another segment, or drops one, does
// not wait for the disk. f is nil for the active segment.
func (c *readers) take(name string, f *file, open func() (*segment.Reader, error)) (*handle, error) {
	h, mine, err := c.reserve(name, f)
	if err != nil {
		return nil, err
	}
	if mine {
		r, err := open()
		c.opened(h, r, err)
	}
	<-h.ready
	if h.err != nil {
		return nil, errors.Join(h.err, c.give(h))
	}
	return h, nil
}

// reserve returns the handle of a segment; with mine the caller is to open it.
func (c *readers) reserve(name string, f *file) (h *handle, mine bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false, ErrClosed
	}
	if i := slices.IndexFunc(c.open, func(h *handle) bool { return h.name == name }); i >= 0 {
		h = c.open[i]
		c.open = slices.Delete(c.open, i, i+1)
	} else {
		h = &handle{name: name, ready: make(chan struct{}), stale: f != nil && f.gone}
		mine = true
	}
	if !h.stale {
		c.open = append(c.open, h)
	}
	h.users++
	c.users.Add(1)
	return h, mine, nil
}

// opened tells those who wait for a segment how opening it went. After an error
// the next who wants it tries again.
func (c *readers) opened(h *handle, r *segment.Reader, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.r, h.err = r, err
	if err != nil {
		h.stale = true
		c.open = slices.DeleteFunc(c.open, func(o *handle) bool { return o == h })
	}
	close(h.ready)
}

// isGone tells whether a sealed segment was dropped or rewritten.
func (c *readers) isGone(f *file) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return f != nil && f.gone
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
	if h.users > 0 || h.r == nil {
		return nil
	}
	return h.r.Close()
}

// drop forgets a segment: its file has got another shape, or, when f is not
// nil, is going away. Who reads it finishes.
func (c *readers) drop(name string, f *file) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f != nil {
		f.gone = true
	}
	i := slices.IndexFunc(c.open, func(h *handle) bool { return h.name == name })
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
