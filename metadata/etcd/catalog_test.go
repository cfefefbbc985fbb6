package etcd_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// catalog opens a catalog with a local copy beside the server's directory.
func catalog(t *testing.T, store metadata.Store, dir string) *metadata.Catalog {
	t.Helper()
	cfg := metadata.DefaultCatalogConfig()
	cfg.FS, cfg.Path = vfs.Default, filepath.Join(dir, "catalog")
	c, err := metadata.OpenCatalog(t.Context(), store, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close catalog: %v", err)
		}
	})
	return c
}

func impatient(c *etcd.Config) { c.RequestTimeout, c.ProbeInterval = time.Second, 100*time.Millisecond }

// TestCatalog goes through a catalog's life: declare, the server away and back,
// history compacted, a start without the server.
func TestCatalog(t *testing.T) {
	dir := t.TempDir()
	server := start(t, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
	store := open(t, server, impatient)
	c := catalog(t, store, dir)
	told := 0
	c.Listen(func(changes []metadata.Change) { told += len(changes) })
	if _, err := c.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		q := metadata.Queue{Namespace: "/", Name: strconv.Itoa(i), Stream: uint64(i)}
		b := metadata.Binding{Namespace: "/", Source: "amq.topic", Dest: q.Name, Key: "#"}
		_, created, err := c.CreateQueue(t.Context(), q)
		if err != nil || !created {
			t.Fatalf("create queue: got %v, %v, want true, nil", created, err)
		}
		if created, err := c.CreateBinding(t.Context(), b); err != nil || !created {
			t.Fatalf("bind: got %v, %v, want true, nil", created, err)
		}
		if _, ok := c.Queue("/", q.Name); !ok || told != 2*i+3 {
			t.Fatalf("after queue %d: got found=%v and %d changes told, want true and %d", i, ok, told, 2*i+3)
		}
	}
	if _, created, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "/", Name: "3"}); err != nil || created {
		t.Errorf("create again: got %v, %v, want false, nil", created, err)
	}
	offsets := []metadata.Offset{{Stream: 1, Floor: 1 << 60, Incarnation: "i"}}
	if err := c.PutOffsets(t.Context(), offsets); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Offsets(t.Context()); err != nil || len(got) != 1 || got[0].Floor != 1<<60 {
		t.Errorf("offsets: got %+v, %v, want the one that was put", got, err)
	}

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	connected(t, c, false)
	_, err := c.DeleteQueue(t.Context(), "/", "3")
	if !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("delete while away: got %v, want %v", err, metadata.ErrUnavailable)
	}
	late := catalog(t, store, dir) // from the local copy
	if got := len(late.Queues("/")); got != 20 {
		t.Errorf("queues from the local copy: got %d, want 20", got)
	}

	server = start(t, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
	other := open(t, server, nil)
	if _, _, err := other.Txn(t.Context(), nil, []metadata.Op{{Key: "/tidegate/default/queues/%2F/7"}}); err != nil {
		t.Fatal(err)
	}
	if err := other.Compact(t.Context(), put(t, other, "/x", "x")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*metadata.Catalog{c, late} {
		connected(t, c, true)
		if deleted, err := c.DeleteQueue(t.Context(), "/", "7"); err != nil || deleted {
			t.Errorf("delete what another one deleted: got %v, %v, want false, nil", deleted, err)
		}
		if _, ok := c.Queue("/", "7"); ok {
			t.Error("queue that was deleted meanwhile: got one, want none")
		}
	}
}

// TestWipedServer loses the server's directory under a running catalog.
func TestWipedServer(t *testing.T) {
	dir := t.TempDir()
	server := start(t, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
	store := open(t, server, impatient)
	c := catalog(t, store, dir)
	if _, err := c.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"}); err != nil {
		t.Fatal(err)
	}
	lost := make(chan metadata.Change, 8)
	c.Listen(func(changes []metadata.Change) {
		for _, change := range changes {
			if change.Deleted {
				lost <- change
			}
		}
	})
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "etcd")); err != nil {
		t.Fatal(err)
	}
	start(t, etcd.EmbeddedConfig{Dir: filepath.Join(dir, "etcd")})
	select {
	case change := <-lost:
		if !change.Lost || change.Namespace == nil {
			t.Errorf("change: got %+v, want a lost namespace", change)
		}
	case <-time.After(time.Minute):
		t.Error("nothing told in 20s, want a lost namespace")
	}
}

func connected(t *testing.T, c *metadata.Catalog, want bool) {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	timeout := time.After(time.Minute)
	for c.Status().Connected != want {
		select {
		case <-ticker.C:
		case <-timeout:
			t.Fatalf("catalog: got connected=%v for 20s, want %v", !want, want)
		}
	}
}
