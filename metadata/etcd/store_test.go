package etcd_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
	"github.com/tidegate/tidegate/metadata/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs an embedded server for the length of the test.
func start(t *testing.T, cfg etcd.EmbeddedConfig) *etcd.Embedded {
	t.Helper()
	server, err := etcd.StartEmbedded(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close server: %v", err)
		}
	})
	return server
}

// open returns a store on the server that closes before it.
func open(t *testing.T, server *etcd.Embedded, prepare func(*etcd.Config)) *etcd.Store {
	t.Helper()
	cfg := etcd.DefaultConfig()
	cfg.Endpoints = []string{server.Endpoint()}
	if prepare != nil {
		prepare(&cfg)
	}
	s, err := etcd.Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close store: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) metadata.Store {
		return open(t, start(t, etcd.EmbeddedConfig{Dir: t.TempDir()}), nil)
	})
}

func TestTwoServersInOneProcess(t *testing.T) {
	a := open(t, start(t, etcd.EmbeddedConfig{Dir: t.TempDir()}), nil)
	b := open(t, start(t, etcd.EmbeddedConfig{Dir: t.TempDir()}), nil)
	put(t, a, "/a", "x")
	if _, err := b.Get(t.Context(), "/a"); !errors.Is(err, metadata.ErrNotFound) {
		t.Errorf("get from the other server: got %v, want %v", err, metadata.ErrNotFound)
	}
}

func TestDirectoryIsLocked(t *testing.T) {
	dir := t.TempDir()
	start(t, etcd.EmbeddedConfig{Dir: dir})
	second, err := etcd.StartEmbedded(t.Context(), etcd.EmbeddedConfig{Dir: dir}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Errorf("second start in one directory: got %v, want an error", errors.Join(second.Close(), err))
	}
}

func TestLongDirectoryName(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("long/", 30)
	s := open(t, start(t, etcd.EmbeddedConfig{Dir: dir}), nil)
	put(t, s, "/a", "x")
}

// TestRestart stops the server under an open store: calls fail soon and the
// watch ends or goes on, but what comes later is seen once the server is back.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	server := start(t, etcd.EmbeddedConfig{Dir: dir})
	s := open(t, server, func(c *etcd.Config) { c.RequestTimeout, c.ProbeInterval = time.Second, 10*time.Second })
	from := put(t, s, "/a", "1")

	seen := make(chan metadata.Event, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(t.Context(), "/", from, func(_ metadata.Revision, events []metadata.Event) {
			for _, e := range events {
				seen <- e
			}
		})
	}()
	put(t, s, "/a", "2")
	wantEvent(t, seen, ended, "2")

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), "/a")
	if !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("get from a stopped server: got %v, want %v after 1s", err, metadata.ErrUnavailable)
	}
	_, _, err = s.Txn(t.Context(), nil, []metadata.Op{{Key: "/a", Value: []byte("lost")}})
	if !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("txn on a stopped server: got %v, want %v", err, metadata.ErrUnavailable)
	}

	start(t, etcd.EmbeddedConfig{Dir: dir})
	direct := open(t, server, nil)
	put(t, direct, "/a", "3")
	wantEvent(t, seen, ended, "3")
}

func TestWatchGivesUpOnSilence(t *testing.T) {
	server := start(t, etcd.EmbeddedConfig{Dir: t.TempDir()})
	s := open(t, server, func(c *etcd.Config) { c.RequestTimeout, c.ProbeInterval = time.Second, 50*time.Millisecond })
	from := put(t, s, "/a", "1")
	ended := make(chan error, 1)
	progress := make(chan struct{}, 64)
	go func() {
		ended <- s.Watch(t.Context(), "/b", from, func(metadata.Revision, []metadata.Event) { progress <- struct{}{} })
	}()
	put(t, s, "/a", "2")
	select {
	case <-progress:
	case err := <-ended:
		t.Fatalf("watch ended: %v", err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, metadata.ErrUnavailable) {
		t.Errorf("watch: got %v, want %v", err, metadata.ErrUnavailable)
	}
}

// TestWatchOfAQuietCluster watches from the newest revision of a cluster that
// nobody writes to, for twice as long as silence is borne.
func TestWatchOfAQuietCluster(t *testing.T) {
	const probe = 400 * time.Millisecond
	s := open(t, start(t, etcd.EmbeddedConfig{Dir: t.TempDir()}), func(c *etcd.Config) { c.ProbeInterval = probe })
	from := put(t, s, "/a", "1")
	seen := make(chan metadata.Event, 16)
	ended := make(chan error, 1)
	go func() {
		ended <- s.Watch(t.Context(), "/", from, func(_ metadata.Revision, events []metadata.Event) {
			for _, e := range events {
				seen <- e
			}
		})
	}()
	select {
	case err := <-ended:
		t.Fatalf("watch of a quiet cluster ended: %v", err)
	case <-time.After(8 * probe):
	}
	put(t, s, "/a", "2")
	wantEvent(t, seen, ended, "2")
}

// TestQuota fills the database with old revisions of one key: writes fail, and
// work again once the server has made room by itself.
func TestQuota(t *testing.T) {
	cfg := etcd.EmbeddedConfig{Dir: t.TempDir(), Quota: 8 << 20, Maintenance: 100 * time.Millisecond}
	s := open(t, start(t, cfg), nil)
	value := []byte(strings.Repeat("x", 1<<20))
	refused := false
	for range 40 {
		_, _, err := s.Txn(t.Context(), nil, []metadata.Op{{Key: "/big", Value: value}})
		switch {
		case err == nil && refused:
			return
		case err == nil:
		case errors.Is(err, metadata.ErrUnavailable):
			refused = true
			<-time.After(50 * time.Millisecond)
		default:
			t.Fatalf("put: got %v, want %v", err, metadata.ErrUnavailable)
		}
	}
	t.Errorf("after 40 puts of 1 MiB over a quota of 8 MiB: refused=%v, and never accepted again", refused)
}

func TestConfigs(t *testing.T) {
	for _, cfg := range []etcd.Config{
		{},
		{Endpoints: []string{"x"}, Username: "me"},
		{Endpoints: []string{"x"}, RequestTimeout: -1},
	} {
		if err := cfg.Validate(); err == nil {
			t.Errorf("validate %+v: got nil, want an error", cfg)
		}
	}
	if err := (&etcd.EmbeddedConfig{}).Validate(); err == nil {
		t.Error("validate an embedded configuration without directory: got nil, want an error")
	}
}

func put(t *testing.T, s metadata.Store, key, value string) metadata.Revision {
	t.Helper()
	_, rev, err := s.Txn(t.Context(), nil, []metadata.Op{{Key: key, Value: []byte(value)}})
	if err != nil {
		t.Fatal(err)
	}
	return rev
}

func wantEvent(t *testing.T, seen <-chan metadata.Event, ended <-chan error, value string) {
	t.Helper()
	select {
	case e := <-seen:
		if string(e.Value) != value {
			t.Errorf("event: got %q, want %q", e.Value, value)
		}
	case err := <-ended:
		t.Fatalf("watch ended: %v", err)
	case <-time.After(time.Minute):
		t.Fatalf("no event %q in 20s", value)
	}
}
