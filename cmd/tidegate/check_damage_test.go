package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// segmentOf is the content of a first segment of another log.
func segmentOf(t *testing.T, cfg commitlog.Config) []byte {
	t.Helper()
	cfg.Dir = t.TempDir()
	l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	fillLog(t, l, 20)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(cfg.Dir, "00000000000000000001.seg"))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func replaceNewest(t *testing.T, cfg commitlog.Config, content []byte) {
	t.Helper()
	if err := os.WriteFile(slices.Max(logSegments(t, cfg)), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// dropSegments gives up to n sealed segments up, oldest first, as upkeep does that
// writes no ends of streams.
func dropSegments(t *testing.T, cfg commitlog.Config, n int) {
	t.Helper()
	l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range l.Segments() {
		if i < n && s.Sealed {
			if err := l.Drop(s.Base); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// writeEnds writes ends of streams of one entry, of a stream that began with record
// since and has nothing to come but behind a record.
func writeEnds(t *testing.T, cfg commitlog.Config, since, newest record.LSN) {
	t.Helper()
	le, p := binary.LittleEndian, []byte("TGen\x01\x00\x00\x00")
	for _, n := range []uint64{5, uint64(since), 1, uint64(newest) + 1, 7} {
		p = le.AppendUint64(p, n)
	}
	p = le.AppendUint32(p, cfg.Identity.Checksum(p))
	if err := os.WriteFile(filepath.Join(cfg.Dir, "ENDS"), p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// writeReached writes the file of the record that a log had reached.
func writeReached(t *testing.T, cfg commitlog.Config, lsn uint64) {
	t.Helper()
	p := binary.LittleEndian.AppendUint64([]byte("TGre\x01\x00\x00\x00"), lsn)
	p = binary.LittleEndian.AppendUint32(p, cfg.Identity.Checksum(p))
	if err := os.WriteFile(filepath.Join(cfg.Dir, shard.ReachedName), p, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// keptAll checks that no file was deleted but the manifest that was replaced.
func keptAll(t *testing.T, before, after map[string]string) {
	t.Helper()
	for path, content := range before {
		if !strings.HasSuffix(path, ".seg") && filepath.Base(path) != "ENDS" && filepath.Base(path) != shard.ReachedName {
			continue
		}
		kept := false
		for _, now := range after {
			kept = kept || now == content
		}
		if !kept {
			t.Errorf("the content of %s is gone", path)
		}
	}
}
