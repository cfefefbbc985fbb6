package sim_test

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/metadata"
)

// cut ends the process, and with it the power unless it is only killed. What
// the disk and the index hold then is what the next life begins with.
func (w *world) cut(kill bool) {
	w.down = true
	w.after = aftermath{}
	if kill {
		w.broken, w.after.disk = inMemory, w.disk.kill()
		w.log("the process is killed")
	} else {
		percent := []int{0, 100, w.rng.IntN(101)}[w.rng.IntN(3)]
		if w.lazy {
			percent = 0
		}
		w.broken, w.after.disk = inSystem, w.disk.crash(w.rng, percent)
		w.log("the power goes, %d %% of unsynced data is kept", percent)
	}
	for _, m := range w.index {
		if w.rng.IntN(2) == 0 {
			m = m.Copy()
		} else {
			m = m.Crash()
		}
		w.after.index = append(w.after.index, m)
	}
}

// open starts the broker once, whatever happens to it.
func (w *world) open() (err error) {
	w.down, w.faulty = false, false
	w.sched.tasks, w.clock.timers = nil, nil
	log := slog.New(slog.DiscardHandler)
	w.cat, err = metadata.OpenCatalog(context.Background(), w.store, metadata.CatalogConfig{Cluster: "sim"}, log)
	if err != nil {
		return err
	}
	if _, err := w.cat.CreateNamespace(context.Background(), metadata.Namespace{Name: namespaceName}); err != nil {
		return err
	}
	w.Broker, err = core.Open(context.Background(), w.cfg, core.Deps{
		Dir: "data", FS: w.disk, Clock: w.clock, Rand: w.rand, Catalog: w.cat, Log: log, Work: w.sched,
		DeadLetter: deaths,
		OpenIndex:  func(shard int) (index.Store, error) { return &flakyIndex{w.index[shard], w.operation}, nil },
	})
	if err != nil {
		w.Broker = nil
		_ = w.cat.Close()
	}
	return err
}

// start opens the broker, through faults of the start itself.
func (w *world) start() {
	w.born()
	if w.rng.IntN(4) == 0 {
		w.chooseFault(30)
	}
	for attempt := 0; ; attempt++ {
		err := w.open()
		switch {
		case w.down:
			w.log("dies while it starts")
			if err == nil {
				w.abandon()
			}
			w.takeOver()
			w.over(false, w.broken)
		case err == nil:
			w.log("started")
			w.opened()
			w.overflows()
			return
		case w.rotten && refusesRot(err):
			w.log("refused: %v", err)
			w.restore()
		case w.faulty || errors.Is(err, syscall.ENOSPC):
			w.log("does not start: %v", err)
			w.cut(true)
			w.takeOver()
			w.over(false, w.broken)
		default:
			w.complain("it does not start: %v", err)
			return
		}
		w.fault = fault{}
		w.moreRoom()
		if attempt > 10 {
			w.complain("it does not start: %v", err)
			return
		}
	}
}

// moreRoom is what the operator of a full disk does.
func (w *world) moreRoom() {
	if w.disk.capacity-w.disk.used() < 40<<10 {
		w.disk.capacity += 120 << 10
		w.log("the disk gets more room")
	}
}

// abandon ends what is left of a broker that has died.
func (w *world) abandon() {
	away := w.store.away
	w.store.away = true // nothing of it reaches the metadata any more
	_ = w.Close()
	_ = w.cat.Close()
	w.store.away = away
	w.Broker = nil
}

// takeOver begins the next life with what the last has left.
func (w *world) takeOver() {
	w.disk, w.index = w.after.disk, w.after.index
	w.attachDisk()
	if n := w.disk.origin[w.rot.n]; w.rotten && n != nil {
		w.rot.n = n
	}
}

// chooseFault has the disk fail or the power go within some operations.
func (w *world) chooseFault(within int) {
	if w.rng.IntN(2) == 0 {
		w.fault.crashIn, w.fault.kill = 1+w.rng.IntN(within), w.rng.IntN(3) == 0
		return
	}
	w.fault.kind = []string{"write", "sync", "rename", "remove", "create", "read", "commit", "flush"}[w.rng.IntN(8)]
	w.fault.failIn = 1 + w.rng.IntN(within)
}

// restart ends the broker in one way or another, and starts it again.
func (w *world) restart() {
	failed := w.Err() != nil
	clean := !w.down && !failed && w.rng.IntN(3) == 0
	if clean {
		clean = w.stop()
	} else if !w.down {
		w.cut(w.rng.IntN(2) == 0)
	}
	if !clean {
		w.abandon()
		w.takeOver()
	}
	w.over(clean, w.broken)
	w.fault, w.faulty = fault{}, false
	w.clients.ended()
	w.moreRoom()
	if i := w.rng.IntN(len(w.index)); w.rng.IntN(6) == 0 {
		w.log("the index of shard %d is lost", i)
		w.loseSettlements()
		w.undoCompaction(uint32(i))
		w.index[i] = index.NewMap()
	}
	if clean && !w.rotten && w.rng.IntN(2) == 0 {
		w.flip()
	}
	w.start()
	if len(w.wrong) == 0 {
		w.reconnect()
	}
}

// stop closes the broker; false when a fault came in between.
func (w *world) stop() bool {
	w.log("stops")
	err := errors.Join(w.Close(), w.cat.Close())
	switch {
	case w.down:
		return false
	case err != nil && (w.faulty || w.full() || w.rotten):
		w.log("does not stop cleanly: %v", err)
		w.cut(true)
		return false
	case err != nil:
		w.complain("it does not stop: %v", err)
	case !w.store.away:
		w.outage = outage{} // the last round has published all
	}
	w.Broker = nil
	return true
}
