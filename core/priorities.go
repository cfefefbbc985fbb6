package core

import (
	"errors"
	"slices"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/metadata"
)

// prioritised returns the plan for a message of whose queues some have priorities, and
// its parts: to these queues it goes by the stream of its own. Such a stream is made when
// it is the first one, so the message has to be admitted before.
func (p *Publisher) prioritised(pl *plan, m *Message) (*plan, []planPart, error) {
	of, err := p.ranked(pl, m)
	if err != nil {
		return nil, nil, err
	}
	if m.QoS == 0 {
		return of, of.queued, nil
	}
	return of, of.stored, nil
}

func (p *Publisher) ranked(pl *plan, m *Message) (*plan, error) {
	priority := m.Priority
	if !m.PriorityKnown {
		look := &lookup{broker: p.b, format: m.Format, properties: m.Properties}
		priority = look.decode().Priority
	}
	priority = min(priority, pl.highest)
	if priority == 0 {
		return pl, nil
	}
	if of := pl.byPriority[priority]; of != nil {
		return of, nil
	}
	of := *pl
	of.byPriority = nil
	var err error
	if of.stored, err = p.b.partsOf(pl.stored, priority); err != nil {
		return nil, p.b.storageError(err)
	}
	if of.queued, err = p.b.partsOf(pl.queued, priority); err != nil {
		return nil, p.b.storageError(err)
	}
	if !pl.kept || p.plans[string(p.planKey)] != pl {
		return &of, nil
	}
	if p.room(); len(p.plans) == 0 { // the plan itself had to go
		p.kept = 0
		return &of, nil
	}
	if pl.byPriority == nil {
		pl.byPriority = map[uint8]*plan{}
	}
	pl.byPriority[priority] = &of
	return &of, nil
}

// partsOf returns the parts of a plan for messages of a priority, whose streams are
// there then.
func (b *Broker) partsOf(parts []planPart, priority uint8) ([]planPart, error) {
	all := slices.Clone(parts)
	for i := range all {
		part := &all[i]
		part.streams, part.spills = slices.Clone(part.streams), slices.Clone(part.spills)
		for j, highest := range part.highest {
			own := min(priority, highest)
			if own == 0 {
				continue
			}
			queue := part.streams[j]
			if err := b.shards[part.shard].OpenPriority(queue, own); err != nil && !errors.Is(err, shard.ErrNotFound) {
				return nil, err
			} // without the queue nothing is stored for it
			part.streams[j] = shard.PriorityStream(queue, own)
			for k := range part.spills {
				if part.spills[k].stream == queue {
					part.spills[k].stream = part.streams[j]
				}
			}
		}
	}
	return all, nil
}

// prioritise notes the highest priority that the last of the streams knows.
func (part *planPart) prioritise(highest uint8) {
	if highest == 0 && part.highest == nil {
		return
	}
	for len(part.highest) < len(part.streams)-1 {
		part.highest = append(part.highest, 0)
	}
	part.highest = append(part.highest, highest)
}

// has tells whether a stream is the queue's, of whatever priority.
func (q *declared) has(id record.StreamID) bool {
	return q.stream == id || highestPriority(&q.spec) > 0 && q.stream == id&^shard.PriorityBits
}

// isStreamOf is has for a queue as the metadata has it.
func isStreamOf(q *metadata.Queue, id record.StreamID) bool {
	of := declared{spec: QueueSpec{Args: q.Args}, stream: record.StreamID(q.Stream)}
	return of.has(id)
}
