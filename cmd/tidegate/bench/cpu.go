package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of processor time in /proc. Linux shows 100 per second
// to programs whatever the kernel's own timer does.
const clockTick = 10 * time.Millisecond

// processCPU returns the processor time that a process of this machine has
// used, from /proc.
func processCPU(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	// The second field is a name in parentheses that may hold anything.
	_, rest, ok := bytes.Cut(stat[max(bytes.LastIndexByte(stat, ')'), 0):], []byte(" "))
	fields := bytes.Fields(rest)
	if !ok || len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has an unknown form", pid)
	}
	total := time.Duration(0)
	for _, f := range fields[11:13] { // utime, stime
		ticks, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		total += time.Duration(ticks) * clockTick
	}
	return total, nil
}

// processWritten returns how many bytes a process of this machine has caused to
// be written to disks, from /proc.
func processWritten(pid int) (uint64, error) {
	return processNumber(pid, "io", "write_bytes:")
}

// processMemory returns the resident set of a process of this machine in bytes.
func processMemory(pid int) (uint64, error) {
	kib, err := processNumber(pid, "status", "VmRSS:")
	return kib << 10, err
}

// processNumber reads a number from a file of lines in /proc.
func processNumber(pid int, file, name string) (uint64, error) {
	path := fmt.Sprintf("/proc/%d/%s", pid, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("look at the broker's process: %w", err)
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			if fields := bytes.Fields(rest); len(fields) > 0 {
				return strconv.ParseUint(string(fields[0]), 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("%s has an unknown form", path)
}
