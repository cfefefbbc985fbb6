package main

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/commitlog"
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
