package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/cmd/tidegate/storage"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
	"github.com/tidegate/tidegate/metadata"
)

// rename exchanges two names, or moves one when the other is not there.
func rename(t *testing.T, a, b string) {
	t.Helper()
	err := os.Rename(a, a+".x")
	if _, gone := os.Stat(b); err == nil && gone == nil {
		err = os.Rename(b, a)
	}
	if err == nil {
		err = os.Rename(a+".x", b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCheckOfMisplacedLogs renames directories of shards: check says which holds what,
// nothing is given up for it, and once they are renamed all is there.
func TestCheckOfMisplacedLogs(t *testing.T) {
	for name, tc := range map[string]struct {
		from, to string
		also     func(t *testing.T, all []commitlog.Config) // damage beside it
		texts    []string
	}{
		"two logs": {"shard-0", "shard-1", nil, []string{
			"shard-0\n", "shard-1\n",
			"holds the log of shard 1, not that of shard 0", "holds the log of shard 0, not that of shard 1", "rename it to shard-1",
		}},
		"two logs with manifests and ends": {"shard-0", "shard-1", func(t *testing.T, all []commitlog.Config) {
			for _, cfg := range all {
				writeEnds(t, cfg, 1, 200)
				dropSegments(t, cfg, 1)
			}
		}, []string{"holds the log of shard 1, not that of shard 0", "holds the log of shard 0, not that of shard 1"}},
		"damage beside it": {"shard-1", "shard-2", func(t *testing.T, all []commitlog.Config) {
			damageFile(t, logSegments(t, all[0])[1], 700)
		}, []string{"holds the log of shard 2, not that of shard 1", "checksum"}},
	} {
		t.Run(name, func(t *testing.T) {
			data, all := dataDirOf(t, 200, 200, 200)
			dir := filepath.Join(data, "log")
			from, to := filepath.Join(dir, tc.from), filepath.Join(dir, tc.to)
			if tc.also != nil {
				tc.also(t, all)
			}
			rename(t, from, to)
			before := contentOf(t, data)
			checkJSON(t, data, exitDamaged)
			code, stdout, stderr := command(t, "check", "--data", data, "--accept-loss", "--yes")
			if code != exitDamaged || strings.Contains(stderr, "To be given up") {
				t.Fatalf("check: exit code %d\n%s%s", code, stdout, stderr)
			}
			for _, text := range tc.texts {
				if !strings.Contains(stdout, text) {
					t.Errorf("no %q in\n%s", text, stdout)
				}
			}
			if diff := cmp.Diff(before, contentOf(t, data)); diff != "" {
				t.Errorf("the directory was changed:\n%.500s", diff)
			}
			rename(t, from, to)
			if name != "damage beside it" {
				checkJSON(t, data, exitOK)
				return
			}
			checkJSON(t, data, exitOK, "--accept-loss", "--yes")
		})
	}
}

// TestRefusedAcceptChangesNothing has damage that can be given up beside what can't, in
// the same shard and in another.
func TestRefusedAcceptChangesNothing(t *testing.T) {
	garbledEnds := func(t *testing.T, cfg commitlog.Config) {
		if err := os.WriteFile(filepath.Join(cfg.Dir, "ENDS"), []byte("TGen that is no use"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		damage func(t *testing.T, all []commitlog.Config)
		text   string
	}{
		"no manifest can be made": {func(t *testing.T, all []commitlog.Config) {
			segments := logSegments(t, all[1])
			dropSegments(t, all[1], 1)
			damageFile(t, filepath.Join(all[1].Dir, "MANIFEST"), 20)
			damageFile(t, segments[len(segments)-2], -20)
			garbledEnds(t, all[1])
			garbledEnds(t, all[0])
		}, "shard 1: rebuild manifest"},
		"a segment of a later version": {func(t *testing.T, all []commitlog.Config) {
			damageFile(t, logSegments(t, all[0])[1], 700)
			laterVersion(t, logSegments(t, all[1])[1])
			garbledEnds(t, all[1])
		}, "start that one"},
	} {
		t.Run(name, func(t *testing.T) {
			data, all := dataDirOf(t, 200, 200)
			tc.damage(t, all)
			before := contentOf(t, data)
			code, stdout, stderr := command(t, "check", "--data", data, "--accept-loss", "--yes")
			if code != exitDamaged || !strings.Contains(stderr, "nothing was changed") || !strings.Contains(stderr, tc.text) ||
				!strings.Contains(stdout, "DAMAGED") {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, exitDamaged, tc.text, stdout, stderr)
			}
			if diff := cmp.Diff(before, contentOf(t, data)); diff != "" {
				t.Errorf("the directory was changed:\n%.500s", diff)
			}
		})
	}
}

// laterVersion makes the header of a segment one of a later version.
func laterVersion(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[4] = 9
	sum := crc32.Checksum(content[:60], crc32.MakeTable(crc32.Castagnoli))
	binary.LittleEndian.PutUint32(content[60:], sum)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCheckOfCutLogs cuts the newest segment by hand. Where anything tells that the log
// went on, it is damage; else check says what it can't know.
func TestCheckOfCutLogs(t *testing.T) {
	for name, tc := range map[string]struct {
		know  func(t *testing.T, all []commitlog.Config) // of a record behind the cut
		known uint64
		by    string
	}{
		"nothing tells": {nil, 0, ""},
		"ENDS tells": {func(t *testing.T, all []commitlog.Config) {
			writeEnds(t, all[0], 1, 200)
		}, 200, "ENDS"},
		"the log of another shard tells": {func(t *testing.T, all []commitlog.Config) {
			transferFrom(t, all[1], 0, 199)
		}, 199, "a transaction in shard 1"},
		"etcd tells": {func(t *testing.T, all []commitlog.Config) {
			publishOffsets(t, filepath.Dir(filepath.Dir(all[0].Dir)),
				metadata.Offset{Stream: 5, Incarnation: "ab0000000000000000000000000000cd", LSN: 196},
				metadata.Offset{Stream: 5, Incarnation: "ab0000000000000000000000000000cd", LSN: 199},
				metadata.Offset{Stream: 7, Incarnation: "ab0000000000000000000000000000cd", LSN: 197},
				metadata.Offset{Stream: 5, Shard: 1, Incarnation: "ab0000000000000000000000000000cd", LSN: 200},
				metadata.Offset{Stream: 9, Incarnation: "cd0000000000000000000000000000cd", LSN: 999},
			)
		}, 199, "the marks and offsets in etcd"},
		"a mark in etcd tells": {func(t *testing.T, all []commitlog.Config) {
			publish(t, filepath.Dir(filepath.Dir(all[0].Dir)), func(c *metadata.Catalog) error {
				return c.PutMarks(t.Context(), []metadata.Mark{
					{Incarnation: "ab0000000000000000000000000000cd", LSN: 198},
					{Shard: 1, Incarnation: "ab0000000000000000000000000000cd", LSN: 9},
					{Shard: 2, Incarnation: "cd0000000000000000000000000000cd", LSN: 999},
				})
			})
		}, 198, "the marks and offsets in etcd"},
		"the index of another shard tells": {func(t *testing.T, all []commitlog.Config) {
			store, err := index.OpenPebble(vfs.Default, filepath.Join(filepath.Dir(all[2].Dir), "index-2"), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			var b index.Batch
			b.Set(index.TransferredKey(1, 400), nil)
			b.Set(index.TransferredKey(0, 198), nil)
			b.Set(index.TransferredKey(0, 197), nil)
			if err := errors.Join(store.Commit(&b), store.Flush(), store.Close()); err != nil {
				t.Fatal(err)
			}
			extend(t, all[1], 400)
		}, 198, "a transaction in shard 2"},
	} {
		t.Run(name, func(t *testing.T) {
			data, all := dataDirOf(t, 10, 10, 10)
			if tc.know != nil {
				tc.know(t, all)
			}
			newest := slices.Max(logSegments(t, all[0]))
			content, err := os.ReadFile(newest)
			if err != nil {
				t.Fatal(err)
			}
			replaceNewest(t, all[0], content[:segment.HeaderSize+30])
			want := exitOK
			if tc.known > 0 {
				want = exitDamaged
			}
			r := checkJSON(t, data, want)
			s := r.Shards[0]
			code, stdout, _ := command(t, "check", "--data", data)
			if code != want || len(s.Findings) != 1 || len(r.Shards[1].Findings) != 0 || len(r.Shards[2].Findings) != 0 {
				t.Fatalf("exit code %d, want %d\n%s", code, want, stdout)
			}
			f := s.Findings[0]
			if f.File != filepath.Base(newest) || f.From != segment.HeaderSize || f.To != segment.HeaderSize+30 {
				t.Errorf("finding %+v, want the bytes behind the header of %s", f, newest)
			}
			if tc.known == 0 {
				text := fmt.Sprintf("behind the last known sync, at record %d: what it held may or may not have been confirmed; a power cut leaves such a tail too", s.Durable)
				if f.Severity != storage.Notice || f.Text != "torn tail, "+text || uint64(s.Durable)+1 != uint64(f.First) {
					t.Errorf("finding %+v, durable up to %d, want a notice that says %s", f, s.Durable, text)
				}
				return
			}
			text := fmt.Sprintf("record %d is known from %s", tc.known, tc.by)
			if f.Severity != storage.Damage || uint64(f.Last) != tc.known || !strings.Contains(f.Text, text) || uint64(s.Durable) != tc.known {
				t.Errorf("finding %+v, durable up to %d, want damage up to record %d and %s", f, s.Durable, tc.known, text)
			}
			lost := fmt.Sprintf("records %d to %d", f.First, f.Last)
			code, stdout, stderr := command(t, "check", "--data", data, "--accept-loss", "--yes")
			if code != exitOK || !strings.Contains(stderr, lost) {
				t.Errorf("accept: exit code %d, want %q given up\n%s%s", code, lost, stdout, stderr)
			}
			l, err := commitlog.Open(all[0], func(*record.Batch) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
			if next := uint64(l.NextLSN()); next != tc.known+1 {
				t.Errorf("the next record gets LSN %d, want %d", next, tc.known+1)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// transferFrom has a log tell of a transfer from another shard.
func transferFrom(t *testing.T, cfg commitlog.Config, source uint32, number record.LSN) {
	t.Helper()
	l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	b := &record.Batch{Base: l.NextLSN(), First: 1700000000000, Last: 1700000000000, Sync: true}
	b.Begin(record.KindTransferred)
	b.Raw = record.AppendTransferRef(b.Raw, record.TransferRef{Source: source, Number: number, Open: number})
	b.End()
	if err := errors.Join(l.Append(b), l.Close()); err != nil {
		t.Fatal(err)
	}
}

// publishOffsets has the embedded etcd of a data directory tell of offsets.
func publishOffsets(t *testing.T, data string, offsets ...metadata.Offset) {
	t.Helper()
	publish(t, data, func(c *metadata.Catalog) (err error) {
		for _, o := range offsets {
			err = errors.Join(err, c.PutOffsets(t.Context(), []metadata.Offset{o}))
		}
		return err
	})
}

// publish writes to the embedded etcd of a data directory, which is stopped then.
func publish(t *testing.T, data string, put func(*metadata.Catalog) error) {
	t.Helper()
	cfg, log := defaultConfig(), slog.New(slog.DiscardHandler)
	cfg.Data = data
	var held closers
	store, err := openStore(t.Context(), cfg, log, &held)
	if err != nil {
		t.Fatal(errors.Join(err, held.close()))
	}
	catalog, err := openCatalog(t.Context(), cfg, store, log)
	if err != nil {
		t.Fatal(errors.Join(err, held.close()))
	}
	if err := errors.Join(put(catalog), catalog.Close(), held.close()); err != nil {
		t.Fatal(err)
	}
}

// extend appends messages until the log reaches a record.
func extend(t *testing.T, cfg commitlog.Config, to record.LSN) {
	t.Helper()
	l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for l.NextLSN() <= to {
		fillLog(t, l, 1)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestCheckOfMissingDirectories removes all that there is of a shard beside the others.
func TestCheckOfMissingDirectories(t *testing.T) {
	data, all := dataDirOf(t, 200, 200, 200)
	for _, dir := range []string{all[2].Dir, filepath.Join(filepath.Dir(all[2].Dir), "index-2")} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	r := checkJSON(t, data, exitDamaged)
	if f := r.Shards[2].Findings; len(f) != 2 || f[1].Severity != storage.Damage || f[1].File != all[2].Dir || !f[1].Open {
		t.Errorf("findings %+v, want the log's directory named", f)
	}
	code, stdout, stderr := command(t, "check", "--data", data, "--accept-loss", "--yes")
	if code != exitOK || !strings.Contains(stderr, "shard 2: the log, all records that it had") {
		t.Errorf("accept: exit code %d\n%s%s", code, stdout, stderr)
	}
	checkJSON(t, data, exitOK)
}
