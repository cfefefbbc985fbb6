package core

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate/tidegate/core/shard"
)

// Start is where reading a stream queue begins. The zero Start is behind the
// newest message. What lies before the stream's beginning means the beginning,
// what lies behind its end the end.
type Start = shard.Start

// StartNext begins behind the newest message.
func StartNext() Start { return Start{} }

// StartFirst begins at the oldest message that the stream keeps.
func StartFirst() Start { return Start{Kind: shard.StartFirst} }

// StartLast begins at the newest message.
func StartLast() Start { return Start{Kind: shard.StartLast} }

// StartOffset begins at an offset.
func StartOffset(o Offset) Start { return Start{Kind: shard.StartOffset, Offset: o} }

// StartTime begins at the first message that the broker took at a time or later.
func StartTime(at time.Time) Start { return Start{Kind: shard.StartTime, Time: at.UnixMilli()} }

// Group is how far a consumer group of a stream queue has got.
type Group = shard.GroupStats

// groupCursor is the cursor of a group. It is derived from the name, and never
// 0, which is a queue's own cursor.
func groupCursor(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:]) | 1
}

// consumeStream attaches a consumer to a stream queue.
func (b *Broker) consumeStream(ctx context.Context, ns *namespace, q *declared, spec ConsumeSpec) (*Consumer, error) {
	if spec.Match != nil && spec.Group != "" {
		return nil, &Error{
			Reason: ErrInvalid, Kind: "queue", Name: spec.Queue, Namespace: ns.name, Detail: "groups have no filters",
		}
	}
	c := &Consumer{b: b, ns: ns, q: q, s: b.shards[q.shard], spec: spec}
	c.spec.Exclusive = false // readers do not compete
	r := shard.Reading{
		Start: spec.Start, Limits: spec.Limits, Priority: spec.Priority, Notify: spec.Notify, Cancelled: spec.Cancelled,
	}
	if r.Cancelled == nil {
		r.Cancelled = func() {}
	}
	if spec.Group != "" {
		r.Group, r.GroupName = groupCursor(spec.Group), spec.Group
	}
	stream, err := c.s.ConsumeKept(ctx, q.stream, &r)
	if errors.Is(err, shard.ErrNotFound) {
		return nil, ns.notFound("queue", spec.Queue)
	}
	if err != nil {
		return nil, fmt.Errorf("consume stream '%s': %w", spec.Queue, b.storageError(err))
	}
	c.c, c.stream, c.hint = stream, stream, stream.Hint()
	b.counters.consumers.Add(1)
	return c, nil
}

// Groups returns the consumer groups of a stream queue, by name.
// ErrNotFound, ErrUnsupported for a queue of another type.
func (b *Broker) Groups(namespace, name string) ([]Group, error) {
	q, err := b.streamQueue(namespace, name)
	if err != nil {
		return nil, err
	}
	all, err := b.shards[q.shard].Groups(q.stream)
	return all, b.groupError(err, namespace, name)
}

// SeekGroup sets a group's cursor to another place, and returns once that is
// durable. ErrInUse while the group has consumers or unsettled deliveries,
// ErrNotFound.
func (b *Broker) SeekGroup(ctx context.Context, namespace, name, group string, start Start) error {
	q, err := b.streamQueue(namespace, name)
	if err != nil {
		return err
	}
	return b.groupError(b.shards[q.shard].SeekGroup(ctx, q.stream, groupCursor(group), start), namespace, group)
}

// DeleteGroup ends a group, and returns once that is durable. ErrInUse while it
// has consumers, ErrNotFound.
func (b *Broker) DeleteGroup(ctx context.Context, namespace, name, group string) error {
	q, err := b.streamQueue(namespace, name)
	if err != nil {
		return err
	}
	lsn, err := b.shards[q.shard].DropGroup(q.stream, groupCursor(group))
	if err != nil {
		return b.groupError(err, namespace, group)
	}
	b.unpublish.add(ended{stream: uint64(q.stream), cursor: groupCursor(group)})
	return b.storageError(b.shards[q.shard].Wait(ctx, lsn))
}

func (b *Broker) groupError(err error, namespace, name string) error {
	switch {
	case errors.Is(err, shard.ErrNotFound):
		return &Error{Reason: ErrNotFound, Kind: "group", Name: name, Namespace: namespace}
	case errors.Is(err, shard.ErrBusy):
		return &Error{Reason: ErrInUse, Kind: "group", Name: name, Namespace: namespace}
	}
	return b.storageError(err)
}

// streamQueue finds a stream queue.
func (b *Broker) streamQueue(namespace, name string) (*declared, error) {
	_, q, err := b.queue(namespace, name, "")
	if err == nil && q.kept == nil {
		err = &Error{Reason: ErrUnsupported, Kind: "queue", Name: name, Namespace: namespace, Detail: "no stream queue"}
	}
	return q, err
}

// notOnStreams refuses what stream queues can't do.
func (ns *namespace) notOnStreams(operation, name string) error {
	return &Error{
		Reason: ErrUnsupported, Kind: "queue", Name: name, Namespace: ns.name,
		Detail: operation + " is not possible on a stream queue",
	}
}

// orderingKeys are the headers that say what a message is about, the first one
// first.
var orderingKeys = []string{"x-ordering-key", "JMSXGroupID", "__SHARDINGKEY"}

// orderingKey returns what a message says that it is about; nil when it leaves
// that to its routing key. The result does not alias the message.
func (p *Publisher) orderingKey(m *Message) []byte {
	if len(m.Properties) == 0 {
		return nil
	}
	props, err := p.b.Decode(m)
	if err != nil {
		return nil
	}
	for _, name := range orderingKeys {
		for i := range props.Headers {
			if h := &props.Headers[i]; h.Name == name {
				if key := text(h.Value); key != "" {
					return []byte(key)
				}
			}
		}
	}
	return nil
}
