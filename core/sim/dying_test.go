package sim_test

import (
	"slices"

	"github.com/tidegate/tidegate/e2e/checker"
)

// heir tells whether a queue gets the dead letters of this one.
func (q *queue) heir(name string) bool { return q.rules != nil && slices.Contains(q.rules.heirs, name) }

// buries tells whether what the queue gives up becomes a dead letter.
func (d *dest) buries() bool { return d.rules != nil && len(d.rules.heirs) > 0 }

// discarded notes that a client has given a message up. It is settled, or has died: then
// it is either on its way to the heirs or, after a crash, in its queue again.
func (j *judge) discarded(e *entry) {
	if !e.dest.buries() {
		j.settled(e)
		return
	}
	e.inflight, e.discarded, e.dies = false, true, true
}

// mayHaveDied tells whether a dead letter of a message may be there.
func (j *judge) mayHaveDied(e *entry) bool {
	switch {
	case e.loose, len(e.letters) > 0:
		return true
	case e.final, e.acked, e.inflight:
		return false
	}
	return e.dies || j.atEnd(e)
}

// mayBeGone tells that a message has died and that nobody owes it any more.
func (j *judge) mayBeGone(e *entry) bool {
	return (e.dies || j.atEnd(e)) && (!e.dest.buries() || e.dest.rules.orphan && !e.dest.rules.strict)
}

// letter makes the entry of a dead letter that has come; nil when the message has no
// business there.
func (j *judge) letter(d *dest, m *message) *entry {
	for _, e := range m.at {
		if !e.dest.buries() || !slices.Contains(e.dest.rules.heirs, d.name) {
			continue
		}
		switch {
		case !j.mayHaveDied(e):
			j.report(checker.Invented, d, m, "it has not died in %s", e.dest.name)
		case slices.Contains(e.letters, d.name) && !e.loose:
			j.report(checker.Duplicated, d, m, "its dead letter was there before")
		}
		j.shown(e)
		// That it has moved is durable, on both sides.
		durable := onDisk
		if e.refused || e.unanswered {
			durable = e.confirmed // its publisher has made the dead letter
		}
		e.final, e.letters = true, append(e.letters, d.name)
		letter := &entry{m: m, dest: d, confirmed: durable, letter: true}
		m.at = append(m.at, letter)
		d.entries = append(d.entries, letter)
		return letter
	}
	return nil
}

// missingLetters reports a message that has died and is nowhere, or not everywhere.
func (j *judge) missingLetters(e *entry) {
	if e.loose || !e.dest.buries() {
		return
	}
	rules := e.dest.rules
	switch {
	case rules.orphan && !rules.strict:
	case (e.refused || e.unanswered) && e.confirmed == nothing:
	case len(e.letters) > 0 && len(e.letters) < len(rules.heirs):
		j.report(checker.Lost, e.dest, e.m, "its dead letter is in %v alone", e.letters)
	case e.discarded && len(e.letters) == 0:
		j.report(checker.Lost, e.dest, e.m, "rejected, and no dead letter comes")
	}
}

// lostLetters notes that a queue lost what it had, and with that perhaps dead letters
// that nobody has seen. When it is away, more are lost, unless their queue is strict.
func (w *world) lostLetters(name string, away bool) {
	for _, q := range w.clients.queues {
		if !q.heir(name) {
			continue
		}
		q.rules.orphan = q.rules.orphan || away
		if q.dest == nil {
			continue
		}
		for _, e := range q.dest.entries {
			if len(e.letters) < len(q.rules.heirs) && w.mayHaveDied(e) {
				e.loose = true
			}
		}
	}
}
