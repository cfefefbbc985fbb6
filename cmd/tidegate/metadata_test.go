package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// TestBootstrapOverMessages starts with empty metadata beside a log: refused,
// unless it is asked for.
func TestBootstrapOverMessages(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	cfg := defaultConfig()
	cfg.Data = t.TempDir()
	if err := os.MkdirAll(filepath.Join(cfg.Data, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.Data, "log", "IDENTITY"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	catalog, err := metadata.OpenCatalog(t.Context(), memory.New(), metadata.CatalogConfig{Cluster: "test"}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = catalog.Close() })
	if err := bootstrap(t.Context(), cfg, catalog, log); !errors.Is(err, errMetadataLost) {
		t.Errorf("got %v, want errMetadataLost", err)
	}
	if _, made := catalog.User(guestUser); made {
		t.Error("made a user all the same")
	}
	cfg.Metadata.Recreate = true
	if err := bootstrap(t.Context(), cfg, catalog, log); err != nil {
		t.Fatal(err)
	}
	if _, made := catalog.User(guestUser); !made {
		t.Error("made no user")
	}
}
