package etcd_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// readStopped returns what the keys below a prefix are after all changes.
func readStopped(dir, prefix string) (map[string]string, error) {
	got := map[string]string{}
	err := etcd.ReadStopped(dir, prefix, func(key string, value []byte) error {
		if delete(got, key); value != nil {
			got[key] = string(value)
		}
		return nil
	})
	return got, err
}

// TestReadStopped reads the database of a server that has ended, whole and damaged.
func TestReadStopped(t *testing.T) {
	dir := t.TempDir()
	if _, err := readStopped(dir, "/"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a database: got %v, want ErrNotExist", err)
	}
	server := start(t, etcd.EmbeddedConfig{Dir: dir})
	s := open(t, server, nil)
	put(t, s, "/a/1", "old")
	put(t, s, "/a/2", "stays")
	put(t, s, "/a/3", "goes")
	put(t, s, "/b/1", "other")
	put(t, s, "/a/1", "new")
	if _, _, err := s.Txn(t.Context(), nil, []metadata.Op{{Key: "/a/3"}}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Close(), server.Close()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"/a/1": "new", "/a/2": "stays"}
	got, err := readStopped(dir, "/a/")
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Fatalf("%v (-want +got)\n%s", err, diff)
	}
	stop := errors.New("enough")
	if err := etcd.ReadStopped(dir, "/", func(string, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the caller: got %v", err)
	}

	path := filepath.Join(dir, "member", "snap", "db")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readStopped(dir, "/a/"); err != nil {
			damaged++
		}
	}
	for _, end := range []int{0, 100, 4096, 8192, len(content) / 2} {
		write(content[:end])
	}
	const page = 4096
	for at := 0; at < 16*page; at += page { // all that so few keys need
		garbage := strings.Repeat("\xa5", page)
		write([]byte(string(content[:at]) + garbage + string(content[at+page:])))
	}
	if damaged < 5 {
		t.Errorf("%d of the damaged databases were told of", damaged)
	}
	write(content)
	if again, err := readStopped(dir, "/a/"); err != nil || !maps.Equal(again, want) {
		t.Errorf("restored: got %v, %v", again, err)
	}
}
