package metadata_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// swapStore passes calls on to a store that can be exchanged for another one.
type swapStore struct {
	*memory.Store // the present one; under mu while it changes
	mu            sync.RWMutex
}

func (s *swapStore) now() *memory.Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Store
}

func (s *swapStore) swap(next *memory.Store) {
	s.mu.Lock()
	old := s.Store
	s.Store = next
	s.mu.Unlock()
	old.SetAway(true)
}

func (s *swapStore) Get(ctx context.Context, key string) (metadata.KV, error) {
	return s.now().Get(ctx, key)
}

func (s *swapStore) Range(
	ctx context.Context, prefix, after string, limit int, at metadata.Revision,
) ([]metadata.KV, metadata.Revision, error) {
	return s.now().Range(ctx, prefix, after, limit, at)
}

func (s *swapStore) Txn(
	ctx context.Context, compares []metadata.Compare, ops []metadata.Op,
) (bool, metadata.Revision, error) {
	return s.now().Txn(ctx, compares, ops)
}

func (s *swapStore) Watch(
	ctx context.Context, prefix string, from metadata.Revision, fn func(metadata.Revision, []metadata.Event),
) error {
	return s.now().Watch(ctx, prefix, from, fn)
}

// settle waits until the catalog follows the store again.
func settle(t *testing.T, c *metadata.Catalog, connected bool) {
	t.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for timeout := time.After(time.Minute); c.Status().Connected != connected; {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("catalog: got connected=%v for 20s, want %v", !connected, connected)
		}
	}
}

// TestWriteWaitsForListener holds a listener back: no write may return before
// it, also one that finds nothing to do.
func TestWriteWaitsForListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		c, behind := open(t, store), open(t, store)
		gate := make(chan struct{})
		first := true
		behind.Listen(func([]metadata.Change) {
			if first {
				first = false
				return
			}
			<-gate
		})
		declare(t, c, "namespace", "queue q")
		results := make(chan string, 2)
		go func() {
			_, created, err := behind.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q"})
			results <- fmt.Sprintf("created=%v, %v", created, err)
		}()
		synctest.Wait()
		select {
		case r := <-results:
			t.Errorf("create while the listener is held back: got %s, want it to wait", r)
		default:
		}
		close(gate)
		if got, want := <-results, "created=false, <nil>"; got != want {
			t.Errorf("create: got %s, want %s", got, want)
		}
		if _, ok := behind.Queue("n", "q"); !ok {
			t.Error("queue after the write: got none, want one")
		}
	})
}

// TestRevisionsElsewhere has the store's revision run ahead of the catalog's
// keys: a write with nothing to do must not wait for ever.
func TestRevisionsElsewhere(t *testing.T) {
	store := memory.New()
	c := open(t, store)
	declare(t, c, "namespace", "queue q")
	for range 10 {
		if _, _, err := store.Txn(t.Context(), nil, []metadata.Op{{Key: "/elsewhere", Value: []byte("x")}}); err != nil {
			t.Fatal(err)
		}
	}
	_, created, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q"})
	if err != nil || created {
		t.Errorf("create again: got %v, %v, want false, nil", created, err)
	}
}

