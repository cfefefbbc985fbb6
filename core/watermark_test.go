package core

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWatermarkScripts replays stories: lines that begin with "> " are events,
// the indented line below one is the state after it, other lines are prose.
func TestWatermarkScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/watermarks/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, got := replayWatermarks(t, file)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-script +got):\n%s", file, diff)
			}
		})
	}
}

func replayWatermarks(t *testing.T, file string) (want, got []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var marks watermarks
	var seen usage
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		want = append(want, line)
		if strings.HasPrefix(line, "    ") {
			continue
		}
		got = append(got, line)
		event, ok := strings.CutPrefix(line, "> ")
		if !ok {
			continue
		}
		args := scriptArgs(t, event)
		switch strings.Fields(event)[0] {
		case "marks":
			seen = usage{}
			marks = watermarks{
				cfg: PressureConfig{
					DiskWarnPercent: int(args["warn"]), DiskFreePercent: int(args["disk_percent"]),
					DiskFreeBytes:     int64(args["disk_bytes"]) << 20,
					MemoryHighPercent: int(args["memory_percent"]), MemoryHighBytes: int64(args["memory_bytes"]) << 20,
				},
				reserve: args["reserve"] << 20, memoryLimit: args["limit"] << 20,
			}
			continue
		case "disk":
			seen.free, seen.total = args["free"]<<20, args["total"]<<20
			marks.observe(usage{free: seen.free, total: seen.total})
		case "memory":
			marks.observe(usage{memory: args["used"] << 20})
		}
		got = append(got, "    "+describeWatermarks(&marks, seen))
	}
	return want, got
}

func scriptArgs(t *testing.T, event string) map[string]uint64 {
	t.Helper()
	args := map[string]uint64{}
	for _, word := range strings.Fields(event)[1:] {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", event, err)
		}
		args[name] = n
	}
	return args
}

func describeWatermarks(marks *watermarks, seen usage) string {
	var all []string
	if p := marks.pressure(); p.Any() {
		all = append(all, p.Reason)
	}
	if room := marks.room(seen); room < unboundedRoom {
		all = append(all, fmt.Sprintf("room %d", room>>20))
	}
	if marks.warned {
		all = append(all, "disk fills up")
	}
	if len(all) == 0 {
		return "-"
	}
	return strings.Join(all, ", ")
}

func TestPressureConfig(t *testing.T) {
	for name, spoil := range map[string]func(*PressureConfig){
		"warn":         func(c *PressureConfig) { c.DiskWarnPercent = 101 },
		"free":         func(c *PressureConfig) { c.DiskFreePercent = 51 },
		"bytes":        func(c *PressureConfig) { c.DiskFreeBytes = -1 },
		"memory":       func(c *PressureConfig) { c.MemoryHighPercent = 101 },
		"memory bytes": func(c *PressureConfig) { c.MemoryHighBytes = 1 << 20 },
		"interval":     func(c *PressureConfig) { c.Interval = 0 },
	} {
		cfg := DefaultConfig()
		if err := cfg.Validate(); err != nil {
			t.Fatalf("defaults: %v", err)
		}
		spoil(&cfg.Pressure)
		if err := cfg.Validate(); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	cfg := DefaultConfig()
	cfg.Durability = "sometimes"
	if err := cfg.Validate(); err == nil {
		t.Error("durability: got no error")
	}
}
