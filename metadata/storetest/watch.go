package storetest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/metadata"
)

// delivery is one call of a watch function.
type delivery struct {
	rev    metadata.Revision
	events []metadata.Event
}

// watcher is a running watch.
type watcher struct {
	calls chan delivery
	done  chan error
	stop  context.CancelFunc
}

func watch(t *testing.T, s metadata.Store, prefix string, from metadata.Revision) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watcher{calls: make(chan delivery, 4096), done: make(chan error, 1), stop: cancel}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		w.done <- s.Watch(ctx, prefix, from, func(rev metadata.Revision, events []metadata.Event) {
			w.calls <- delivery{rev, slices.Clone(events)}
		})
	}()
	t.Cleanup(func() {
		cancel()
		<-finished
	})
	return w
}

// next returns the next call that has events.
func (w *watcher) next(t *testing.T) delivery {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case d := <-w.calls:
			if len(d.events) > 0 {
				return d
			}
		case err := <-w.done:
			t.Fatalf("watch ended: %v", err)
		case <-timeout:
			t.Fatalf("nothing seen in %v", patience)
		}
	}
}

// until collects the events up to and including a revision.
func (w *watcher) until(t *testing.T, rev metadata.Revision) []metadata.Event {
	t.Helper()
	var events []metadata.Event
	for {
		d := w.next(t)
		events = append(events, d.events...)
		if d.rev >= rev {
			return events
		}
	}
}

func (w *watcher) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-w.done:
		return err
	case <-time.After(patience):
		t.Fatalf("watch still runs after %v", patience)
		return nil
	}
}

func testWatchInOrder(t *testing.T, s metadata.Store) {
	from := put(t, s, "/k/before", "x")
	w := watch(t, s, "/k/", from)
	var last metadata.Revision
	for i := range 100 {
		put(t, s, "/other", "x")
		last = put(t, s, name(i), strconv.Itoa(i))
	}
	var got, want []string
	previous := from
	for previous < last {
		d := w.next(t)
		if d.rev <= previous {
			t.Fatalf("revision: got %d after %d, want a later one", d.rev, previous)
		}
		previous = d.rev
		for _, e := range d.events {
			got = append(got, e.Key+"="+string(e.Value))
		}
	}
	for i := range 100 {
		want = append(want, fmt.Sprintf("%s=%d", name(i), i))
	}
	diff(t, "events", got, want)
}

func testWatchGroups(t *testing.T, s metadata.Store) {
	put(t, s, "/k/old", "x")
	w := watch(t, s, "/k/", put(t, s, "/start", "x"))
	rev := txn(t, s, metadata.Op{Key: "/k/a", Value: []byte("1")}, metadata.Op{Key: "/elsewhere", Value: []byte("2")},
		metadata.Op{Key: "/k/b", Value: []byte("3")}, metadata.Op{Key: "/k/old"})
	d := w.next(t)
	diff(t, "one call", d.events, []metadata.Event{
		{Key: "/k/a", Value: []byte("1"), Revision: rev},
		{Key: "/k/b", Value: []byte("3"), Revision: rev},
		{Key: "/k/old", Revision: rev},
	})
	if d.rev != rev {
		t.Errorf("revision: got %d, want %d", d.rev, rev)
	}
}

func testWatchPast(t *testing.T, s metadata.Store) {
	from := put(t, s, "/k/a", "1")
	put(t, s, "/k/a", "2")
	last := txn(t, s, metadata.Op{Key: "/k/a"})
	var got []string
	for _, e := range watch(t, s, "/k/", from).until(t, last) {
		got = append(got, fmt.Sprintf("%s=%s deleted=%v", e.Key, e.Value, e.Value == nil))
	}
	diff(t, "events", got, []string{"/k/a=2 deleted=false", "/k/a= deleted=true"})
}

func testWatchContext(t *testing.T, s metadata.Store) {
	w := watch(t, s, "/", put(t, s, "/a", "x"))
	w.stop()
	wantError(t, "cancelled watch", w.end(t), context.Canceled)
}

func testWatchFuture(t *testing.T, s metadata.Store) {
	rev := put(t, s, "/a", "x")
	wantError(t, "watch", watch(t, s, "/", rev+1000).end(t), metadata.ErrCompacted)
}

func testCompacted(t *testing.T, s metadata.Store) {
	first := put(t, s, "/a", "1")
	for i := range 10 {
		put(t, s, "/a", strconv.Itoa(i))
	}
	last := put(t, s, "/b", "x")
	if err := compacter(t, s).Compact(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	_, _, err := s.Range(t.Context(), "/", "", 10, first)
	wantError(t, "range as of a compacted revision", err, metadata.ErrCompacted)
	wantError(t, "watch from a compacted revision", watch(t, s, "/", first).end(t), metadata.ErrCompacted)
	diff(t, "keys now", keys(t, s, "/", 10, 0), []string{"/a", "/b"})
	next := put(t, s, "/c", "x")
	if events := watch(t, s, "/", last).until(t, next); len(events) != 1 {
		t.Errorf("watch from the compacted revision: got %v, want one event", events)
	}
}
