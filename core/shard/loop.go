package shard

import (
	"time"

	"github.com/tidegate/tidegate/core/work"
)

// idleWatermark is how long the log is idle before its watermark is written,
// so that rot in the last batch can be told from a torn tail.
const idleWatermark = 100 * time.Millisecond

// event is what the committer acts on.
type event uint8

const (
	nothing     event = iota
	kicked            // the open batch has something to commit
	settled           // a cursor has the first ack that is not in the log
	acksDue           // that was AckDelay ago
	deadlineDue       // messages end, or the next deadlines are to be read
	backDue           // messages that consumers failed on come back
	rested            // nothing was written for a while
	failed            // the store can't go on
	closing
)

// turn is one turn of the committer: no timer decides a batch, what arrives
// during one commit is the next. Acks alone wait for company up to AckDelay.
func (s *Shard) turn(wait bool) work.State {
	next := s.poll
	if wait {
		next = s.next
	}
	e := next()
	if e == nothing {
		return work.Idle
	}
	if !s.step(e) {
		s.acks.Stop()
		s.idle.Stop()
		s.due.Stop()
		s.back.Stop()
		return work.Ended
	}
	return work.Worked
}

// next blocks until there is an event.
func (s *Shard) next() event {
	select {
	case <-s.kick:
		return kicked
	case <-s.ackKick:
		return settled
	case <-s.acks.C:
		return acksDue
	case <-s.due.C:
		return deadlineDue
	case <-s.back.C:
		return backDue
	case <-s.idle.C:
		return rested
	case <-s.store.Failed():
		return failed
	case <-s.stop:
		return closing
	}
}

// poll is next without waiting, and always decides alike.
func (s *Shard) poll() event {
	switch {
	case work.Took(s.store.Failed()):
		return failed
	case work.Took(s.kick):
		return kicked
	case work.Took(s.ackKick):
		return settled
	case work.Took(s.acks.C):
		return acksDue
	case work.Took(s.due.C):
		return deadlineDue
	case work.Took(s.back.C):
		return backDue
	case work.Took(s.idle.C):
		return rested
	case work.Took(s.stop):
		return closing
	}
	return nothing
}

// step acts on an event. It returns false when it was the last.
func (s *Shard) step(e event) bool {
	switch e {
	case settled:
		s.acks.Reset(s.cfg.AckDelay)
		return true
	case deadlineDue:
		if err := s.deadlineTurn(); err != nil {
			s.stopped(err)
			return false
		}
		return true
	case backDue:
		s.comeBack()
		return true
	case rested:
		if err := s.log.WriteWatermark(); err != nil {
			s.stopped(err)
			return false
		}
		// A checkpoint may be due although nothing is published.
		s.idle.Reset(s.cfg.CheckpointInterval)
	case failed:
		s.stopped(s.store.Flush()) // it says why
		return false
	case closing:
		s.fail(s.finish())
		return false
	case nothing, kicked, acksDue:
	}
	wrote, err := s.commit(false)
	if err != nil {
		s.stopped(err)
		return false
	}
	if wrote {
		s.idle.Reset(idleWatermark)
		s.armDeadlines()
	}
	return true
}
