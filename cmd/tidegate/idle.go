package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// The collector lets garbage grow to the size of what is live before it looks, and a
// process that does nothing does not get there: it keeps what a burst of connections, or
// its start, has left, for minutes. So memory is given back once the process rests.
const (
	idleLook = 2 * time.Second
	// idleRate is how many bytes are allocated between two looks of a process that rests:
	// with nothing to do it is a tenth of that.
	idleRate = 1 << 20
	// idleLeast is how many bytes were allocated since memory was given back last: a
	// collection for less is not worth it. For a large heap it is a quarter of that.
	idleLeast = 16 << 20
)

// idleMemory decides when memory is given back.
type idleMemory struct {
	allocated uint64 // in all, at the last look
	given     uint64 // likewise, when memory was given back last
}

// rests tells, at each look, whether the process rests and has something to give back.
func (m *idleMemory) rests(allocated, live uint64) bool {
	quiet := allocated-m.allocated < idleRate
	m.allocated = allocated
	if !quiet || allocated-m.given < max(idleLeast, live/4) {
		return false
	}
	m.given = allocated
	return true
}

// giveBackWhenIdle gives memory back to the system when the process rests, until all is
// closed.
func giveBackWhenIdle(ctx context.Context, started *closers) {
	ctx, stop := context.WithCancel(ctx)
	var looking sync.WaitGroup
	looking.Go(func() {
		var m idleMemory
		tick := time.NewTicker(idleLook)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if m.rests(heapUse()) {
					debug.FreeOSMemory()
				}
			}
		}
	})
	started.add("end giving memory back", func() error {
		stop()
		looking.Wait()
		return nil
	})
}

// heapUse is what was allocated on the heap in all, and what was live at the last collection.
func heapUse() (allocated, live uint64) {
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	for i := range samples {
		if samples[i].Value.Kind() != metrics.KindUint64 {
			return 0, 0
		}
	}
	return samples[0].Value.Uint64(), samples[1].Value.Uint64()
}
