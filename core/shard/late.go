package shard

import (
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// late are messages of a queue that were in flight when their deadline came.
// They end when they come back. What was over when it was stored, and found a
// consumer with room, still goes to that one: then the value is true. nil while
// there is none.
type late map[record.Offset]bool

// add notes a message. What is known of it already stays.
func (l *late) add(o record.Offset, atOnce bool) {
	if _, known := (*l)[o]; known {
		return
	}
	if *l == nil {
		*l = late{}
	}
	(*l)[o] = atOnce
}

// over tells whether a message must not be delivered any more.
func (l late) over(o record.Offset) bool {
	atOnce, known := l[o]
	return known && !atOnce
}

// take forgets a message and tells whether it was late.
func (l *late) take(o record.Offset) bool {
	_, known := (*l)[o]
	if delete(*l, o); known && len(*l) == 0 {
		*l = nil
	}
	return known
}

// endDue ends the messages whose deadline has come. mu is held, but not all the
// time.
func (s *Shard) endDue() {
	d := &s.deadlines
	if len(d.near) == 0 && !d.beyond {
		return
	}
	now := s.clock.Now().UnixMilli()
	if d.beyond && index.DeadlineBucket(now) >= d.loaded {
		s.due.Reset(0) // the clock has jumped
	}
	for step := 0; len(d.near) > 0 && d.near[0].look <= now; step++ {
		next := d.near.pop()
		if st := s.queueOf(&next.Deadline); st != nil && s.end(st, &next.Deadline, false) > 0 {
			next.look = now + lookAgain.Milliseconds()
			d.near.push(next)
		} else {
			s.forgetDeadline(&next)
		}
		s.breathe(step)
	}
}

// endAtOnce ends what was over when it was stored and nobody had room for. mu is
// held.
func (s *Shard) endAtOnce() {
	d := &s.deadlines
	for i := range d.atOnce {
		if st := s.queueOf(&d.atOnce[i]); st != nil {
			s.end(st, &d.atOnce[i], true)
		}
	}
	d.atOnce = d.atOnce[:0]
}

// end gives up messages that are over, and returns how many of them are not
// settled by that, since they are in flight or die: their deadline stays. mu is held.
func (s *Shard) end(st *stream, d *index.Deadline, atOnce bool) (open int) {
	ended := false
	for o := d.First; o < d.End(); o++ {
		switch {
		case st.queue.InFlight(o):
			st.late.add(o, atOnce)
			open++
		default:
			st.late.take(o)
			ended = s.endOne(st, o) || ended
			if st.queue.Dead(o) {
				open++
			}
		}
	}
	s.endedSome(st, ended)
	return open
}

// endOne gives up a message that is over; false if it was given up. mu is held.
func (s *Shard) endOne(st *stream, o record.Offset) bool {
	if !s.bury(st, o, Expired) {
		return false
	}
	s.deadlines.ended++
	return true
}

// endedSome follows up on endOne. mu is held.
func (s *Shard) endedSome(st *stream, some bool) {
	if some {
		s.settled(st.self)
		st.trim(st.self)
	}
}

// Expired is the number of messages that have ended at their deadlines since the
// start.
func (s *Shard) Expired() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.deadlines.ended
}

// endLate ends those of the messages just fetched that were late. mu is held.
func (c *Consumer) endLate() {
	for _, it := range c.items {
		st, o := c.st.at(it.Offset)
		if len(st.late) > 0 && st.late.over(o) && c.buryHeld(it.Offset, Expired) {
			st.late.take(o)
			c.s.deadlines.ended++
		}
	}
}

// endsLate tells whether a message that comes back has met its deadline while it was
// in flight: then it is to be settled. mu is held.
func (s *Shard) endsLate(st *stream, o record.Offset) bool {
	if !st.late.take(o) || !st.queue.InFlight(o) {
		return false
	}
	s.deadlines.ended++
	return true
}

// endReturned ends late messages that are in flight no more, since a consumer
// was removed that had not fetched them. mu is held.
func (s *Shard) endReturned(of *stream) {
	for st := range of.everyPriority() {
		ended := false
		for o := range st.late {
			if !st.queue.InFlight(o) {
				st.late.take(o)
				ended = s.endOne(st, o) || ended
			}
		}
		s.endedSome(st, ended)
	}
}
