package core

import (
	"fmt"
	"log/slog"
)

// PressureMarks returns the marks that hold now.
func (b *Broker) PressureMarks() PressureConfig {
	w := &b.pressure
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cfg
}

// SetPressureMarks has other marks hold until the broker ends, and looks at disk
// and memory by them at once: alarms have begun or ended when it returns. The
// interval stays as it is. A mark of memory below what a broker needs, as of 1
// byte, has all publishers wait until it is changed again.
func (b *Broker) SetPressureMarks(cfg PressureConfig) error {
	if err := cfg.validateMarks(); err != nil {
		return fmt.Errorf("core: %w", err)
	}
	w := &b.pressure
	w.mu.Lock()
	defer w.mu.Unlock()
	before, warned := w.marks.pressure(), w.marks.warned
	cfg.Interval = w.cfg.Interval
	w.cfg = cfg
	w.marks.set(cfg)
	mark := cfg.MemoryMark(w.marks.memoryLimit)
	if w.deps.Memory.Marked != nil && (mark == 0 || mark >= minMemoryMark) {
		w.deps.Memory.Marked(mark)
	}
	w.deps.Log.Info("marks of memory and disk changed",
		slog.Uint64("memory_mark_bytes", mark), slog.Int("disk_free_percent", cfg.DiskFreePercent),
		slog.Int64("disk_free_bytes", cfg.DiskFreeBytes))
	w.lookSince(true, before, warned)
	return nil
}

// set changes the marks. What is not watched any more has no alarm.
func (w *watermarks) set(cfg PressureConfig) {
	w.cfg = cfg
	w.disk = w.disk && cfg.DiskFreePercent > 0
	w.memory = w.memory && cfg.MemoryMark(w.memoryLimit) > 0
	w.warned = w.warned && cfg.DiskWarnPercent > 0
}
