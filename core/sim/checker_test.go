package sim_test

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/e2e/checker"
)

// level is how much a confirm promises.
type level uint8

const (
	nothing  level = iota
	inMemory       // lost with the process
	inSystem       // lost with the machine
	onDisk         // survives all
)

// message is one message as its publisher sent it.
type message struct {
	id       int
	lane     string // publisher and key: order is promised within
	size     int
	key      string // what it is about, for a stream that is compacted
	sent     time.Time
	priority uint8
	place    int  // in the order in which the log got them
	refused  bool // the broker said that nobody gets it
	retried  bool // sent again: its place in the lane is not certain
	at       []*entry
	change   *change // that published it, while that is in doubt
}

// entry is what a destination owes for a message.
type entry struct {
	m    *message
	dest *dest
	// confirmed is what the confirm has promised that is not yet broken by a
	// fault that it does not cover.
	confirmed level
	seen      bool
	inflight  bool // delivered in this life and not settled
	acked     bool // settled in this life
	epoch     int  // of the settling
	settled   bool // once, whatever came then
	final     bool // the settling is durable
	excused   bool // need not come, since the settling may be durable
	// loose entries may come or not: a purge, or the end of a subscription, may
	// have reached them.
	loose bool
	// passed entries were passed over by the group of a compacted stream, and may be
	// there again, see undoCompaction.
	passed bool
	change *change // that settled it, while that is in doubt
	// dies tells that the queue may have given it up since it was delivered last, and
	// discarded that a client has in this life. letters are the heirs that got it.
	dies, discarded bool
	refused         bool // its queue alone has, and made a dead letter of it
	unanswered      bool // nobody knows whether its queue has refused it so
	// returns is how often it came back; at least least after a crash, of which sure
	// were durable when the engine rested last.
	returns, least, sure int
	ends, own            time.Time // the end of its life here, and the message's own; zero for never
	letters              []string
	letter               bool // it is a dead letter
}

// dest is a queue or a session.
type dest struct {
	name      string
	durable   bool
	stream    bool // its messages stay when they are settled
	rules     *rules
	attended  bool      // somebody consumed, and what was on the way may have come back
	since     time.Time // when the first of those who consume now came
	promise   level
	unordered bool // has had several consumers at a time
	entries   []*entry
	last      map[string]int // highest message first delivered, by lane
	shard     uint32         // what was delivered lies in it
}

func newDest(name string, durable bool, promise level) *dest {
	return &dest{name: name, durable: durable, promise: promise, last: map[string]int{}}
}

// judge judges what a broker does, in the words of the checker that judges
// the real binary; but it is told more: which messages each destination owes,
// what each confirm promised, and which settlings are durable.
type judge struct {
	messages []*message
	changes  []*change
	places   int // given to messages
	epoch    int // rises whenever all that was settled before is durable
	wrong    []string
	now      func() time.Time
	jumped   bool // the clock has, by more than the engine knows deadlines ahead
}

func (j *judge) report(kind checker.Kind, d *dest, m *message, format string, args ...any) {
	j.complain("%s: %s, message %d: %s", kind, d.name, m.id, fmt.Sprintf(format, args...))
}

func (j *judge) complain(format string, args ...any) {
	j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
}

// send notes a message before it is sent.
func (j *judge) send(lane string, to []*dest) *message {
	m := &message{id: len(j.messages), lane: lane}
	j.messages = append(j.messages, m)
	j.place(m)
	m.reach(to, false)
	return m
}

// place notes that the log gets the message now.
func (j *judge) place(m *message) {
	j.places++
	m.place = j.places
}

// reach notes destinations of a message.
func (m *message) reach(to []*dest, loose bool) {
	for _, d := range to {
		if m.entry(d) == nil {
			e := &entry{m: m, dest: d, loose: loose}
			m.at = append(m.at, e)
			d.entries = append(d.entries, e)
		}
	}
}

func (m *message) entry(d *dest) *entry {
	for _, e := range m.at {
		if e.dest == d {
			return e
		}
	}
	return nil
}

// confirm notes that the broker has taken responsibility.
func (m *message) confirm(persistent bool) {
	for _, e := range m.at {
		promise := e.dest.promise
		if !persistent {
			promise = min(promise, inSystem)
		}
		e.confirmed = max(e.confirmed, promise)
	}
}

