package sim_test

import "time"

// grace is how long the metadata store may be away before the engine frees the disk
// of acks that are not published: core's publishGrace.
const grace = time.Minute

// outage is what is known of when acks could not be published. An index that is
// lost after an outage longer than the grace, before all is published again, is the
// one case in which what was durably settled may come again.
type outage struct {
	since time.Time // of this life's first round that may have failed; zero when none has
	back  time.Time // since then the store is there
	late  bool      // acks that are not published may be gone from the log
}

// setAway has the metadata store leave or come back.
func (w *world) setAway(away bool) {
	o := &w.outage
	now := w.clock.now
	switch {
	case w.store.away:
		o.late = o.late || now.Sub(o.since) > grace
		if !away {
			o.back = now
		}
	case away && o.since.IsZero():
		o.since = now
	}
	w.store.away = away
}

// born notes that a life begins, whose rounds have not failed yet.
func (w *world) born() {
	w.setAway(false)
	w.outage.since, w.outage.back = time.Time{}, w.clock.now
}

// restedLoops notes that every loop has done what was due: with the store there for
// an interval, all acks are published.
func (w *world) restedLoops() {
	w.restedAt = w.clock.now
	if !w.store.away && w.clock.now.Sub(w.outage.back) >= w.cfg.OffsetInterval {
		w.outage = outage{back: w.outage.back}
	}
}

// loseSettlements excuses what comes again because an index is lost, and that the log
// does not have all counts of returns.
func (w *world) loseSettlements() {
	w.each(func(e *entry) { e.least = 0 })
	if w.setAway(w.store.away); !w.outage.late {
		return
	}
	w.log("with acks that are published nowhere")
	w.each(func(e *entry) {
		e.excused = e.excused || e.final
		e.final = false
		e.loose = e.loose || len(e.letters) > 0
		e.change = nil // that it comes again does not tell of its transaction any more
	})
}
