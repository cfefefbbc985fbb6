package shard

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/record"
)

// TestDamagedTableOfTheIndex flips a byte in many places of the index's tables, on a
// disk: a start that meets it is refused, and a shard that meets it later stops, as for
// a failed sync; both name the table and the tool. Without the index all that was
// confirmed and not acked is there.
func TestDamagedTableOfTheIndex(t *testing.T) {
	const messages, places = 20_000, 8
	cfg := testConfig(1000)
	cfg.Dir, cfg.IndexDir = filepath.Join(t.TempDir(), "log"), filepath.Join(t.TempDir(), "index")
	s, err := openReal(cfg)
	must(t, err)
	must(t, s.CreateStream(record.Stream{ID: testQueue, Namespace: "/", Name: "q"}, true))
	var last record.LSN
	for range messages {
		m := record.Message{Namespace: []byte("/"), Payload: []byte("x"), Streams: []record.StreamID{testQueue}}
		last, err = s.Publish(&m, true, nil)
		must(t, err)
	}
	must(t, s.Wait(t.Context(), last))
	must(t, s.Close())
	stopped := 0
	for i := range places {
		path, put := flip(t, cfg.IndexDir, i, places)
		s, err := openReal(cfg)
		if err == nil {
			if err = drainDamaged(t, s, last); err != nil {
				stopped++
			}
			_ = s.Close() // the committer has told
		}
		if err != nil && (!errors.Is(err, record.ErrCorrupt) || !strings.Contains(err.Error(), filepath.Base(path)) ||
			!strings.Contains(err.Error(), "check --accept-loss")) {
			t.Errorf("place %d: got %v, want one that names %s and the tool", i, err, path)
		}
		put()
	}
	if stopped == 0 {
		t.Error("no place was met by a shard that ran")
	}
	must(t, os.RemoveAll(cfg.IndexDir))
	s, err = openReal(cfg)
	must(t, err)
	for want := range last - 1 { // the first record is the stream's creation
		ref, _, ok, err := s.Get(t.Context(), testQueue)
		if err != nil || !ok || ref.LSN != want+2 {
			t.Fatalf("message %d: got record %d, %v, %v", want, ref.LSN, ok, err)
		}
	}
	must(t, s.Close())
}

func openReal(cfg Config) (*Shard, error) {
	return Open(cfg, Deps{FS: vfs.Default, Clock: clock.System, Log: slog.New(slog.DiscardHandler)})
}

// flip changes a byte of the largest table of an index, in the n-th part of it, and
// returns how to put it back.
func flip(t *testing.T, dir string, n, parts int) (path string, put func()) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(t, err)
	var content []byte
	for _, p := range all {
		c, err := os.ReadFile(p)
		must(t, err)
		if len(c) > len(content) {
			path, content = p, c
		}
	}
	if path == "" {
		t.Fatal("the index has no table")
	}
	whole := copyDir(t, dir)
	content[len(content)*n/parts] ^= 0x40
	must(t, os.WriteFile(path, content, 0o600))
	return path, func() {
		must(t, os.RemoveAll(dir))
		must(t, os.CopyFS(dir, os.DirFS(whole)))
	}
}

func copyDir(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(to, os.DirFS(dir)))
	return to
}

// drainDamaged reads all of the queue, and returns what the shard has stopped with: a
// read that meets damage tells it, and nothing is confirmed any more.
func drainDamaged(t *testing.T, s *Shard, last record.LSN) error {
	t.Helper()
	for range last {
		_, _, ok, err := s.Get(t.Context(), testQueue)
		if err != nil {
			<-s.done
			if s.Err() == nil {
				t.Errorf("the shard goes on behind %v", err)
			}
			if _, err := s.Append(record.KindAck, record.AppendAck(nil, &record.Ack{}), nil); !errors.Is(err, ErrFailed) {
				t.Errorf("append: got %v, want ErrFailed", err)
			}
			return s.Err()
		}
		if !ok {
			break
		}
	}
	return nil
}
