package core

import (
	"container/heap"
	"sync"
	"time"

	"github.com/tidegate/tidegate/core/record"
)

// willRetry is how long a will waits that can't be stored because disk or memory is low.
const willRetry = time.Second

// willKey names a will: the number of its client's wills, see record.WillSession, and
// which of them it is. A client has more than one only while an earlier one could not be
// sent.
type willKey struct {
	client uint64
	slot   uint32
}

// will is a will that has not been sent. It is claimed by who sends or deletes it.
type will struct {
	key   willKey
	home  uint32
	value record.Will // but for Due not changed

	// Guarded by wills.mu:
	claimed bool
	at      time.Time
	place   int // in wills.due, -1 while it is not there
}

// wills are all wills there are, and when those of lost connections are due.
type wills struct {
	mu  sync.Mutex
	all map[willKey]*will
	due willHeap
	may func(WillOf) bool // nil until GuardWills
}

// guard returns what GuardWills was given.
func (ws *wills) guard() func(WillOf) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.may
}

// add notes a will, in the first slot of its client that is free.
func (ws *wills) add(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for ws.all[w.key] != nil {
		w.key.slot++
	}
	w.place = -1
	ws.all[w.key] = w
}

// replace notes a will in the slot of another of its client, which was claimed; the will
// itself may be that.
func (ws *wills) replace(old, w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.key, w.place, w.claimed = old.key, -1, false
	ws.all[w.key] = w
}

// claim gives a will to the caller; false when another has it.
func (ws *wills) claim(w *will) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.claimLocked(w)
}

func (ws *wills) claimLocked(w *will) bool {
	if w.claimed {
		return false
	}
	w.claimed = true
	if w.place >= 0 {
		heap.Remove(&ws.due, w.place)
	}
	return true
}

// forget ends a will that was claimed.
func (ws *wills) forget(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w.key)
}

// has tells whether a will is still to be sent.
func (ws *wills) has(w *will) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return ws.all[w.key] == w
}

func (ws *wills) count() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all)
}

// wait has a will sent at a time. One that was claimed is not any more.
func (ws *wills) wait(w *will, at time.Time) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	w.claimed, w.at = false, at
	heap.Push(&ws.due, w)
}

// take claims up to n of the wills that are due, all of one shard.
func (ws *wills) take(now time.Time, n int) (out []*will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for ws.may != nil && len(ws.due) > 0 && len(out) < n {
		w := ws.due[0]
		if w.at.After(now) || len(out) > 0 && w.home != out[0].home {
			break
		}
		ws.claimLocked(w)
		out = append(out, w)
	}
	return out
}

// willHeap is a min-heap by time.
type willHeap []*will

func (h willHeap) Len() int           { return len(h) }
func (h willHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h willHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push implements [heap.Interface].
func (h *willHeap) Push(x any) {
	w := x.(*will) //nolint:errcheck,forcetypeassert // only wills pushes
	w.place = len(*h)
	*h = append(*h, w)
}

// Pop implements [heap.Interface].
func (h *willHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	w.place = -1
	return w
}
