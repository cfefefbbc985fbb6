package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/metadata"
)

// Orphan is a durable queue that a log has and the metadata does not know: etcd was
// lost or came back from an older copy, or a crash came between the two steps of a
// delete. Nothing tells which, so its messages are kept until an operator adopts or
// discards it. It has no bindings: they were in the metadata.
type Orphan struct {
	// Namespace and Queue are what the log knows, both empty when the record that made
	// the queue was lost and given up.
	Namespace, Queue string
	// Stream is the number by which it is adopted or discarded.
	Stream   uint64
	Shard    int
	Messages uint64
	// Oldest is when the oldest message was taken; zero without one.
	Oldest time.Time
	// Args are the arguments that the queue must have had, for what the log says of it:
	// of a stream queue, a compacted one, or one with priorities. It may have had more.
	Args map[string]any

	highest uint8             // priority that there are messages of
	ids     []record.StreamID // of its priorities, its own first
}

// OrphanSpec says what an orphan becomes.
type OrphanSpec struct {
	// Namespace and Queue may be empty for those that the log knows. Only an orphan
	// without any can get a namespace.
	Namespace, Queue string
	// Args are those of the queue. What Orphan.Args tell must be in them, and is when
	// they are left out.
	Args       map[string]any
	AutoDelete bool
	// Check, if there is one, refuses what the protocol would refuse, and may remove
	// arguments.
	Check func(namespace string, q *QueueSpec) error
}

// Orphans returns the orphans by namespace, name and number. It reads a message of each.
func (b *Broker) Orphans() ([]Orphan, error) {
	var all []Orphan
	for i := range b.shards {
		for _, o := range b.orphansOf(i) {
			err := b.measure(&o)
			if errors.Is(err, shard.ErrNotFound) {
				continue // deleted meanwhile
			}
			if err != nil {
				return nil, b.storageError(err)
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(x, y Orphan) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Queue, y.Queue), cmp.Compare(x.Stream, y.Stream))
	})
	return all, nil
}

// orphansOf finds the orphans of a shard, without what has to be read.
func (b *Broker) orphansOf(i int) []Orphan {
	queues := b.queuesOf(i) // asked only when a name does not tell
	var unknown []record.Stream
	b.shards[i].EachStream(func(info record.Stream) {
		if info.Filter || isShare(&info) {
			return
		}
		if q, ok := b.deps.Catalog.Queue(info.Namespace, info.Name); ok && isStreamOf(&q, info.ID) {
			return
		}
		unknown = append(unknown, info)
	})
	unknown = slices.DeleteFunc(unknown, func(info record.Stream) bool { _, ok := queues()[info.ID]; return ok })
	heads := map[record.StreamID]*Orphan{}
	var all []*Orphan
	for _, info := range unknown { // by ascending id: the head comes before its priorities
		base := info.ID &^ shard.PriorityBits
		if head := heads[base]; base != info.ID && head != nil && head.Namespace == info.Namespace && head.Queue == info.Name {
			head.ids = append(head.ids, info.ID)
			head.highest = max(head.highest, shard.PriorityOf(info.ID))
			continue
		}
		o := &Orphan{
			Namespace: info.Namespace, Queue: info.Name, Stream: uint64(info.ID), Shard: i, ids: []record.StreamID{info.ID},
		}
		if info.Kept {
			o.Args = map[string]any{argQueueType: streamQueue}
		}
		if info.Compacted {
			o.Args[argCleanup] = cleanCompact
		}
		heads[info.ID], all = o, append(all, o)
	}
	list := make([]Orphan, len(all))
	for j, o := range all {
		if o.highest > 0 {
			o.Args = map[string]any{argMaxPriority: int64(o.highest)}
		}
		list[j] = *o
	}
	return list
}

// measure counts the messages of an orphan, and looks up its oldest.
func (b *Broker) measure(o *Orphan) error {
	for _, id := range o.ids {
		r, err := b.shards[o.Shard].Remains(id)
		if err != nil {
			return err
		}
		o.Messages += r.Messages
		if at := time.UnixMilli(r.Oldest); r.Oldest != 0 && (o.Oldest.IsZero() || at.Before(o.Oldest)) {
			o.Oldest = at
		}
	}
	return nil
}

// orphan finds an orphan that is one by what the metadata store says now, and not only by
// a copy of it: ErrUnavailable while the store is away. Before it is asked the orphan is
// one already: a queue of which a delete has taken the metadata, and not yet the stream,
// has lost that too once the store has answered. adopting is held, so none becomes a
// queue meanwhile. ErrNotFound.
func (b *Broker) orphan(ctx context.Context, number uint64) (*Orphan, error) {
	if _, err := b.findOrphan(number); err != nil {
		return nil, err
	}
	if err := b.deps.Catalog.Current(ctx); err != nil {
		return nil, metadataError(err)
	}
	return b.findOrphan(number)
}

func (b *Broker) findOrphan(number uint64) (*Orphan, error) {
	for i := range b.shards {
		for _, o := range b.orphansOf(i) {
			if o.Stream == number {
				return &o, nil
			}
		}
	}
	return nil, &Error{Reason: ErrNotFound, Kind: "orphan", Name: fmt.Sprintf("%016x", number)}
}

