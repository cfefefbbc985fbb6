package shard

import (
	"errors"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/core/work"
)

const (
	// readPlaces is how many reads of the disk for consumers that have fallen
	// behind go on at the same time.
	readPlaces = 4
	// ownerPlaces is how many of them one owner may have.
	ownerPlaces = 2
)

// pool has the places for reads of the disk. The goroutine that needs a read
// does it, once it has a place: so reads have as many goroutines as places, and
// none of their own. When all places are taken it waits, in order of arrival;
// so no more wait than there are goroutines that consume. An owner, which is a
// queue or a session, can't take all places: one that has its share waits behind
// those that do not. Nobody else waits here: not the committer, not who finds
// what it needs in memory.
type pool struct {
	work work.Runner

	mu      sync.Mutex
	taken   int
	owners  map[uint64]int
	waiting []*claim
	closed  bool
	empty   chan struct{} // made by close, and closed when no place is taken any more
}

// claim is a wait for a place.
type claim struct {
	owner uint64
	ready chan struct{} // closed when the place is there, or the pool is closed
	taken bool
}

// enter takes a place, and waits for one if it must, at the longest until stop
// or the pool is closed. After nil, call leave.
func (p *pool) enter(owner uint64, stop <-chan struct{}) error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.room(owner) {
		p.take(owner)
		p.mu.Unlock()
		return nil
	}
	t := &claim{owner: owner, ready: make(chan struct{})}
	p.waiting = append(p.waiting, t)
	p.mu.Unlock()
	return p.arrived(t, p.work.Wait(t.ready, stop))
}

// arrived ends a wait, which may have been given up.
func (p *pool) arrived(t *claim, err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.taken {
		return nil
	}
	if p.closed {
		return ErrClosed
	}
	p.waiting = slices.DeleteFunc(p.waiting, func(w *claim) bool { return w == t })
	return left(err)
}

// left names the error of a wait that was given up.
func left(err error) error {
	if errors.Is(err, work.ErrGivenUp) {
		return ErrLeft
	}
	return err
}

// leave gives a place back, to the first who may have it.
func (p *pool) leave(owner uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.owners[owner]--; p.owners[owner] == 0 {
		delete(p.owners, owner)
	}
	if p.closed && p.taken == 0 {
		close(p.empty)
	}
	i := slices.IndexFunc(p.waiting, func(t *claim) bool { return p.room(t.owner) })
	if i < 0 {
		return
	}
	t := p.waiting[i]
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.take(t.owner)
	t.taken = true
	close(t.ready)
}

func (p *pool) room(owner uint64) bool {
	return p.taken < readPlaces && p.owners[owner] < ownerPlaces
}

func (p *pool) take(owner uint64) {
	if p.owners == nil {
		p.owners = map[uint64]int{}
	}
	p.taken++
	p.owners[owner]++
}

// close refuses who waits, and who comes. Those that read go on: wait for empty
// before what they read from is closed.
func (p *pool) close() (empty <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.empty
	}
	p.closed, p.empty = true, make(chan struct{})
	for _, t := range p.waiting {
		close(t.ready)
	}
	p.waiting = nil
	if p.taken == 0 {
		close(p.empty)
	}
	return p.empty
}
