package core

// usage is one look at disk and memory.
type usage struct {
	// free and total are bytes of the disk; a total of 0 says nothing of it.
	free, total uint64
	memory      uint64 // bytes in use; 0 says nothing of it
}

// watermarks is the state machine that turns looks at disk and memory into
// alarms. An alarm ends only at some distance from where it began, so that it
// does not come and go with every message. It has no clock and does no I/O.
type watermarks struct {
	cfg         PressureConfig
	reserve     uint64 // bytes of disk that the shards need beside, see shard.Config.Reserve
	memoryLimit uint64 // bytes that the process may have

	disk, memory bool // alarms: publishers wait
	warned       bool // the disk is fuller than cfg.DiskWarnPercent
}

// observe takes a look. What it says nothing of stays as it is.
func (w *watermarks) observe(u usage) {
	if u.total > 0 {
		w.observeDisk(u)
	}
	if mark := w.cfg.MemoryMark(w.memoryLimit); mark > 0 && u.memory > 0 {
		if w.memory { // ends 5 % below
			mark -= mark / 20
		}
		w.memory = u.memory >= mark
	}
}

func (w *watermarks) observeDisk(u usage) {
	mark := w.cfg.diskMark(u.total, w.reserve)
	if w.disk { // ends a quarter above
		mark += mark / 4
	}
	w.disk = u.free < mark
	if w.cfg.DiskWarnPercent == 0 {
		return
	}
	used := 100 - int(min(u.free, u.total)/max(u.total/100, 1)) // rounded up
	if w.warned {                                               // ends one percent below
		used++
	}
	w.warned = used >= w.cfg.DiskWarnPercent
}

// room is how many bytes may be taken until the disk has to be looked at again.
func (w *watermarks) room(u usage) int64 {
	mark := w.cfg.diskMark(u.total, w.reserve)
	switch {
	case u.total == 0 || mark == 0:
		return unboundedRoom
	case w.disk || u.free < mark:
		return 0
	}
	return int64(min(u.free-mark, unboundedRoom))
}

// unboundedRoom is the room on a disk that is not watched.
const unboundedRoom = 1 << 62

// pressure is what the alarms mean for publishers.
func (w *watermarks) pressure() Pressure {
	p := Pressure{Disk: w.disk, Memory: w.memory}
	switch {
	case w.disk && w.memory:
		p.Reason = "low on memory & disk"
	case w.disk:
		p.Reason = "low on disk"
	case w.memory:
		p.Reason = "low on memory"
	}
	return p
}
