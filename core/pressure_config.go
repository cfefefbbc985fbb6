package core

import (
	"errors"
	"fmt"
	"time"
)

// PressureConfig says when publishers have to wait because disk or memory runs
// low. Consumers, acks and declarations always go on.
type PressureConfig struct {
	// DiskWarnPercent is the used share of the disk from which on a warning is
	// logged and shown in the metrics; 0 never warns.
	DiskWarnPercent int `yaml:"disk_warn_percent"`
	// DiskFreePercent and DiskFreeBytes are the low mark of free disk: publishers
	// wait below the smaller of the two. A DiskFreePercent of 0 does not watch the
	// disk, a DiskFreeBytes of 0 leaves it to the percentage.
	DiskFreePercent int   `yaml:"disk_free_percent"`
	DiskFreeBytes   int64 `yaml:"disk_free_bytes"`
	// MemoryHighPercent is the share of the memory that the process may have, by
	// its cgroup or its machine, from which on publishers wait; 0 does not watch.
	MemoryHighPercent int `yaml:"memory_high_percent"`
	// MemoryHighBytes, when not 0, is that mark in bytes, whatever the percentage.
	MemoryHighBytes int64 `yaml:"memory_high_bytes"`
	// Interval is how often disk and memory are looked at.
	Interval time.Duration `yaml:"interval"`
}

// DefaultPressureConfig returns the defaults.
func DefaultPressureConfig() PressureConfig {
	return PressureConfig{
		DiskWarnPercent:   85,
		DiskFreePercent:   5,
		DiskFreeBytes:     2 << 30,
		MemoryHighPercent: 60,
		Interval:          time.Second,
	}
}

// Validate tells what is wrong with the settings.
func (c PressureConfig) Validate() error {
	if c.MemoryHighBytes > 0 && c.MemoryHighBytes < minMemoryMark {
		return fmt.Errorf("pressure.memory_high_bytes must be 0 or at least %d", int64(minMemoryMark))
	}
	return c.validateMarks()
}

// validateMarks is Validate for a broker that runs: its mark of memory may be so
// low that publishers wait whatever it needs.
func (c PressureConfig) validateMarks() error {
	switch {
	case c.DiskWarnPercent < 0 || c.DiskWarnPercent > 100:
		return errors.New("pressure.disk_warn_percent must be 0 to 100")
	case c.DiskFreePercent < 0 || c.DiskFreePercent > 50:
		return errors.New("pressure.disk_free_percent must be 0 to 50")
	case c.DiskFreeBytes < 0:
		return errors.New("pressure.disk_free_bytes must not be negative")
	case c.MemoryHighPercent < 0 || c.MemoryHighPercent > 100:
		return errors.New("pressure.memory_high_percent must be 0 to 100")
	case c.MemoryHighBytes < 0:
		return errors.New("pressure.memory_high_bytes must not be negative")
	case c.Interval < time.Millisecond || c.Interval > time.Minute:
		return errors.New("pressure.interval must be 1ms to 1m")
	}
	return nil
}

// minMemoryMark is the least memory with which a broker can do its work.
const minMemoryMark = 32 << 20

// MemoryMark is the number of bytes in use from which on publishers wait, for a
// process that may have limit bytes; 0 watches no memory.
func (c PressureConfig) MemoryMark(limit uint64) uint64 {
	if c.MemoryHighBytes > 0 {
		return uint64(c.MemoryHighBytes)
	}
	return limit / 100 * uint64(c.MemoryHighPercent)
}

// diskMark is the number of free bytes below which publishers wait, on a disk
// of total bytes. It is never so low that the shards lack their reserve, see
// shard.Config.Reserve; but on a very small disk that is a quarter of it at most.
func (c PressureConfig) diskMark(total, reserve uint64) uint64 {
	if c.DiskFreePercent == 0 {
		return 0
	}
	mark := total / 100 * uint64(c.DiskFreePercent)
	if c.DiskFreeBytes > 0 {
		mark = min(mark, uint64(c.DiskFreeBytes))
	}
	return max(mark, min(reserve, total/4))
}
