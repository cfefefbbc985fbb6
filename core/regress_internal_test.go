package core

import (
	"context"
	"crypto/rand"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

func inside(t *testing.T) *Broker {
	log := slog.New(slog.DiscardHandler)
	cat, err := metadata.OpenCatalog(t.Context(), memory.New(), metadata.CatalogConfig{Cluster: "test"}, log)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "/"}); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultConfig()
	cfg.Shards = 1
	b, err := Open(t.Context(), cfg, Deps{Dir: "data", FS: vfs.NewMem(), Clock: clock.System, Rand: rand.Reader, Catalog: cat, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close(); _ = cat.Close() })
	return b
}

func spec(client string, expiry time.Duration) SessionSpec {
	return SessionSpec{ClientID: client, Owner: "guest", Expiry: expiry, Notify: func() {}, Live: func(*Message, []SubID) bool { return true }}
}

func TestExpiryHeapGrows(t *testing.T) {
	b := inside(t)
	for range 500 {
		s, _, err := b.OpenSession(t.Context(), "/", spec("dev", 24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(b.sessions.ends.heap); n > 1 {
		t.Errorf("%d expiry entries for one session after 500 reconnects, want 1", n)
	}
}

func TestOrphanCursor(t *testing.T) {
	b := inside(t)
	keep, _, _ := b.OpenSession(t.Context(), "/", spec("keep", time.Hour))
	if _, err := keep.Subscribe(t.Context(), []SubscriptionSpec{{Filter: "a", QoS: 1}}); err != nil {
		t.Fatal(err)
	}
	s, _, _ := b.OpenSession(t.Context(), "/", spec("dev", time.Hour))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cursors := func() int { return len(b.shards[0].Cursors(filterStream("/", "a", streamDurable))) }
	before := cursors()
	for range 50 {
		if _, err := s.Subscribe(ctx, []SubscriptionSpec{{Filter: "a", QoS: 1}}); err != nil {
			t.Fatal(err)
		}
		if n := cursors(); n != before+1 {
			t.Fatalf("%d cursors on the filter, want %d", n, before+1)
		}
		if _, err := s.Unsubscribe(t.Context(), []string{"a"}); err != nil {
			t.Fatal(err)
		}
		if n := cursors(); n != before {
			t.Fatalf("%d cursors on the filter, want %d: one more pins all its references", n, before)
		}
	}
}

func TestFreshSessionLeaks(t *testing.T) {
	b := inside(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 200 {
		s, _, err := b.OpenSession(ctx, "/", spec("dev"+string(rune('0'+i)), time.Millisecond))
		if err == nil {
			_ = s.Close(t.Context())
		}
	}
	deadline := time.Now().Add(20 * time.Second)
	for n := b.sessions.count(); n > 0; n = b.sessions.count() {
		if time.Now().After(deadline) {
			t.Fatalf("%d sessions of 1 ms expiry left, never opened and never to expire", n)
		}
		<-time.After(5 * time.Millisecond)
	}
}
