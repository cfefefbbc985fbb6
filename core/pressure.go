package core

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
)

// Pressure tells why publishers have to wait. The zero value says that they
// need not.
type Pressure struct {
	Disk, Memory bool
	// Reason is for clients: "low on disk", "low on memory", "low on memory &
	// disk", or empty.
	Reason string
}

// Any tells whether there is an alarm.
func (p Pressure) Any() bool { return p.Disk || p.Memory }

// Memory is how the engine sees the memory of its process. The zero value
// watches no memory.
type Memory struct {
	// Limit is how many bytes the process may have; 0 when that is not known.
	Limit uint64
	// InUse returns how many bytes it has now. It is called once per
	// [PressureConfig].Interval.
	InUse func() uint64
	// Reclaim gives unused memory back. It is called now and then while memory
	// is low, and may take its time. It may be nil.
	Reclaim func()
	// Marked is told the bytes in use from which on publishers wait when
	// [Broker.SetPressureMarks] changes them; 0 for none. What no broker can stay
	// below it is not told. It may be nil.
	Marked func(bytes uint64)
}

// reclaimEvery is how many looks lie between two calls of Memory.Reclaim.
const reclaimEvery = 5

// pressure watches disk and memory. Its own goroutine looks once per interval;
// between two looks publishers count what they take, and who would take more
// than there was room for looks at once. So the disk is never filled faster
// than it is watched, however fast or small it is.
type pressure struct {
	deps   *Deps
	now    atomic.Pointer[Pressure]
	room   atomic.Int64 // bytes that may be taken before the next look
	looked atomic.Pointer[look]

	mu        sync.Mutex // guards all below, and orders the calls of listeners
	cfg       PressureConfig
	marks     watermarks
	seen      usage
	listeners map[*func(Pressure)]struct{}
	failing   bool // the disk could not be looked at, and that was logged
}

// look is what was last seen, for statistics.
type look struct {
	usage
	warned               bool
	diskMark, memoryMark uint64
}

// start takes the first look.
func (w *pressure) start(cfg *Config, shards int, deps *Deps) {
	w.cfg, w.deps = cfg.Pressure, deps
	reserve := shard.Config{SegmentBytes: cfg.SegmentBytes, BatchBytes: cfg.BatchBytes}
	w.marks = watermarks{
		cfg: cfg.Pressure, memoryLimit: deps.Memory.Limit,
		reserve: uint64(shards) * reserve.Reserve(),
	}
	w.listeners = map[*func(Pressure)]struct{}{}
	w.now.Store(&Pressure{})
	w.look(true)
}

// segmentShare bounds the open segments of all shards on a small disk: its part
// of that many.
const segmentShare = 16

// segmentBytes is how long segments get. Nothing leaves the disk before its
// segment is sealed, and what is needed of one is rewritten beside it: so a small disk
// has short ones.
func segmentBytes(cfg *Config, shards int, deps *Deps) int64 {
	disk, err := deps.FS.GetDiskUsage(deps.Dir)
	if err != nil || disk.TotalBytes == 0 { // not known: then as they are wanted
		return cfg.SegmentBytes
	}
	most := disk.TotalBytes / segmentShare / uint64(shards)
	return int64(min(uint64(cfg.SegmentBytes), max(most, leastSegment)))
}

// loop looks once per interval until ctx ends.
func (w *pressure) loop(ctx context.Context) work.Loop {
	low := 0
	return work.Every("pressure", w.deps.Clock, w.cfg.Interval, ctx.Done(), func(time.Time) {
		w.look(true)
		if !w.now.Load().Memory {
			low = 0
		} else if low++; low%reclaimEvery == 0 && w.deps.Memory.Reclaim != nil {
			w.deps.Memory.Reclaim()
		}
	}, nil)
}

// admits tells whether a publisher may take n bytes, and counts them.
func (w *pressure) admits(n int) bool {
	if w.now.Load().Any() {
		return false
	}
	if w.room.Add(-int64(n)) < 0 {
		w.look(false)
		return !w.now.Load().Any()
	}
	return true
}

// look sees how much there is left, raises and ends alarms, and tells
// listeners. Memory is looked at only where time has passed.
func (w *pressure) look(memory bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !memory && w.room.Load() > 0 {
		return // somebody else has looked meanwhile
	}
	w.lookSince(memory, w.marks.pressure(), w.marks.warned)
}

// lookSince looks, with mu held, and tells what differs from before.
func (w *pressure) lookSince(memory bool, before Pressure, warned bool) {
	u := usage{}
	if w.cfg.DiskFreePercent > 0 || w.cfg.DiskWarnPercent > 0 {
		w.lookAtDisk(&u)
	}
	if memory && w.deps.Memory.InUse != nil {
		u.memory = w.deps.Memory.InUse()
		w.seen.memory = u.memory
	}
	w.marks.observe(u)
	after := w.marks.pressure()
	w.room.Store(w.marks.room(w.seen))
	w.looked.Store(&look{
		usage: w.seen, warned: w.marks.warned, diskMark: w.cfg.diskMark(w.seen.total, w.marks.reserve),
		memoryMark: w.cfg.MemoryMark(w.marks.memoryLimit),
	})
	if w.marks.warned != warned {
		w.logWarning()
	}
	if after == before {
		return
	}
	w.now.Store(&after)
	w.logAlarm(after)
	for fn := range w.listeners {
		(*fn)(after)
	}
}

func (w *pressure) lookAtDisk(u *usage) {
	disk, err := w.deps.FS.GetDiskUsage(w.deps.Dir)
	switch {
	case err == nil:
		u.free, u.total = disk.AvailBytes, disk.TotalBytes
		w.seen.free, w.seen.total = u.free, u.total
		w.failing = false
	case !w.failing && !errors.Is(err, vfs.ErrUnsupported):
		w.failing = true
		w.deps.Log.Warn("disk usage not known: its alarm stays as it is", slog.Any("error", err))
	}
}

func (w *pressure) logWarning() {
	attrs := []any{slog.Uint64("free_bytes", w.seen.free), slog.Uint64("total_bytes", w.seen.total)}
	if w.marks.warned {
		w.deps.Log.Warn("the disk fills up", attrs...)
	} else {
		w.deps.Log.Info("the disk has room again", attrs...)
	}
}

func (w *pressure) logAlarm(p Pressure) {
	attrs := []any{
		slog.Uint64("free_disk_bytes", w.seen.free), slog.Uint64("memory_bytes", w.seen.memory),
		slog.Uint64("disk_mark_bytes", w.cfg.diskMark(w.seen.total, w.marks.reserve)),
		slog.Uint64("memory_mark_bytes", w.cfg.MemoryMark(w.marks.memoryLimit)),
	}
	if p.Any() {
		w.deps.Log.Warn("publishers have to wait", append(attrs, slog.String("reason", p.Reason))...)
	} else {
		w.deps.Log.Info("publishers go on", attrs...)
	}
}

// Pressure tells whether publishers have to wait, and why. It costs next to nothing.
func (b *Broker) Pressure() Pressure { return *b.pressure.now.Load() }

// OnPressure has fn called now and at each change, in order and never twice at
// a time, until stop is called; after stop has returned it is not called any
// more. fn may be called from any goroutine, even one that publishes; it must
// not block and must call nothing of the broker but Pressure, nor stop.
func (b *Broker) OnPressure(fn func(Pressure)) (stop func()) {
	w := &b.pressure
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners[&fn] = struct{}{}
	fn(*w.now.Load())
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.listeners, &fn)
	}
}
