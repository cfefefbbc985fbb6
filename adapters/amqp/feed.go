package amqp

import (
	"sync"
	"sync/atomic"
)

// feed has frames for the client at times: a consumer its deliveries, a
// confirming channel its confirms. The engine announces them through ready.
type feed interface {
	// fill appends frames to buf, until that has limit bytes or a turn is
	// over, and tells whether there may be more. The writer calls it with the
	// connection's lock held.
	fill(buf []byte, limit int) (out []byte, more bool)
	// announced is set while the feed is on the list.
	announced() *atomic.Bool
}

// ready is the list of feeds that have something to write. It never holds a
// feed twice, so it is no longer than there are feeds.
type ready struct {
	wake chan struct{} // capacity 1; full means that the writer will look anyway

	mu    sync.Mutex
	feeds []feed
}

func newReady() *ready { return &ready{wake: make(chan struct{}, 1)} }

// add announces the feed. It may be called from any goroutine and with the
// engine's locks held.
func (r *ready) add(f feed) {
	if f.announced().Swap(true) {
		return
	}
	r.mu.Lock()
	r.feeds = append(r.feeds, f)
	r.mu.Unlock()
	r.signal()
}

// signal wakes the writer.
func (r *ready) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// take moves the announced feeds to the end of dst.
func (r *ready) take(dst []feed) []feed {
	r.mu.Lock()
	dst = append(dst, r.feeds...)
	clear(r.feeds)
	r.feeds = r.feeds[:0]
	r.mu.Unlock()
	return dst
}
