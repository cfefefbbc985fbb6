package mqtt

import "sync"

// flusher runs a function in a goroutine of its own while there is work, so
// that an idle connection has no goroutine for writing. At most one runs.
type flusher struct {
	run func()

	mu      sync.Mutex
	started bool
	running bool // a goroutine is there
	again   bool // work came while it ran
	closed  bool
	wg      sync.WaitGroup
}

// start lets the function run, and has it run once for what came before: the
// engine may tell of work before the connection can do it.
func (f *flusher) start() {
	f.mu.Lock()
	f.started = true
	f.mu.Unlock()
	f.wake()
}

// wake says that there is work. It does not block, and does nothing before start
// and after close.
func (f *flusher) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed, !f.started:
	case f.running:
		f.again = true
	default:
		f.running = true
		f.wg.Go(f.run)
	}
}

// rest is asked by the goroutine when it has nothing left to do; true means
// that it must end.
func (f *flusher) rest() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.again {
		f.again = false
		return false
	}
	f.running = false
	return true
}

// close waits until the goroutine has ended, and keeps new ones from starting.
func (f *flusher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
}
