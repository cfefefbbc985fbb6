package shard

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/core/work"
)

// enterAll lets each owner ask for a place in order, and returns what they got.
func enterAll(p *pool, stop <-chan struct{}, owners ...uint64) []chan error {
	var got []chan error
	for _, owner := range owners {
		c := make(chan error, 1)
		got = append(got, c)
		go func() { c <- p.enter(owner, stop) }()
		synctest.Wait()
	}
	return got
}

func arrived(c chan error) bool { return len(c) > 0 }

func TestPoolIsBoundedAndFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool{work: work.Goroutines{}}
		got := enterAll(&p, nil, 1, 1, 1, 1, 2, 3, 4)
		// Owner 1 has its share and waits; 2 and 3 overtake it; 4 finds no place.
		for i, want := range []bool{true, true, false, false, true, true, false} {
			if arrived(got[i]) != want {
				t.Errorf("request %d: has a place %v, want %v", i, !want, want)
			}
		}
		p.leave(2)
		synctest.Wait()
		if arrived(got[2]) || !arrived(got[6]) {
			t.Error("the free place did not go to the owner that has none")
		}
		p.leave(1)
		synctest.Wait()
		if !arrived(got[2]) || arrived(got[3]) {
			t.Error("the free place did not go to the first of its owner")
		}
		for _, owner := range []uint64{1, 1, 3} {
			p.leave(owner)
		}
		synctest.Wait()
		p.leave(1)
		p.leave(4)
		if p.taken != 0 || len(p.owners) != 0 || len(p.waiting) != 0 {
			t.Errorf("at the end %d taken, %v owners, %d wait", p.taken, p.owners, len(p.waiting))
		}
	})
}

func TestPoolLetsGoWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pool{work: work.Goroutines{}}
		enterAll(&p, nil, 1, 1, 2, 2)
		stop := make(chan struct{})
		left := enterAll(&p, stop, 3)[0]
		waits := enterAll(&p, nil, 4)[0]
		close(stop)
		if err := <-left; !errors.Is(err, ErrLeft) {
			t.Errorf("who left got %v, want %v", err, ErrLeft)
		}
		p.leave(1)
		if err := <-waits; err != nil {
			t.Errorf("who waits behind got %v", err)
		}
		waits = enterAll(&p, nil, 5)[0]
		p.close()
		if err := <-waits; !errors.Is(err, ErrClosed) {
			t.Errorf("at the end: got %v, want %v", err, ErrClosed)
		}
		if err := p.enter(6, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after the end: got %v, want %v", err, ErrClosed)
		}
	})
}
