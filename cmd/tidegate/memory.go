package main

import (
	"bufio"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/core"
)

// garbagePercent is how much garbage there may be beside what lives before it is
// collected; Go's own is 100. Messages make next to none of it, so collecting twice
// as often costs little, and what rests (queues, sessions, connections) is most of
// what a broker holds. GOGC goes first.
const garbagePercent = 50

// processMemory is the memory of this process as the engine watches it. The
// garbage collector is told to stay below the watermark, as far as it can, so
// that the alarm means memory in use and not garbage. GOMEMLIMIT goes first.
func processMemory(cfg core.PressureConfig) core.Memory {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	limit := memoryLimit("/proc", "/sys/fs/cgroup")
	stayBelow(cfg.MemoryMark(limit))
	return core.Memory{Limit: limit, InUse: memoryInUse, Reclaim: debug.FreeOSMemory, Marked: stayBelow}
}

// stayBelow tells the collector of a mark; 0 is none.
func stayBelow(mark uint64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	limit := int64(math.MaxInt64)
	if mark > 0 {
		limit = int64(min(mark/10*9, math.MaxInt64))
	}
	debug.SetMemoryLimit(limit)
}

// memoryInUse is what the process has mapped and not given back.
func memoryInUse() uint64 {
	samples := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
	}
	metrics.Read(samples)
	for i := range samples {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0
		}
	}
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

// memoryLimit is how many bytes the process may have: those of the machine, or
// fewer when its cgroup, or one above it, says so; 0 when nothing tells.
func memoryLimit(proc, cgroup string) uint64 {
	limit := uint64(math.MaxUint64)
	if n, ok := machineMemory(filepath.Join(proc, "meminfo")); ok {
		limit = n
	}
	for dir := range cgroupsOf(filepath.Join(proc, "self", "cgroup")) {
		// v2 first, then v1, where the controller has a tree of its own.
		for _, file := range []string{
			filepath.Join(cgroup, dir, "memory.max"),
			filepath.Join(cgroup, "memory", dir, "memory.limit_in_bytes"),
		} {
			if text, err := os.ReadFile(file); err == nil {
				if n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
					limit = min(limit, n)
				}
			}
		}
	}
	if limit == math.MaxUint64 {
		return 0
	}
	return limit
}

// machineMemory reads the size of the machine's memory.
func machineMemory(file string) (uint64, bool) {
	f, err := os.Open(file)
	if err != nil {
		return 0, false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 3 && words[0] == "MemTotal:" && words[2] == "kB" {
			n, err := strconv.ParseUint(words[1], 10, 44)
			return n << 10, err == nil
		}
	}
	return 0, false
}

// cgroupsOf returns the cgroups of the process and those above them, as paths
// below the root of the cgroup file system.
func cgroupsOf(file string) map[string]bool {
	dirs := map[string]bool{"/": true}
	text, err := os.ReadFile(file)
	if err != nil {
		return dirs
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 || parts[1] != "" && !strings.Contains(","+parts[1]+",", ",memory,") {
			continue
		}
		for dir := filepath.Clean("/" + parts[2]); dir != "/"; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
	}
	return dirs
}