func TestAwayAndBack(t *testing.T) {
	shared := memory.New()
	mine := &swapStore{Store: shared}
	c, other := open(t, mine), open(t, shared)
	l := listen(c)
	declare(t, other, "namespace", "exchange e", "queue q", "queue q2", "bind e q k", "bind e q2 k", "bind amq.topic q t")
	declare(t, c, "queue mine")
	l.take()

	away := memory.New()
	away.SetAway(true)
	mine.mu.Lock()
	mine.Store = away
	mine.mu.Unlock()
	shared.SetAway(true) // ends the watches
	settle(t, c, false)
	shared.SetAway(false)
	settle(t, other, true)

	_, _, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q3"})
	wantError(t, "create while away", err, metadata.ErrUnavailable)
	_, err = c.DeleteQueue(t.Context(), "n", "q")
	wantError(t, "delete while away", err, metadata.ErrUnavailable)
	err = c.PutOffsets(t.Context(), []metadata.Offset{{Stream: 1}})
	wantError(t, "put offsets while away", err, metadata.ErrUnavailable)
	if _, ok := c.Queue("n", "q"); !ok {
		t.Error("queue while away: got none, want one")
	}

	declare(t, other, "queue q3", "bind e q3 k")
	for _, name := range []string{"mine", "q2"} {
		if deleted, err := other.DeleteQueue(t.Context(), "n", name); err != nil || !deleted {
			t.Fatalf("delete %s: got %v, %v, want true, nil", name, deleted, err)
		}
	}
	if deleted, err := other.DeleteQueue(t.Context(), "n", "q"); err != nil || !deleted {
		t.Fatalf("delete q: got %v, %v, want true, nil", deleted, err)
	}
	again := metadata.Queue{Namespace: "n", Name: "q", Stream: 8}
	if _, created, err := other.CreateQueue(t.Context(), again); err != nil || !created {
		t.Fatalf("create q again: got %v, %v, want true, nil", created, err)
	}
	declare(t, other, "bind e q k")
	if err := shared.Compact(t.Context(), other.Status().Revision); err != nil {
		t.Fatal(err)
	}

	mine.swap(shared)
	shared.SetAway(false)
	settle(t, c, true)
	wantLines(t, "told on return", l.take(),
		"delete binding n:amq.topic>q t", "delete binding n:e>q k", "delete binding n:e>q2 k",
		"delete queue n:mine", "delete queue n:q", "delete queue n:q2",
		"put queue n:q", "put queue n:q3", "put binding n:e>q k", "put binding n:e>q3 k")
	declare(t, c, "queue works")
}

// TestOtherStore replaces the store by another one, as when a data directory
// was lost: what is gone then must not look like deleted by someone.
func TestOtherStore(t *testing.T) {
	first := memory.New()
	store := &swapStore{Store: first}
	c := open(t, store)
	declare(t, c, "namespace", "exchange e", "queue q", "bind e q k")
	l := listen(c)
	l.take()

	second := memory.New()
	fill := open(t, second)
	declare(t, fill, "namespace", "queue other")
	for i := range 50 { // far ahead of the first one
		declare(t, fill, fmt.Sprintf("queue q%d", i))
		if _, err := fill.DeleteQueue(t.Context(), "n", fmt.Sprintf("q%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	store.swap(second)
	settle(t, c, false)
	settle(t, c, true)
	wantLines(t, "told", l.take(), "lost binding n:e>q k", "lost queue n:q", "lost exchange n:e", "put queue n:other")
	declare(t, c, "exchange e")
}

// TestBindAgainstDelete races binds with deletes of both ends from two
// catalogs. No binding may be left without its ends.
func TestBindAgainstDelete(t *testing.T) {
	store := memory.New()
	a, b := open(t, store), open(t, store)
	declare(t, a, "namespace")
	var wg sync.WaitGroup
	run := func(step func(i int) error) {
		wg.Go(func() {
			for i := range 300 {
				err := step(i)
				if err != nil && !errors.Is(err, metadata.ErrNotFound) {
					t.Errorf("step %d: %v", i, err)
					return
				}
			}
		})
	}
	for _, c := range []*metadata.Catalog{a, b} {
		run(func(int) error {
			_, _, err := c.CreateExchange(t.Context(), metadata.Exchange{Namespace: "n", Name: "e"})
			_, _, err2 := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q"})
			return errors.Join(err, err2)
		})
		run(func(i int) error {
			_, err := c.CreateBinding(t.Context(), binding("e", "q", strconv.Itoa(i%7), false))
			return err
		})
		run(func(i int) error {
			_, err := c.CreateBinding(t.Context(), binding("e", "amq.topic", strconv.Itoa(i%7), true))
			return err
		})
	}
	run(func(int) error {
		_, err := a.DeleteExchange(t.Context(), "n", "e")
		return err
	})
	run(func(int) error {
		_, err := b.DeleteQueue(t.Context(), "n", "q")
		return err
	})
	wg.Wait()
	check := open(t, store)
	for _, bound := range check.Bindings("n") {
		_, source := check.Exchange("n", bound.Source)
		_, queue := check.Queue("n", bound.Dest)
		if !source || (!bound.ToExchange && !queue) {
			t.Errorf("binding %+v: got source=%v, queue=%v, want both ends", bound, source, queue)
		}
	}
}

func TestClosed(t *testing.T) {
	c := open(t, memory.New())
	declare(t, c, "namespace")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "q"})
	wantError(t, "create after close", err, metadata.ErrClosed)
}