// AdoptOrphan has the metadata know an orphan as a queue, which has its messages then:
// what was never settled, in order. ErrNotFound: no such orphan, or no such namespace.
// ErrInUse: there is a queue of that name, take another. ErrInvalid: what it has is no
// queue with such arguments. ErrUnavailable: the metadata store is away.
func (b *Broker) AdoptOrphan(ctx context.Context, number uint64, spec OrphanSpec) (QueueSpec, error) {
	b.adopting.Lock()
	defer b.adopting.Unlock()
	o, err := b.orphan(ctx, number)
	if err != nil {
		return QueueSpec{}, err
	}
	q, err := o.queue(&spec)
	if err != nil {
		return QueueSpec{}, err
	}
	ns, err := b.namespace(spec.Namespace)
	if err != nil {
		return QueueSpec{}, err
	}
	taken := &Error{
		Reason: ErrInUse, Kind: "queue", Name: q.Name, Namespace: ns.name,
		Detail: "there is a queue of that name: adopt the orphan under another one",
	}
	ns.mu.RLock()
	there := ns.queues[q.Name] != nil
	ns.mu.RUnlock()
	if there {
		return QueueSpec{}, taken
	}
	now, created, err := b.deps.Catalog.CreateQueue(ctx, metadata.Queue{
		Namespace: ns.name, Name: q.Name, AutoDelete: q.AutoDelete, Args: q.Args, Stream: number, Shard: uint32(o.Shard),
	})
	switch {
	case err != nil:
		return QueueSpec{}, metadataError(err)
	case !created && now.Stream != number:
		return QueueSpec{}, taken
	}
	b.deps.Log.Info("queue of the log adopted", slog.String("namespace", ns.name), slog.String("queue", q.Name),
		slog.Uint64("stream", number), slog.Int("shard", o.Shard))
	return q, nil
}

// queue is what an orphan becomes by a spec, whose names it completes.
func (o *Orphan) queue(spec *OrphanSpec) (QueueSpec, error) {
	spec.Queue = cmp.Or(spec.Queue, o.Queue)
	if o.Namespace != "" {
		spec.Namespace = cmp.Or(spec.Namespace, o.Namespace)
	}
	q := QueueSpec{Name: spec.Queue, Durable: true, AutoDelete: spec.AutoDelete, Args: map[string]any{}}
	refuse := func(arg, detail string) error {
		return &Error{
			Reason: ErrInvalid, Kind: "queue", Name: q.Name, Namespace: spec.Namespace,
			Arg: arg, Got: text(q.Args[arg]), Current: text(o.Args[arg]), Detail: detail,
		}
	}
	maps.Copy(q.Args, spec.Args)
	for arg, value := range o.Args {
		if _, given := q.Args[arg]; !given {
			q.Args[arg] = value
		}
	}
	if q.Name == "" || spec.Namespace == "" {
		return q, refuse("name", "the log does not know its name and namespace: give both")
	}
	if o.Namespace != "" && spec.Namespace != o.Namespace {
		return q, refuse("namespace", "the orphan is of namespace '"+o.Namespace+"'")
	}
	if spec.Check != nil {
		if err := spec.Check(spec.Namespace, &q); err != nil {
			return q, err
		}
	}
	if _, err := queueDurability(spec.Namespace, &q); err != nil {
		return q, err
	}
	info, _, err := queueStream(spec.Namespace, &q, o.ids[0])
	if err != nil {
		return q, err
	}
	_, kept := o.Args[argQueueType]
	_, compacted := o.Args[argCleanup]
	switch {
	case o.Queue == "": // becomes what it is told
	case info.Kept != kept:
		return q, refuse(argQueueType, "the log tells of another type")
	case info.Compacted != compacted:
		return q, refuse(argCleanup, "the log tells of another cleanup policy")
	}
	if highestPriority(&q) < o.highest {
		return q, refuse(argMaxPriority, "there are messages of priority "+strconv.Itoa(int(o.highest)))
	}
	return q, nil
}

// DiscardOrphan drops an orphan with its messages, for good, and returns how many there
// were, once that is durable. ErrNotFound; ErrUnavailable while the metadata store is
// away: it may know the queue.
func (b *Broker) DiscardOrphan(ctx context.Context, number uint64) (uint64, error) {
	b.adopting.Lock()
	defer b.adopting.Unlock()
	o, err := b.orphan(ctx, number)
	if err != nil {
		return 0, err
	}
	if err := b.measure(o); err != nil { // what can't be read can be dropped all the same
		b.deps.Log.Warn("orphan not counted", slog.Uint64("stream", number), slog.Any("error", err))
	}
	sh, last := b.shards[o.Shard], record.LSN(0)
	for _, id := range o.ids {
		lsn, err := sh.DropStream(id)
		if err != nil {
			return 0, b.storageError(err)
		}
		b.unpublish.add(ended{stream: uint64(id)})
		last = max(last, lsn)
	}
	if err := sh.Wait(ctx, last); err != nil {
		return 0, b.storageError(err)
	}
	b.deps.Log.Info("queue of the log discarded", slog.String("namespace", o.Namespace), slog.String("queue", o.Queue),
		slog.Uint64("stream", number), slog.Int("shard", o.Shard), slog.Uint64("messages", o.Messages))
	return o.Messages, nil
}

// reportOrphans tells of the orphans that there are at a start.
func (b *Broker) reportOrphans() {
	for i := range b.shards {
		for _, o := range b.orphansOf(i) {
			b.deps.Log.Warn("queue in the log is not in the metadata: its messages are kept and not served until it is adopted",
				slog.String("namespace", o.Namespace), slog.String("queue", o.Queue), slog.Uint64("stream", o.Stream), slog.Int("shard", i))
		}
	}
}
