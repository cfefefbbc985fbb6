package core

import (
	"errors"
	"log/slog"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// spill is a queue that makes dead letters of what it refuses because it is full.
type spill struct {
	stream record.StreamID
	queue  string
	to     afterlife
}

// appendSpills appends to dst those of the queues that refused a message that make a
// dead letter of it.
func (part *planPart) appendSpills(dst []spill, refused []record.StreamID) []spill {
	for i := range part.spills {
		if slices.Contains(refused, part.spills[i].stream) {
			dst = append(dst, part.spills[i])
		}
	}
	return dst
}

// maxSpilled bounds the dead letters that come of one message that was refused, over
// all the queues that refuse these in turn. What is more is gone, as its publisher
// was told.
const maxSpilled = 32

// spilling publishes the dead letters of a message that queues refused, and of what
// is refused of these. publish publishes one and returns the queues that refuse it; its
// error is of the storage.
func (b *Broker) spilling(m *Message, from []spill, publish func(letter *Message) ([]spill, error)) error {
	type one struct {
		message *Message
		from    spill
	}
	var all []one
	for i := range from {
		all = append(all, one{m, from[i]})
	}
	for i := 0; i < len(all) && i < maxSpilled; i++ {
		by := &all[i].from
		letter, err := b.deadLetter(all[i].message, by.to, by.queue, shard.TooLong, all[i].message.dead)
		if err != nil {
			b.deps.Log.Error("dead letter of a refused message not written",
				slog.String("queue", by.queue), slog.Any("error", err))
			continue
		}
		letter.spilled = true
		further, err := publish(letter)
		if err != nil {
			return err
		}
		for j := range further {
			all = append(all, one{letter, further[j]})
		}
	}
	return nil
}

// unlessNoPlace returns the error of a publish, unless that is that the message has no
// place to go.
func unlessNoPlace(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		return nil
	}
	return err
}

// spill publishes the dead letters of the message that was published last, where queues
// refused it. Its number is settled with them.
func (p *Publisher) spill(m *Message) error {
	if len(p.spilled) == 0 {
		return nil
	}
	origin := p.origin
	p.origin = nil // the broker publishes them
	defer func() { p.origin = origin }()
	return p.b.spilling(m, slices.Clone(p.spilled), func(letter *Message) ([]spill, error) {
		routed, _, err := p.publish(letter)
		if err != nil {
			return nil, unlessNoPlace(err)
		}
		if routed {
			p.b.counters.deadLetters.Add(1)
		}
		return slices.Clone(p.spilled), nil
	})
}
