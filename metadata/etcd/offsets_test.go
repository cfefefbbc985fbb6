package etcd_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// TestWatchWithoutOffsets publishes offsets beside a watch of the catalog's
// keys: it hears of none, and declares are seen all the same.
func TestWatchWithoutOffsets(t *testing.T) {
	store := open(t, start(t, etcd.EmbeddedConfig{Dir: t.TempDir()}), nil)
	c, err := metadata.OpenCatalog(t.Context(), store, metadata.DefaultCatalogConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, stop := context.WithCancel(t.Context())
	seen, ended := make(chan string, 100), make(chan error, 1)
	_, from, err := store.Range(t.Context(), "/", "", 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		ended <- store.Watch(ctx, "/tidegate/default/", from, func(_ metadata.Revision, events []metadata.Event) {
			for _, e := range events {
				seen <- e.Key
			}
		})
	}()
	for i := range uint64(10) {
		if err := c.PutOffsets(t.Context(), []metadata.Offset{{Stream: i, Floor: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"}); err != nil {
		t.Fatal(err)
	}
	for key := range seen {
		if strings.Contains(key, "offsets") {
			t.Errorf("the watch heard of %s", key)
		}
		if strings.HasSuffix(key, "namespaces/n") {
			break
		}
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("watch: got %v, want canceled", err)
	}
}

// TestOffsetsWithinQuota publishes 10,000 cursors over and over as fast as the
// server takes them, which is many times faster than once a second.
func TestOffsetsWithinQuota(t *testing.T) {
	length, quota := 2*time.Second, int64(256<<20)
	if os.Getenv("TIDEGATE_E2E_LONG") == "1" {
		length = 40 * time.Second
	}
	dir := t.TempDir()
	server := start(t, etcd.EmbeddedConfig{Dir: dir, Quota: quota, Maintenance: time.Second})
	c, err := metadata.OpenCatalog(t.Context(), open(t, server, nil), metadata.DefaultCatalogConfig(),
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	offsets := make([]metadata.Offset, 10_000)
	largest := func() int64 {
		info, err := os.Stat(filepath.Join(dir, "member", "snap", "db"))
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	begin, rounds, top := time.Now(), 0, int64(0)
	for time.Since(begin) < length {
		rounds++
		for i := range offsets {
			offsets[i] = metadata.Offset{
				Stream: uint64(i), Incarnation: "0123456789abcdef0123456789abcdef", LSN: uint64(rounds) << 20,
				Floor: uint64(rounds) << 10, Ranges: [][2]uint64{{uint64(rounds)<<10 + 2, uint64(rounds)<<10 + 5}},
			}
		}
		if err := c.PutOffsets(t.Context(), offsets); err != nil {
			t.Fatalf("round %d: %v", rounds, err)
		}
		top = max(top, largest())
	}
	took := time.Since(begin)
	t.Logf("%d puts in %v, %.0f a second: as many as 10,000 cursors a second make in %d s; database at most %d MiB of %d MiB",
		rounds*len(offsets), took.Round(time.Millisecond), float64(rounds*len(offsets))/took.Seconds(), rounds,
		top>>20, quota>>20)
	if top > quota*9/10 {
		t.Errorf("the database grew to %d bytes, quota %d", top, quota)
	}
}
