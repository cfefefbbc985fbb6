package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/cmd/tidegate/storage"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// testCluster is the cluster of the data directories below.
var testCluster = [16]byte{0xab, 15: 0xcd}

// dataDir makes a data directory of one shard whose log has several segments and
// whose index is as of the given record.
func dataDir(t *testing.T, applied record.LSN) (data string, cfg commitlog.Config) {
	t.Helper()
	data, all := dataDirOf(t, applied)
	return data, all[0]
}

// dataDirOf makes a data directory of as many shards as there are records that their
// indexes are as of.
func dataDirOf(t *testing.T, applied ...record.LSN) (data string, all []commitlog.Config) {
	t.Helper()
	data = t.TempDir()
	dir := filepath.Join(data, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	writeIdentity(t, data, fmt.Sprintf(`{"v":1,"cluster":"ab0000000000000000000000000000cd","shards":%d`, len(applied)))
	for i, lsn := range applied {
		id := record.Identity{Cluster: testCluster, Shard: uint32(i)}
		cfg := commitlog.Config{FS: vfs.Default, Dir: filepath.Join(dir, "shard-"+strconv.Itoa(i)), Identity: id, SegmentBytes: 4 << 10}
		l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		fillLog(t, l, 40)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		store, err := index.OpenPebble(vfs.Default, filepath.Join(dir, "index-"+strconv.Itoa(i)), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		var batch index.Batch
		batch.Set(index.FormatKey, index.AppendFormat(nil, id))
		batch.Set(index.AppliedKey, index.AppendLSN(nil, lsn))
		if err := errors.Join(store.Commit(&batch), store.Flush(), store.Close()); err != nil {
			t.Fatal(err)
		}
		all = append(all, cfg)
	}
	return data, all
}

// writeIdentity writes an identity, which lacks its end and the checksum.
func writeIdentity(t *testing.T, data, body string) {
	t.Helper()
	sum := crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli))
	text := fmt.Appendf(nil, `%s,"crc":"%08x"}`, body, sum)
	if err := os.WriteFile(filepath.Join(data, "log", "IDENTITY"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// fillLog appends batches of five messages.
func fillLog(t *testing.T, l *commitlog.Log, batches int) {
	t.Helper()
	for n := range batches {
		b := &record.Batch{Base: l.NextLSN(), First: 1700000000000, Last: 1700000000000, Sync: true}
		for i := range 5 {
			b.Begin(record.KindMessage)
			b.Raw = record.AppendMessage(b.Raw, &record.Message{
				Namespace: []byte("/"), Exchange: []byte("amq.topic"), Key: []byte("plant/7/temp"), Format: 2, QoS: 1,
				Streams: []record.StreamID{5}, Payload: []byte("message " + strconv.Itoa(5*n+i)),
			})
			b.End()
		}
		if err := l.Append(b); err != nil {
			t.Fatal(err)
		}
	}
}

// command runs a command line and returns its exit code.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if err := run(t.Context(), args, &out, &errs); err != nil {
		code = exitCode(err)
		errs.WriteString(err.Error())
	}
	return code, out.String(), errs.String()
}

func checkJSON(t *testing.T, data string, want int, args ...string) storage.Report {
	t.Helper()
	code, stdout, stderr := command(t, append([]string{"check", "--data", data, "--json"}, args...)...)
	if code != want {
		t.Fatalf("check %v: exit code %d, want %d\n%s%s", args, code, want, stdout, stderr)
	}
	var r storage.Report
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		t.Fatalf("check --json: %v\n%s", err, stdout)
	}
	return r
}

func logSegments(t *testing.T, cfg commitlog.Config) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg"))
	if err != nil || len(files) < 4 {
		t.Fatalf("segments %v, %v", files, err)
	}
	slices.Sort(files)
	return files
}

