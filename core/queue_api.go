package core

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/metadata"
)

// DeclareQueue creates the queue, or checks that the existing one is
// equivalent (ErrLocked, ErrInequivalent). An exclusive queue lives in memory
// however durable it is asked for. It returns once publishes see it.
func (b *Broker) DeclareQueue(ctx context.Context, namespace string, spec QueueSpec) (QueueStatus, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return QueueStatus{}, err
	}
	if spec.Name == "" {
		if spec.Name, err = b.madeName("amq.gen-"); err != nil {
			return QueueStatus{}, err
		}
	}
	if _, asked := spec.Args[argDeadExchange]; asked && b.deps.DeadLetter == nil {
		return QueueStatus{}, fmt.Errorf("dead letters of queue '%s': %w", spec.Name, ErrUnsupported)
	}
	known, err := ns.checkQueue(&spec)
	if err != nil {
		return QueueStatus{}, err
	}
	if _, err := queueDurability(namespace, &spec); err != nil {
		return QueueStatus{}, err
	}
	if _, err := queueRetention(namespace, &spec); err != nil {
		return QueueStatus{}, err
	}
	if !known {
		if err := b.roomForQueue(ns, spec.Name); err != nil {
			return QueueStatus{}, err
		}
		if err := b.createQueue(ctx, ns, spec); err != nil {
			return QueueStatus{}, err
		}
	}
	return b.CheckQueue(namespace, spec.Name, spec.Owner)
}

func (b *Broker) createQueue(ctx context.Context, ns *namespace, spec QueueSpec) error {
	id, err := b.newStreamID(spec.Durable && !spec.Exclusive)
	if highestPriority(&spec) > 0 {
		id &^= shard.PriorityBits
	}
	if err != nil {
		return err
	}
	home := b.home(ns.name, []byte(spec.Name))
	if spec.Exclusive || !spec.Durable {
		ns.mu.Lock()
		if ns.queues[spec.Name] != nil { // declared meanwhile
			ns.mu.Unlock()
			_, err := ns.checkQueue(&spec)
			return err
		}
		defer ns.mu.Unlock()
		asked := spec.Durable
		spec.Durable = false
		if err := b.addQueue(ns, spec, id, home); err != nil {
			return err
		}
		ns.queues[spec.Name].askedDurable = asked
		return nil
	}
	now, created, err := b.deps.Catalog.CreateQueue(ctx, metadata.Queue{
		Namespace: ns.name, Name: spec.Name, AutoDelete: spec.AutoDelete, Args: spec.Args,
		Stream: uint64(id), Shard: home,
	})
	if err != nil {
		return metadataError(err)
	}
	if created {
		return nil
	}
	return ns.equivalentQueue(&spec, &declared{
		spec:         QueueSpec{Name: now.Name, Durable: true, AutoDelete: now.AutoDelete, Args: now.Args},
		askedDurable: true,
	})
}

// newStreamID makes an id for a queue's stream. It tells whether the stream outlives
// the process.
func (b *Broker) newStreamID(durable bool) (record.StreamID, error) {
	var raw [8]byte
	if _, err := io.ReadFull(b.deps.Rand, raw[:]); err != nil {
		return 0, fmt.Errorf("make a stream id: %w", err)
	}
	id := record.StreamID(binary.LittleEndian.Uint64(raw[:])) &^ filterBit
	if durable {
		return id | durableBit, nil
	}
	return max(id&^durableBit, 2), nil
}

// madeName makes a name that nobody else has, as RabbitMQ does: a prefix and
// 22 characters of base64.
func (b *Broker) madeName(prefix string) (string, error) {
	var raw [16]byte
	if _, err := io.ReadFull(b.deps.Rand, raw[:]); err != nil {
		return "", fmt.Errorf("make a name: %w", err)
	}
	return prefix + base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

func (ns *namespace) checkQueue(spec *QueueSpec) (known bool, err error) {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	q := ns.queues[spec.Name]
	if q == nil {
		return false, nil
	}
	if err := ns.access(q, spec.Owner); err != nil {
		return true, err
	}
	return true, ns.equivalentQueue(spec, q)
}

// equivalentQueue compares in the order that RabbitMQ does.
func (ns *namespace) equivalentQueue(got *QueueSpec, q *declared) error {
	if got.Exclusive != q.spec.Exclusive {
		return &Error{Reason: ErrLocked, Kind: "queue", Name: got.Name, Namespace: ns.name}
	}
	return inequivalent("queue", got.Name, ns.name, append([]property{
		{"durable", strconv.FormatBool(got.Durable), strconv.FormatBool(q.askedDurable || q.spec.Durable)},
		{"auto_delete", strconv.FormatBool(got.AutoDelete), strconv.FormatBool(q.spec.AutoDelete)},
		{argQueueType, got.queueType(), q.spec.queueType()},
		{argExpires, text(got.Args[argExpires]), text(q.spec.Args[argExpires])},
		{argDeadExchange, text(got.Args[argDeadExchange]), text(q.spec.Args[argDeadExchange])},
		{argDeadKey, text(got.Args[argDeadKey]), text(q.spec.Args[argDeadKey])},
		{argDeadStrategy, text(got.Args[argDeadStrategy]), text(q.spec.Args[argDeadStrategy])},
		{argMaxReturns, text(got.Args[argMaxReturns]), text(q.spec.Args[argMaxReturns])},
		{argMaxLength, text(got.Args[argMaxLength]), text(q.spec.Args[argMaxLength])},
		{argMaxPriority, text(got.Args[argMaxPriority]), text(q.spec.Args[argMaxPriority])},
		overflowProperty(got, &q.spec),
		{argMessageTTL, text(got.Args[argMessageTTL]), text(q.spec.Args[argMessageTTL])},
		{argAckTimeout, text(got.Args[argAckTimeout]), text(q.spec.Args[argAckTimeout])},
		{argSingleActive, text(got.Args[argSingleActive]), text(q.spec.Args[argSingleActive])},
		{argDurability, text(got.Args[argDurability]), text(q.spec.Args[argDurability])},
	}, retentionProperties(got, &q.spec)...))
}

// access refuses the exclusive queue of another owner.
func (ns *namespace) access(q *declared, owner string) error {
	if q.spec.Exclusive && q.spec.Owner != owner {
		return &Error{Reason: ErrLocked, Kind: "queue", Name: q.spec.Name, Namespace: ns.name}
	}
	return nil
}

// queue finds a queue that the owner may use.
func (b *Broker) queue(namespace, name, owner string) (*namespace, *declared, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return nil, nil, err
	}
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	q := ns.queues[name]
	if q == nil {
		return nil, nil, ns.notFound("queue", name)
	}
	return ns, q, ns.access(q, owner)
}

