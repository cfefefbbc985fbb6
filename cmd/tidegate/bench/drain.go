package bench

import (
	"context"
	"time"
)

// idleTime is how long nothing comes from a queue that is empty.
const idleTime = time.Second

// pacer holds a consumer to a rate. A nil pacer holds nothing.
type pacer struct {
	rate  float64 // messages per second
	start time.Time
	taken uint64
}

// pacer returns what holds one consumer to its part of the rate: in mode drain
// the rate is that of the consumers.
func (b *bench) pacer() *pacer {
	if b.options.Mode != modeDrain || b.options.Rate == 0 {
		return nil
	}
	return &pacer{rate: float64(b.options.Rate) / float64(b.options.Consumers), start: time.Now()}
}

// took counts messages.
func (p *pacer) took(n uint64) {
	if p != nil {
		p.taken += n
	}
}

// wait returns when what was taken is within the rate.
func (p *pacer) wait(ctx context.Context) {
	if p == nil {
		return
	}
	due := p.start.Add(time.Duration(float64(p.taken) / p.rate * float64(time.Second)))
	ahead := time.Until(due)
	if ahead <= 0 {
		return
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// endOf looks at the counters when the measurement's time is over, or at once
// when the consumers have emptied the queue.
func (b *bench) endOf(running context.Context) (reading, error) {
	if b.options.Mode == modeDrain {
		return b.untilEmpty(running)
	}
	<-running.Done()
	return b.snapshot()
}

// untilEmpty looks at the counters until nothing has come for a while, and
// returns the last look at which something had.
func (b *bench) untilEmpty(running context.Context) (reading, error) {
	tick := time.NewTicker(idleTime / 100)
	defer tick.Stop()
	last, err := b.snapshot()
	for err == nil {
		select {
		case <-running.Done():
			return b.snapshot()
		case <-tick.C:
		}
		var now reading
		if now, err = b.snapshot(); err != nil {
			break
		}
		if now.received > last.received {
			last = now
		} else if now.at.Sub(last.at) > idleTime {
			return last, nil
		}
	}
	return last, err
}
