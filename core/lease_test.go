package core_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
)

// there tells whether a queue exists; asking is no use of it.
func (w *world) there(queue string) bool {
	w.t.Helper()
	_, err := w.Queue("/", queue)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		w.t.Fatal(err)
	}
	return err == nil
}

// elapse lets time pass, and all that happens in it.
func elapse(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestUnusedQueueEnds(t *testing.T) {
	const term = 10 * time.Second
	args := map[string]any{"x-expires": term.Milliseconds()}
	for name, use := range map[string]func(w *world){
		"declare": func(w *world) { w.declare("q", args) },
		"check":   func(w *world) { w.ready("q") },
		"get": func(w *world) {
			_, _, _, _, err := w.Get(w.t.Context(), "/", "q", "", true)
			w.must(err)
		},
		"consumer": func(w *world) {
			c, _ := w.consume("q")
			elapse(3 * term)
			if !w.there("q") {
				w.t.Fatal("the queue ended with a consumer")
			}
			w.must(c.Cancel(w.t.Context()))
		},
		"crash":   (*world).crash,
		"restart": (*world).restart,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorldWith(t, 1, calm)
				w.declare("q", args)
				w.queue("stays")
				elapse(term - time.Millisecond)
				use(w)
				elapse(term - time.Millisecond)
				if !w.there("q") {
					t.Fatal("the queue ended although it was used")
				}
				elapse(2 * time.Millisecond)
				if w.there("q") || !w.there("stays") {
					t.Errorf("after its term: the queue is there %v, another one %v", w.there("q"), w.there("stays"))
				}
			})
		})
	}
}

// A queue that can't be deleted while the metadata is away is deleted later.
func TestUnusedQueueEndsWhenMetadataIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calm)
		w.declare("q", map[string]any{"x-expires": int64(1000)})
		w.store.SetAway(true)
		elapse(time.Minute)
		if !w.there("q") {
			t.Error("the queue is gone though the metadata was away")
		}
		w.store.SetAway(false)
		elapse(time.Minute)
		if w.there("q") {
			t.Error("the queue is still there")
		}
	})
}

// A queue may end and be declared again, and its lease is its own.
func TestLeaseOfADeletedQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, calm)
		w.declare("q", map[string]any{"x-expires": int64(2000)})
		elapse(time.Second)
		_, err := w.DeleteQueue(t.Context(), "/", "q", "", false, false)
		w.must(err)
		w.declare("q", map[string]any{"x-expires": int64(60_000)})
		elapse(30 * time.Second)
		if !w.there("q") {
			t.Error("the new queue ended with the lease of the old one")
		}
	})
}
