package core

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// asked is a store that tells when something is read of it.
type asked struct {
	*memory.Store
	reads chan struct{}
}

func (a asked) Range(
	ctx context.Context, prefix, after string, limit int, at metadata.Revision,
) ([]metadata.KV, metadata.Revision, error) {
	select {
	case a.reads <- struct{}{}:
	default:
	}
	return a.Store.Range(ctx, prefix, after, limit, at)
}

// TestQueueBeingDeletedIsNoOrphan asks for a queue as an orphan between the two steps of
// its delete: the second one is waited for.
func TestQueueBeingDeletedIsNoOrphan(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.DiscardHandler)
	store := asked{memory.New(), make(chan struct{})}
	cat, err := metadata.OpenCatalog(t.Context(), store, metadata.CatalogConfig{Cluster: "test"}, log)
	must(err)
	defer cat.Close()
	_, err = cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"})
	must(err)
	cfg := DefaultConfig()
	cfg.Shards = 1
	b, err := Open(t.Context(), cfg, Deps{Dir: "data", FS: vfs.NewMem(), Clock: clock.System, Rand: rand.Reader, Catalog: cat, Log: log})
	must(err)
	defer func() { must(b.Close()) }()
	_, err = b.DeclareQueue(t.Context(), "/", QueueSpec{Name: "q", Durable: true})
	must(err)
	q, _ := cat.Queue("/", "q")
	ns, err := b.namespace("/")
	must(err)

	ns.mu.RLock() // keeps the delete from its second step
	deleted, discarded := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := b.DeleteQueue(t.Context(), "/", "q", "", false, false)
		deleted <- err
	}()
	for there := true; there; _, there = cat.Queue("/", "q") {
		runtime.Gosched()
	}
	go func() {
		_, err := b.DiscardOrphan(t.Context(), q.Stream)
		discarded <- err
	}()
	select {
	case <-store.reads:
		ns.mu.RUnlock()
		err = <-discarded
	case err = <-discarded:
		ns.mu.RUnlock()
	}
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("discarded as an orphan: %v", err)
	}
	must(<-deleted)
}
