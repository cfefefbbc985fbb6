package core_test

import (
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata/memory"
)

// loseMetadata stops the world and starts it beside a store that knows nothing.
func (w *world) loseMetadata() {
	w.t.Helper()
	w.must(w.Close())
	w.must(w.cat.Close())
	w.store = memory.New()
	w.open()
}

// orphans are those there are, without numbers and times.
func (w *world) orphans() []core.Orphan {
	w.t.Helper()
	all, err := w.Orphans()
	w.must(err)
	return all
}

func (w *world) orphan(queue string) core.Orphan {
	w.t.Helper()
	for _, o := range w.orphans() {
		if o.Queue == queue {
			return o
		}
	}
	w.t.Fatalf("no orphan of %q: %+v", queue, w.orphans())
	return core.Orphan{}
}

// TestOrphansAreAdopted loses the metadata: what the log has is listed, and adopted as
// it was, with what was settled gone and the rest in order, for good.
func TestOrphansAreAdopted(t *testing.T) {
	for name, loseIndex := range map[string]bool{"with index": false, "without index": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, 3, ranked)
			w.queue("a")
			w.queue("b")
			w.stream("s", "x-cleanup-policy", "compact")
			_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "p", Durable: true, Args: upTo(9)})
			w.must(err)
			p := w.publisher(nil)
			for _, q := range []string{"a", "b", "s"} {
				for _, body := range []string{"1", "2", "3"} {
					p.send(amqp("", q, body))
				}
			}
			p.priors("p", "x/0", "y/7")
			p.confirmed()
			d, g, _, _, err := w.Get(t.Context(), "/", "a", "", false)
			w.must(err)
			g.Settle(core.Ack, d.Position)

			w.loseMetadata()
			var got []core.Orphan
			for _, o := range w.orphans() {
				if o.Oldest.IsZero() || o.Stream == 0 || o.Namespace != "/" {
					t.Errorf("incomplete: %+v", o)
				}
				got = append(got, core.Orphan{Queue: o.Queue, Messages: o.Messages, Args: o.Args})
			}
			wantAll := []core.Orphan{
				{Queue: "a", Messages: 2},
				{Queue: "b", Messages: 3},
				{Queue: "p", Messages: 2, Args: map[string]any{"x-max-priority": int64(7)}},
				{Queue: "s", Messages: 3, Args: map[string]any{"x-queue-type": "stream", "x-cleanup-policy": "compact"}},
			}
			if d := cmp.Diff(wantAll, got, cmpopts.IgnoreUnexported(core.Orphan{})); d != "" {
				t.Fatalf("orphans (-want +got):\n%s", d)
			}
			// An application was faster for one of them.
			w.queue("b")
			a, b, pr, s := w.orphan("a"), w.orphan("b"), w.orphan("p"), w.orphan("s")
			adopt := func(o core.Orphan, spec core.OrphanSpec) error {
				_, err := w.AdoptOrphan(t.Context(), o.Stream, spec)
				return err
			}
			for _, bad := range []struct {
				of   core.Orphan
				spec core.OrphanSpec
				want error
			}{
				{b, core.OrphanSpec{}, core.ErrInUse},
				{a, core.OrphanSpec{Namespace: "other"}, core.ErrInvalid},
				{a, core.OrphanSpec{Args: map[string]any{"x-queue-type": "stream"}}, core.ErrInvalid},
				{s, core.OrphanSpec{Args: map[string]any{"x-cleanup-policy": "delete"}}, core.ErrInvalid},
				{pr, core.OrphanSpec{Args: upTo(6)}, core.ErrInvalid},
				{core.Orphan{Stream: 4711}, core.OrphanSpec{}, core.ErrNotFound},
			} {
				if err := adopt(bad.of, bad.spec); !errors.Is(err, bad.want) {
					t.Errorf("adopt %s as %+v: got %v, want %v", bad.of.Queue, bad.spec, err, bad.want)
				}
			}
			w.must(adopt(a, core.OrphanSpec{Args: map[string]any{"x-max-length": int64(10)}}))
			w.must(adopt(b, core.OrphanSpec{Queue: "b.old"}))
			w.must(adopt(pr, core.OrphanSpec{Args: upTo(9)}))
			w.must(adopt(s, core.OrphanSpec{}))
			if err := adopt(a, core.OrphanSpec{Queue: "again"}); !errors.Is(err, core.ErrNotFound) {
				t.Errorf("adopted twice: %v", err)
			}
			p = w.publisher(nil)
			p.send(amqp("", "b.old", "4"))
			p.confirmed()
			if loseIndex {
				w.must(w.Close())
				w.must(w.cat.Close())
				w.loseIndex()
				w.open()
			} else {
				w.crash()
			}
			if left := w.orphans(); len(left) > 0 {
				t.Errorf("orphans after the start: %+v", left)
			}
			w.mustHave("a", "2", "3")
			w.mustHave("b.old", "1", "2", "3", "4")
			w.mustHave("b")
			w.mustHave("p", "y", "x")
			if info, err := w.Queue("/", "s"); err != nil || info.Ready != 3 {
				t.Errorf("stream: got %+v, %v, want 3 messages", info, err)
			}
		})
	}
}

