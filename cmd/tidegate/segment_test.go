package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/cmd/tidegate/storage"
)

func TestSegmentDump(t *testing.T) {
	_, cfg := dataDir(t, 0)
	files := logSegments(t, cfg)
	code, stdout, stderr := command(t, "segment", "dump", cfg.Dir, "--from", "7", "--to", "9", "--payload", "11")
	if code != exitOK || strings.Count(stdout, "key=plant/7/temp") != 3 || !strings.Contains(stdout, `payload="message 6"`) ||
		!strings.Contains(stdout, "2023-11-14T22:13:20.000Z") {
		t.Errorf("dump: exit code %d\n%s%s", code, stdout, stderr)
	}
	if _, stdout, _ = command(t, "segment", "dump", files[0], "--to", "1"); strings.Contains(stdout, "payload=") {
		t.Errorf("a payload is shown that was not asked for:\n%s", stdout)
	}
	code, stdout, _ = command(t, "segment", "dump", "--json", cfg.Dir)
	if code != exitOK || strings.Count(stdout, "\n") != 200 {
		t.Errorf("dump --json: exit code %d, %d lines", code, strings.Count(stdout, "\n"))
	}
	code, stdout, _ = command(t, "segment", "dump", "--frames", "--json", cfg.Dir)
	if code != exitOK || strings.Count(stdout, "\n") != 40 {
		t.Errorf("dump --frames --json: exit code %d, %d lines", code, strings.Count(stdout, "\n"))
	}
	damageFile(t, files[1], 700)
	code, stdout, stderr = command(t, "segment", "dump", files[1])
	if code != exitDamaged || !strings.Contains(stderr, "are lost") || strings.Count(stdout, "key=") < 5 {
		t.Errorf("damaged: exit code %d\n%s%s", code, stdout, stderr)
	}
	damageFile(t, files[1], 10) // its header: others tell whose it is
	if code, stdout, _ = command(t, "segment", "dump", files[1]); code != exitDamaged || strings.Count(stdout, "key=") < 5 {
		t.Errorf("damaged header: exit code %d\n%s", code, stdout)
	}
	if code, _, _ = command(t, "segment", "dump", filepath.Join(cfg.Dir, "none.seg")); code != exitFailed {
		t.Errorf("no such file: exit code %d", code)
	}
}

func TestSegmentVerify(t *testing.T) {
	_, cfg := dataDir(t, 0)
	files := logSegments(t, cfg)
	for _, path := range []string{cfg.Dir, files[1], slices.Max(files)} {
		if code, stdout, stderr := command(t, "segment", "verify", path); code != exitOK || !strings.Contains(stdout, "Sound.") {
			t.Errorf("verify %s: exit code %d\n%s%s", path, code, stdout, stderr)
		}
	}
	content, err := os.ReadFile(slices.Max(files))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(slices.Max(files), append(content, "torn"...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{cfg.Dir, slices.Max(files)} {
		if code, stdout, _ := command(t, "segment", "verify", path); code != exitOK || !strings.Contains(stdout, storage.StateTorn) {
			t.Errorf("verify torn %s: exit code %d\n%s", path, code, stdout)
		}
	}
	damageFile(t, files[1], 700)
	for _, path := range []string{cfg.Dir, files[1]} {
		code, stdout, _ := command(t, "segment", "verify", path)
		if code != exitDamaged || !strings.Contains(stdout, "DAMAGED") || !strings.Contains(stdout, "are lost") {
			t.Errorf("verify damaged %s: exit code %d\n%s", path, code, stdout)
		}
		code, stdout, _ = command(t, "segment", "verify", "--json", path)
		var r storage.Report
		if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != exitDamaged || r.Sound || r.Damaged() != 1 {
			t.Errorf("verify --json: exit code %d, %+v, %v", code, r, err)
		}
	}
}