// delivered judges a delivery; nil when it should not have been.
func (j *judge) delivered(d *dest, x *core.Delivery) *entry {
	text, _, _ := strings.Cut(string(x.Message.Payload), " ")
	id, err := strconv.Atoi(text)
	if err != nil || id < 0 || id >= len(j.messages) {
		j.complain("%s: %s got %.40q", checker.Invented, d.name, x.Message.Payload)
		return nil
	}
	m := j.messages[id]
	e := m.entry(d)
	if e == nil {
		e = j.letter(d, m)
	}
	if e != nil {
		j.overdue(e, time.UnixMilli(x.Message.Time))
	}
	switch {
	case e == nil:
		j.report(checker.Invented, d, m, "not meant for it")
		return nil
	case m.refused:
		j.report(checker.Invented, d, m, "it was refused")
	case e.loose:
	case e.refused:
		j.report(checker.Invented, d, m, "its queue refused it")
	case d.rules != nil && d.rules.counted && (int(x.Returns) < e.least || int(x.Returns) > e.returns):
		j.report(checker.Duplicated, d, m, "returned %d times, not %d to %d", x.Returns, e.least, e.returns)
	case e.final:
		j.report(checker.Unsettled, d, m, "its settlement was durable")
	case e.acked:
		j.report(checker.Unsettled, d, m, "settled, and no fault since")
	case e.discarded:
		j.report(checker.Unsettled, d, m, "it was rejected, and no fault since")
	case e.inflight:
		j.report(checker.Duplicated, d, m, "it is in flight")
	case e.seen && !x.Redelivered:
		j.report(checker.Unflagged, d, m, "delivered again without a mark")
	case e.seen, e.passed && x.Redelivered, e.letter:
	case m.id < d.last[e.lane()] && !m.retried && !d.unordered && !e.dies:
		j.report(checker.Reordered, d, m, "came after %d", d.last[e.lane()])
	case !m.retried:
		d.last[e.lane()] = max(m.id, d.last[e.lane()])
	}
	j.shown(e)
	d.shard = x.Position.Shard
	e.seen, e.inflight, e.acked, e.excused, e.dies, e.discarded = true, true, false, false, false, false
	e.unanswered = false
	e.returns, e.least = int(x.Returns), int(x.Returns)
	return e
}

// settled notes that a delivery was settled.
func (j *judge) settled(e *entry) {
	e.inflight, e.acked, e.settled, e.epoch = false, true, true, j.epoch
}

// loosen forgets what the destination owes.
func (d *dest) loosen() {
	for _, e := range d.entries {
		e.loose = true
	}
}

// each calls fn for all entries.
func (j *judge) each(fn func(e *entry)) {
	for _, m := range j.messages {
		for _, e := range m.at {
			fn(e)
		}
	}
}

// rested notes that the engine had time to write and sync all that it had.
func (j *judge) rested() {
	j.epoch++
	j.jumped = false
	j.each(func(e *entry) {
		if e.confirmed > nothing {
			e.confirmed = onDisk
		}
		e.sure = e.least
	})
}

// over notes how the engine has ended: cleanly, or by a fault that breaks all
// promises up to a level.
func (j *judge) over(clean bool, broken level) {
	j.each(func(e *entry) {
		switch {
		case !e.dest.durable:
			e.loose = true
		case clean && e.confirmed > nothing:
			e.confirmed = onDisk
		case e.confirmed <= broken:
			e.confirmed = nothing
		}
		if e.acked {
			e.final = e.final || clean || e.epoch < j.epoch
			e.excused = !e.final
		}
		if !clean {
			e.least = min(e.least, e.sure)
		}
		e.inflight, e.acked, e.discarded = false, false, false
	})
}

// opened notes that the engine is there again, and so all that it has is synced.
func (j *judge) opened() {
	j.jumped = false
	j.each(func(e *entry) {
		if e.confirmed == inSystem {
			e.confirmed = onDisk
		}
	})
}

// missing reports what was promised and neither settled nor excused.
func (j *judge) missing() {
	j.each(func(e *entry) {
		if j.mayBeGone(e) {
			return
		}
		j.missingLetters(e)
		if e.confirmed == nothing || e.discarded || e.acked || e.final || e.excused || e.loose {
			return
		}
		what := "confirmed, never delivered"
		if e.seen {
			what = "delivered, never settled, and does not come again"
		}
		j.report(checker.Lost, e.dest, e.m, "%s", what)
	})
}