// TestOrphansAreDiscarded drops orphans for good, with those of their priorities.
func TestOrphansAreDiscarded(t *testing.T) {
	w := newWorldWith(t, 2, ranked)
	w.queue("a")
	_, err := w.DeclareQueue(t.Context(), "/", core.QueueSpec{Name: "p", Durable: true, Args: upTo(9)})
	w.must(err)
	p := w.publisher(nil)
	p.send(amqp("", "a", "1"))
	p.priors("p", "x/0", "y/7", "z/9")
	w.loseMetadata()
	for queue, messages := range map[string]uint64{"a": 1, "p": 3} {
		if n, err := w.DiscardOrphan(t.Context(), w.orphan(queue).Stream); err != nil || n != messages {
			t.Errorf("discard %s: got %d, %v, want %d", queue, n, err, messages)
		}
	}
	if _, err := w.DiscardOrphan(t.Context(), 4711); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("discard none: got %v", err)
	}
	for _, again := range []func(){w.crash, w.loseMetadata} {
		if left := w.orphans(); len(left) > 0 {
			t.Errorf("still there: %+v", left)
		}
		again()
	}
}

// TestOrphansNeedTheMetadata asks for an orphan while the store is away, which may know
// it as a queue: nothing is dropped or adopted, and both go when the store is back.
func TestOrphansNeedTheMetadata(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("a")
	w.queue("b")
	p := w.publisher(nil)
	p.send(amqp("", "a", "1"))
	p.send(amqp("", "b", "1"))
	p.confirmed()
	w.loseMetadata()
	a, b := w.orphan("a").Stream, w.orphan("b").Stream
	w.store.SetAway(true)
	if n, err := w.DiscardOrphan(t.Context(), a); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("discard: got %d, %v, want ErrUnavailable", n, err)
	}
	if _, err := w.AdoptOrphan(t.Context(), b, core.OrphanSpec{}); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("adopt: got %v, want ErrUnavailable", err)
	}
	w.store.SetAway(false)
	w.restart()
	if o := w.orphan("a"); o.Messages != 1 {
		t.Errorf("a: %+v, want 1 message", o)
	}
	_, err := w.DiscardOrphan(t.Context(), a)
	w.must(err)
	_, err = w.AdoptOrphan(t.Context(), b, core.OrphanSpec{})
	w.must(err)
	w.mustHave("b", "1")
}

// TestDeleteCutOffLeavesAnOrphan deletes a queue and loses power before the log has the
// drop: the queue is not there again, and its messages are nobody's until somebody asks.
func TestDeleteCutOffLeavesAnOrphan(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "1"))
	p.confirmed()
	g := w.stop(errorfs.OpFileSyncData)
	_, err := w.DeleteQueue(t.Context(), "/", "q", "", false, false)
	w.must(err)
	after := w.cut(0)
	g.open()
	w.close()
	w.fail.Store(nil)
	w.store.SetAway(false)
	w.fs = after
	w.open()
	if _, err := w.Queue("/", "q"); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("the queue: got %v, want ErrNotFound", err)
	}
	w.queue("q")
	w.mustHave("q")
	if o := w.orphan("q"); o.Messages != 1 {
		t.Errorf("orphan: %+v, want 1 message", o)
	}
}

// TestNamelessOrphan adopts a queue of which also the record that made it is lost.
func TestNamelessOrphan(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("q")
	p := w.publisher(nil)
	for _, body := range []string{"lost", "a", "b"} {
		p.send(amqp("", "q", body))
		p.confirmed()
	}
	w.must(w.Close())
	w.must(w.cat.Close())
	w.giveUpFirstFrame()
	w.store = memory.New()
	w.open()
	o := w.orphan("")
	if _, err := w.AdoptOrphan(t.Context(), o.Stream, core.OrphanSpec{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("without a name: got %v, want ErrInvalid", err)
	}
	_, err := w.AdoptOrphan(t.Context(), o.Stream, core.OrphanSpec{Namespace: "/", Queue: "q"})
	w.must(err)
	got := w.drain("q")
	if d := cmp.Diff([]string{"a!", "b!"}, got[len(got)-2:]); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}
