package work_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/work"
)

func TestGoroutinesRunALoopUntilItEnds(t *testing.T) {
	turns := 0
	done := work.Goroutines{}.Loop(work.Loop{Turn: func(wait bool) work.State {
		if !wait {
			t.Error("a turn that need not wait")
		}
		if turns++; turns == 3 {
			return work.Ended
		}
		return work.Worked
	}})
	if err := (work.Goroutines{}).Wait(done, nil); err != nil || turns != 3 {
		t.Errorf("Wait: got %v after %d turns, want nil after 3", err, turns)
	}
}

func TestGoroutinesGiveUp(t *testing.T) {
	given := make(chan struct{})
	close(given)
	if err := (work.Goroutines{}).Wait(nil, given); !errors.Is(err, work.ErrGivenUp) {
		t.Errorf("Wait: got %v, want ErrGivenUp", err)
	}
}

func TestGoroutinesPark(t *testing.T) {
	var mu sync.Mutex
	c, ready := sync.NewCond(&mu), false
	done := work.Goroutines{}.Go("job", func() {
		mu.Lock()
		defer mu.Unlock()
		ready = true
		c.Broadcast()
	})
	mu.Lock()
	for !ready {
		if err := (work.Goroutines{}).Park(c); err != nil {
			t.Fatal(err)
		}
	}
	mu.Unlock()
	<-done
}

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, stop := time.Now(), make(chan struct{})
		var at []time.Duration
		ended := false
		loop := work.Every("test", clock.System, time.Second, stop, func(now time.Time) {
			at = append(at, now.Sub(begin))
		}, func() { ended = true })
		if got := loop.Turn(false); got != work.Idle {
			t.Errorf("a turn before the time: got %v, want Idle", got)
		}
		for range 2 {
			if got := loop.Turn(true); got != work.Worked {
				t.Errorf("a turn: got %v, want Worked", got)
			}
		}
		close(stop)
		if got := loop.Turn(true); got != work.Ended || !ended {
			t.Errorf("the last turn: got %v and last called %t, want Ended and true", got, ended)
		}
		if len(at) != 2 || at[0] != time.Second || at[1] != 2*time.Second {
			t.Errorf("called at %v, want after 1s and 2s", at)
		}
	})
}