// CheckQueue returns the status of an existing queue, which counts as a use of
// it. ErrNotFound, ErrLocked.
func (b *Broker) CheckQueue(namespace, name, owner string) (QueueStatus, error) {
	ns, q, err := b.queue(namespace, name, owner)
	if err != nil {
		return QueueStatus{}, err
	}
	b.leases.renew(q)
	st, err := b.shards[q.shard].QueueStats(q.stream)
	if err != nil {
		return QueueStatus{}, ns.notFound("queue", name) // deleted meanwhile
	}
	return QueueStatus{
		Name: name, Ready: st.Ready, Unsettled: st.Unsettled, Consumers: st.Consumers, Stream: q.kept != nil,
	}, nil
}

// DeleteQueue deletes the queue, its bindings and its messages, and returns how
// many were ready. A missing queue is no error. ErrLocked, ErrInUse, ErrNotEmpty.
func (b *Broker) DeleteQueue(
	ctx context.Context, namespace, name, owner string, ifUnused, ifEmpty bool,
) (uint64, error) {
	ns, q, err := b.queue(namespace, name, owner)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	st, err := b.shards[q.shard].QueueStats(q.stream)
	if err != nil {
		return 0, nil //nolint:nilerr // deleted meanwhile
	}
	switch {
	case ifUnused && st.Consumers > 0:
		return 0, &Error{Reason: ErrInUse, Kind: "queue", Name: name, Namespace: namespace}
	case ifEmpty && st.Ready > 0:
		return 0, &Error{Reason: ErrNotEmpty, Kind: "queue", Name: name, Namespace: namespace}
	}
	return st.Ready, b.deleteQueue(ctx, ns, q)
}

func (b *Broker) deleteQueue(ctx context.Context, ns *namespace, q *declared) error {
	if q.spec.Durable {
		if _, err := b.deps.Catalog.DeleteQueue(ctx, ns.name, q.spec.Name); err != nil {
			return metadataError(err)
		}
		ns.mu.Lock()
		orphans := ns.orphans
		ns.orphans = nil
		ns.mu.Unlock()
		return b.deleteExchanges(ctx, ns.name, orphans)
	}
	ns.mu.Lock()
	var autoDelete []string
	if ns.queues[q.spec.Name] == q {
		autoDelete = b.removeQueue(ns, q)
	}
	ns.mu.Unlock()
	return b.deleteExchanges(ctx, ns.name, autoDelete)
}

// PurgeQueue removes the ready messages and returns their number, once the
// removal is durable. ErrUnsupported for a stream queue.
func (b *Broker) PurgeQueue(ctx context.Context, namespace, name, owner string) (uint64, error) {
	ns, q, err := b.queue(namespace, name, owner)
	if err != nil {
		return 0, err
	}
	if q.kept != nil {
		return 0, ns.notOnStreams("purge", name)
	}
	n, lsn, err := b.shards[q.shard].Purge(q.stream)
	if err != nil {
		return 0, ns.notFound("queue", name)
	}
	return n, b.storageError(b.shards[q.shard].Wait(ctx, lsn))
}

// ReleaseOwner deletes all exclusive queues of the owner.
func (b *Broker) ReleaseOwner(ctx context.Context, owner string) error {
	var errs []error
	for _, ns := range b.allNamespaces() {
		for _, q := range ns.exclusiveQueues(owner) {
			errs = append(errs, b.deleteQueue(ctx, ns, q))
		}
	}
	return errors.Join(errs...)
}