func damageFile(t *testing.T, path string, at int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[(at+len(content))%len(content)] ^= 1
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// contentOf is all files of a directory but the lock.
func contentOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "LOCK" {
			return err
		}
		content, err := os.ReadFile(path)
		all[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCheckSound(t *testing.T) {
	data, _ := dataDir(t, 150)
	before := contentOf(t, data)
	r := checkJSON(t, data, exitOK)
	s := r.Shards[0]
	if !r.Sound || r.Version != storage.ReportVersion || s.First != 1 || s.Next != 201 || s.Index.Applied != 150 ||
		len(s.Findings) != 0 || !s.Index.Present || len(s.Segments) < 4 {
		t.Errorf("report %+v", r)
	}
	code, stdout, stderr := command(t, "check", "--data", data)
	for _, text := range []string{"records 1 to 200", "Index as of record 150", "sealed", "nothing to do: it is made", "Sound."} {
		if code != exitOK || !strings.Contains(stdout, text) {
			t.Errorf("check: exit code %d, no %q in\n%s%s", code, text, stdout, stderr)
		}
	}
	after := contentOf(t, data)
	for path, content := range before {
		if after[path] != content {
			t.Errorf("%s was changed", path)
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, %d before", len(after), len(before))
	}
}

// TestCheckAcceptsLoss damages a data directory in many ways: each is named, can
// be accepted, and leaves a log that opens and an index that fits it.
func TestCheckAcceptsLoss(t *testing.T) {
	for name, tc := range map[string]struct {
		damage func(t *testing.T, data string, cfg commitlog.Config)
		text   string
	}{
		"frame": {func(t *testing.T, _ string, cfg commitlog.Config) {
			damageFile(t, logSegments(t, cfg)[1], 700)
		}, "checksum"},
		"header": {func(t *testing.T, _ string, cfg commitlog.Config) {
			damageFile(t, logSegments(t, cfg)[1], 9)
		}, "corrupt"},
		"footer": {func(t *testing.T, _ string, cfg commitlog.Config) {
			damageFile(t, logSegments(t, cfg)[1], -20)
		}, "corrupt"},
		"two segments": {func(t *testing.T, _ string, cfg commitlog.Config) {
			damageFile(t, logSegments(t, cfg)[1], 9)
			damageFile(t, logSegments(t, cfg)[2], 9)
		}, "corrupt"},
		"newest segment of another shard": {func(t *testing.T, _ string, cfg commitlog.Config) {
			cfg.Identity.Shard = 1
			replaceNewest(t, cfg, segmentOf(t, cfg))
		}, "segment of shard 1 of cluster ab0000000000000000000000000000cd: corrupt; nothing tells how many records there were"},
		"newest segment of another broker": {func(t *testing.T, _ string, cfg commitlog.Config) {
			cfg.Identity.Cluster[7]++
			replaceNewest(t, cfg, segmentOf(t, cfg))
		}, "there were records up to 200 at least"},
		"newest segment of another shard, without records": {func(t *testing.T, _ string, cfg commitlog.Config) {
			cfg.Identity.Shard = 1
			replaceNewest(t, cfg, segmentOf(t, cfg)[:segment.HeaderSize])
		}, "segment of shard 1 of cluster"},
		"newest segment of zeros": {func(t *testing.T, _ string, cfg commitlog.Config) {
			replaceNewest(t, cfg, make([]byte, 3000))
		}, "nothing tells how many records there were"},
		"first segment missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			remove(t, logSegments(t, cfg)[0])
		}, "where that of 1 should be"},
		"middle segment empty": {func(t *testing.T, _ string, cfg commitlog.Config) {
			if err := os.Truncate(logSegments(t, cfg)[1], 0); err != nil {
				t.Fatal(err)
			}
		}, "records 66 to 130 are lost (65)"},
		"middle segment missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			remove(t, logSegments(t, cfg)[2])
		}, "should be"},
		"newest segment missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			remove(t, slices.Max(logSegments(t, cfg)))
		}, "log behind its checkpoint"},
		"all segments missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			remove(t, logSegments(t, cfg)...)
		}, "all segments are missing"},
		"all segments missing, also from the manifest": {func(t *testing.T, _ string, cfg commitlog.Config) {
			dropSegments(t, cfg, 1000)
			left, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg"))
			if err != nil || len(left) != 1 {
				t.Fatal(left, err)
			}
			remove(t, left...)
		}, "all segments are missing, and there were records up to 200"},
		"all segments missing, and the manifest garbled": {func(t *testing.T, _ string, cfg commitlog.Config) {
			dropSegments(t, cfg, 1000)
			damageFile(t, filepath.Join(cfg.Dir, "MANIFEST"), 20)
			left, err := filepath.Glob(filepath.Join(cfg.Dir, "*.seg"))
			if err != nil || len(left) != 1 {
				t.Fatal(left, err)
			}
			remove(t, left...)
		}, "all segments are missing, and there were records up to 200"},
		"directory of the log missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			if err := os.RemoveAll(cfg.Dir); err != nil {
				t.Fatal(err)
			}
		}, "all segments are missing"},
		"manifest missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			dropSegments(t, cfg, 1)
			remove(t, filepath.Join(cfg.Dir, "MANIFEST"))
		}, "where that of 1 should be"},
		"manifest garbled": {func(t *testing.T, _ string, cfg commitlog.Config) {
			dropSegments(t, cfg, 1)
			damageFile(t, filepath.Join(cfg.Dir, "MANIFEST"), 20)
		}, "no record is lost while all segments are there"},
		"newest segment missing, without index": {func(t *testing.T, data string, cfg commitlog.Config) {
			writeEnds(t, cfg, 1, 200)
			remove(t, slices.Max(logSegments(t, cfg)))
			if err := os.RemoveAll(filepath.Join(data, "log", "index-0")); err != nil {
				t.Fatal(err)
			}
		}, "log behind its checkpoint"},
		"newest segment missing, as published offsets told a start without index": {func(t *testing.T, data string, cfg commitlog.Config) {
			writeReached(t, cfg, 200)
			remove(t, slices.Max(logSegments(t, cfg)))
			if err := os.RemoveAll(filepath.Join(data, "log", "index-0")); err != nil {
				t.Fatal(err)
			}
		}, "log behind its checkpoint"},
		"log and index missing, as published offsets told a start": {func(t *testing.T, data string, cfg commitlog.Config) {
			writeReached(t, cfg, 200)
			remove(t, logSegments(t, cfg)...)
			if err := os.RemoveAll(filepath.Join(data, "log", "index-0")); err != nil {
				t.Fatal(err)
			}
		}, "all segments are missing, and there were records up to 200"},
		"ends of streams missing": {func(t *testing.T, _ string, cfg commitlog.Config) {
			dropSegments(t, cfg, 1)
		}, "the ends of streams are missing"},
		"ends of streams missing, without index": {func(t *testing.T, data string, cfg commitlog.Config) {
			dropSegments(t, cfg, 1)
			if err := os.RemoveAll(filepath.Join(data, "log", "index-0")); err != nil {
				t.Fatal(err)
			}
		}, "the ends of streams are missing"},
		"identity missing": {func(t *testing.T, data string, _ commitlog.Config) {
			remove(t, filepath.Join(data, "log", "IDENTITY"))
		}, "cluster ab0000000000000000000000000000cd by the headers of"},
		"identity garbled": {func(t *testing.T, data string, _ commitlog.Config) {
			damageFile(t, filepath.Join(data, "log", "IDENTITY"), 0)
		}, "cluster ab0000000000000000000000000000cd by the headers of"},
		"identity of another cluster": {func(t *testing.T, data string, _ commitlog.Config) {
			writeIdentity(t, data, `{"v":1,"cluster":"ef0000000000000000000000000000cd","shards":1`)
		}, "cluster ab0000000000000000000000000000cd by the headers of"},
		"identity with a flipped bit in the number of shards": {func(t *testing.T, data string, _ commitlog.Config) {
			path := filepath.Join(data, "log", "IDENTITY")
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			damageFile(t, path, bytes.Index(content, []byte(`"shards":1`))+len(`"shards":`))
		}, "IDENTITY: checksum: corrupt"},
		"ends of streams": {func(t *testing.T, _ string, cfg commitlog.Config) {
			if err := os.WriteFile(filepath.Join(cfg.Dir, "ENDS"), []byte("TGen that is no use"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "ends of streams"},
		"index": {func(t *testing.T, data string, _ commitlog.Config) {
			files, err := filepath.Glob(filepath.Join(data, "log", "index-0", "MANIFEST-*"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.WriteFile(f, []byte("nothing of use"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, "index"},
		"index of another shard": {func(t *testing.T, data string, _ commitlog.Config) {
			store, err := index.OpenPebble(vfs.Default, filepath.Join(data, "log", "index-0"), slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			var b index.Batch
			b.Set(index.FormatKey, index.AppendFormat(nil, record.Identity{Shard: 7}))
			if err := errors.Join(store.Commit(&b), store.Flush(), store.Close()); err != nil {
				t.Fatal(err)
			}
		}, "another cluster or shard"},
	} {
		t.Run(name, func(t *testing.T) {
			data, cfg := dataDir(t, 200)
			tc.damage(t, data, cfg)
			before := contentOf(t, data)
			r := checkJSON(t, data, exitDamaged)
			code, stdout, _ := command(t, "check", "--data", data)
			if r.Sound || code != exitDamaged || !strings.Contains(stdout, tc.text) || !strings.Contains(stdout, "DAMAGED") {
				t.Fatalf("check: exit code %d, want %q in\n%s", code, tc.text, stdout)
			}
			if strings.Contains(stdout, "nothing to do") || strings.Contains(stdout, "records from 1 on are lost") {
				t.Errorf("check says what is not so:\n%s", stdout)
			}
			if code, _, _ := command(t, "check", "--data", data, "--accept-loss"); code != exitDamaged {
				t.Errorf("accepted without a word: exit code %d", code)
			}
			for path, content := range contentOf(t, data) {
				if was, ok := before[path]; ok && was != content {
					t.Errorf("%s was changed without a word", path)
				}
			}
			after := checkJSON(t, data, exitOK, "--accept-loss", "--yes")
			checkJSON(t, data, exitOK)
			cfg.From = after.Shards[0].Index.Applied
			l, err := commitlog.Open(cfg, func(*record.Batch) error { return nil })
			if err != nil {
				t.Fatalf("accepted, then: %v", err)
			}
			if next := l.NextLSN(); next != 201 {
				t.Errorf("the next record gets LSN %d, want 201: no LSN is given twice, none left out", next)
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			keptAll(t, before, contentOf(t, data))
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	if code, _, stderr := command(t, "check", "--data", t.TempDir()); code != exitFailed || !strings.Contains(stderr, "no data directory") {
		t.Errorf("empty directory: exit code %d, %s", code, stderr)
	}
	if code, _, _ := command(t, "check", "--nonsense"); code != exitFailed {
		t.Errorf("unknown flag: exit code %d, want %d", code, exitFailed)
	}
	data, _ := dataDir(t, 10)
	if code, _, stderr := command(t, "check", "--data", data, "--accept-loss", "--json"); code != exitFailed || !strings.Contains(stderr, "--yes") {
		t.Errorf("--json without --yes: exit code %d, %s", code, stderr)
	}
	writeIdentity(t, data, `{"v":2,"cluster":"ab0000000000000000000000000000cd","shards":1`)
	if code, _, stderr := command(t, "check", "--data", data); code != exitFailed || !strings.Contains(stderr, "IDENTITY") {
		t.Errorf("identity of a later version: exit code %d, %s", code, stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data, _ = dataDir(t, 10)
	if _, err := storage.Check(ctx, storage.Options{FS: vfs.Default, Data: data}); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: got %v", err)
	}
	if _, err := core.ReadLayout(vfs.Default, data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadLayout: got %v, want ErrNotExist", err)
	}
}

// TestCheckRestoresNoDoubtfulIdentity has no identity, and segments of two clusters:
// nothing is put in its place.
func TestCheckRestoresNoDoubtfulIdentity(t *testing.T) {
	data, cfg := dataDir(t, 10)
	remove(t, filepath.Join(data, "log", "IDENTITY"))
	header := segment.Header{Identity: record.Identity{Cluster: [16]byte{1}}, Base: 1000}
	w, err := segment.Create(vfs.Default, filepath.Join(cfg.Dir, "00000000000000001000.seg"), header)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before := contentOf(t, data)
	code, stdout, stderr := command(t, "check", "--data", data, "--accept-loss", "--yes")
	if code != exitDamaged || !strings.Contains(stdout, "it can't be written anew") {
		t.Errorf("exit code %d, want %d and no way to restore it\n%s%s", code, exitDamaged, stdout, stderr)
	}
	if diff := cmp.Diff(before, contentOf(t, data)); diff != "" {
		t.Errorf("the directory was changed:\n%.500s", diff)
	}
}
