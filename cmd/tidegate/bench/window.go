package bench

import (
	"fmt"
	"sync/atomic"
)

// window is a publisher's messages that wait for their confirm. Its writer
// calls free and send, its reader confirm and advance; nothing blocks.
type window struct {
	size uint64
	// sentAt holds the time of each message in flight at n % size, and 0 once
	// it is confirmed. The writer owns a slot until it stores sent, the reader
	// until it stores low.
	sentAt []int64
	sent   atomic.Uint64 // the highest number sent
	low    atomic.Uint64 // the lowest number unconfirmed
	room   chan struct{} // capacity 1: low has moved

	// The reader's own:
	next    uint64 // low, not yet published
	now     int64  // time of the current burst
	latency latencies

	confirmed atomic.Uint64
}

func newWindow(size int) *window {
	w := &window{size: uint64(max(size, 1)), next: 1, room: make(chan struct{}, 1)}
	w.sentAt = make([]int64, w.size)
	w.low.Store(1)
	return w
}

// free returns how many messages may be sent now.
func (w *window) free() int { return int(w.low.Load() + w.size - 1 - w.sent.Load()) }

// send notes that the next messages, up to number last, are about to be sent.
func (w *window) send(last uint64, now int64) {
	for n := w.sent.Load() + 1; n <= last; n++ {
		w.sentAt[n%w.size] = now
	}
	w.sent.Store(last)
}

// begin tells the time of the confirms that follow.
func (w *window) begin(now int64) { w.now = now }

// confirm notes the confirm of one message.
func (w *window) confirm(n uint64) error {
	if n < w.next || n > w.sent.Load() {
		return fmt.Errorf("the broker confirmed message %d, in flight are %d to %d", n, w.next, w.sent.Load())
	}
	slot := &w.sentAt[n%w.size]
	if *slot == 0 {
		return fmt.Errorf("the broker confirmed message %d twice", n)
	}
	w.latency.add(w.now - *slot)
	*slot = 0
	w.confirmed.Add(1)
	for sent := w.sent.Load(); w.next <= sent && w.sentAt[w.next%w.size] == 0; {
		w.next++
	}
	return nil
}

// confirmUpTo notes the confirm of a message and all before it.
func (w *window) confirmUpTo(n uint64) error {
	if n > w.sent.Load() {
		return fmt.Errorf("the broker confirmed message %d, the last one sent is %d", n, w.sent.Load())
	}
	for w.next <= n {
		if err := w.confirm(w.next); err != nil {
			return err
		}
	}
	return nil
}

// advance shows the writer the room that the confirms made.
func (w *window) advance() {
	w.low.Store(w.next)
	select {
	case w.room <- struct{}{}:
	default: // the writer has not looked since the last time
	}
}
