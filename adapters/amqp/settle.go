package amqp

import (
	"slices"

	"github.com/tidegate/tidegate/core"
)

// settler settles the deliveries of one consumer, or of one basic.get. The
// positions that one burst of frames settles are handed over together.
type settler struct {
	engine core.Holder
	batch  []core.Position
}

// settlements collects what the frames of a burst settle. It belongs to the
// connection's reader.
type settlements struct {
	outcome core.Outcome
	pending []*settler // those with a batch, which is never empty
	kicks   []*channel // whose consumers share a limit that now has room
}

// add takes a delivery that was settled. A change of the outcome hands over
// what was collected, so that the engine sees the order of the frames.
func (s *settlements) add(outcome core.Outcome, d unackedDelivery) {
	if outcome != s.outcome {
		s.flush()
		s.outcome = outcome
	}
	if len(d.settler.batch) == 0 {
		s.pending = append(s.pending, d.settler)
	}
	d.settler.batch = append(d.settler.batch, d.pos)
}

// kick has the engine look at the channel's consumers after the next flush.
func (s *settlements) kick(ch *channel) {
	if !slices.Contains(s.kicks, ch) {
		s.kicks = append(s.kicks, ch)
	}
}

// flush hands over what was collected.
func (s *settlements) flush() {
	for i, t := range s.pending {
		t.engine.Settle(s.outcome, t.batch...)
		t.batch = t.batch[:0]
		s.pending[i] = nil
	}
	s.pending = s.pending[:0]
	for i, ch := range s.kicks {
		ch.kick()
		s.kicks[i] = nil
	}
	s.kicks = s.kicks[:0]
}
