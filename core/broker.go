package core

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/core/work"
	"github.com/tidegate/tidegate/metadata"
)

// Broker is the engine of one process. All methods are safe for concurrent use.
type Broker struct {
	cfg      Config
	deps     Deps
	identity identity
	shards   []*shard.Shard
	begun    []record.LSN // the last record of each shard at the start

	mu         sync.RWMutex
	namespaces map[string]*namespace

	sessions sessions
	wills    wills
	counters counters
	// publishers numbers them.
	publishers atomic.Uint32
	pressure   pressure
	leases     *leases

	unpublish unpublish
	compared  bool       // published marks with the logs; only the publishing goroutine uses it
	adopting  sync.Mutex // held while an orphan is adopted or discarded
	cancel    context.CancelFunc
	running   []<-chan struct{} // closed when the loops have ended
	closed    atomic.Bool
}

// Open recovers the engine from its logs and the catalog and starts it.
func Open(ctx context.Context, cfg Config, deps Deps) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("core: %w", err)
	}
	id, err := openIdentity(deps.FS, deps.Dir, cfg.Shards, deps.Rand)
	if err != nil {
		return nil, err
	}
	if deps.Work == nil {
		deps.Work = work.Goroutines{}
	}
	b := &Broker{cfg: cfg, deps: deps, identity: id, namespaces: map[string]*namespace{}, sessions: newSessions(id.Shards)}
	b.leases = newLeases(deps.Clock)
	b.wills.all = map[willKey]*will{}
	b.cfg.SegmentBytes = segmentBytes(&b.cfg, id.Shards, &b.deps)
	b.pressure.start(&b.cfg, id.Shards, &b.deps)
	published := func(i int, fn func(*shard.CursorState)) error { return b.readOffsets(ctx, i, fn) }
	reached, err := b.readMarks(ctx)
	if err != nil {
		deps.Log.Warn("marks not read: a log that is older than the metadata would not be noticed", slog.Any("error", err))
	}
	if err := b.openShards(id, published, reached); err != nil { //nolint:contextcheck // a shard runs until it is closed
		return nil, errors.Join(err, b.closeShards())
	}
	var listenErr error
	if err := b.finishTransfers(); err != nil {
		return nil, errors.Join(err, b.closeShards())
	}
	deps.Catalog.Listen(func(changes []metadata.Change) {
		for i := range changes {
			if err := b.changed(&changes[i]); err != nil {
				listenErr = err
				deps.Log.Error("metadata change not carried out", slog.Any("error", err))
			}
		}
	})
	if listenErr != nil {
		return nil, errors.Join(listenErr, b.closeShards())
	}
	b.reportOrphans()
	if err := b.restoreSessions(ctx); err != nil {
		return nil, errors.Join(err, b.closeShards())
	}
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for _, loop := range []work.Loop{
		b.publishOffsets(ctx), b.retain(ctx), b.expireSessions(ctx), b.sendDueWills(ctx), b.endLeases(ctx),
		b.pressure.loop(ctx),
	} {
		b.running = append(b.running, deps.Work.Loop(loop))
	}
	for _, s := range b.shards {
		b.running = append(b.running, deps.Work.Loop(b.moveDead(ctx, s)))
	}
	for i := range b.shards {
		b.running = append(b.running, deps.Work.Loop(b.deliverHeld(ctx, i)))
	}
	return b, nil
}

func (b *Broker) openShards(
	id identity, published func(i int, fn func(*shard.CursorState)) error, reached map[uint32]record.LSN,
) error {
	for i := range id.Shards {
		files := id.files(b.deps.FS, b.deps.Dir, i)
		deps := b.shardDeps(i, published)
		deps.Reached = reached[files.Identity.Shard]
		s, err := shard.Open(shard.Config{
			Identity:     files.Identity,
			Dir:          files.Log,
			IndexDir:     files.Index,
			SegmentBytes: b.cfg.SegmentBytes,
			TailBytes:    b.cfg.TailBytes,
			CacheBytes:   b.cfg.CacheBytes,
			BatchBytes:   b.cfg.BatchBytes,
			AckDelay:     b.cfg.AckDelay,
			SpillRefs:    b.cfg.SpillRefs,

			CheckpointBytes:    b.cfg.CheckpointBytes,
			CheckpointInterval: b.cfg.CheckpointInterval,
			Upkeep:             b.cfg.Upkeep.ofShard(),
		}, deps)
		if err != nil {
			return err
		}
		b.shards, b.begun = append(b.shards, s), append(b.begun, s.Committed())
	}
	return nil
}

func (b *Broker) shardDeps(i int, published func(int, func(*shard.CursorState)) error) shard.Deps {
	d := shard.Deps{
		FS: b.deps.FS, Clock: b.deps.Clock, Log: b.deps.Log, Work: b.deps.Work,
		Published: func(fn func(*shard.CursorState)) error { return published(i, fn) },
	}
	queues := b.queuesOf(i)
	d.Stray = func(id record.StreamID) (record.Stream, bool) { return strayStream(queues, id) }
	if b.deps.OpenIndex != nil {
		d.OpenStore = func() (index.Store, error) { return b.deps.OpenIndex(i) }
	}
	return d
}

// Close commits what was published and acked, publishes offsets if the metadata
// store answers, and stops. Nothing may use the broker any more.
func (b *Broker) Close() error {
	if !b.closed.CompareAndSwap(false, true) {
		return nil
	}
	b.cancel()
	var errs []error
	for _, done := range b.running {
		errs = append(errs, b.deps.Work.Wait(done, nil))
	}
	return errors.Join(append(errs, b.closeShards())...)
}

func (b *Broker) closeShards() error {
	var errs []error
	for _, s := range b.shards {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// MaxMessageSize is the largest payload that Publish takes, in bytes.
func (b *Broker) MaxMessageSize() int { return b.cfg.MaxMessageSize }

// Decode reads the properties of a message of any format.
func (b *Broker) Decode(m *Message) (Properties, error) {
	decode := b.deps.Formats[m.Format]
	if decode == nil {
		return Properties{}, fmt.Errorf("message of format %d: %w", m.Format, ErrUnsupported)
	}
	return decode(m.Properties)
}

// Err returns why a shard stopped, or nil when all serve.
func (b *Broker) Err() error {
	for _, s := range b.shards {
		if err := s.Err(); err != nil {
			return fmt.Errorf("%w: %w", ErrStorage, err)
		}
	}
	return nil
}

// home is the shard of a key: a topic, a queue's name or a client id in its namespace.
func (b *Broker) home(namespace string, key []byte) uint32 {
	if len(b.shards) == 1 {
		return 0
	}
	var d xxhash.Digest
	d.Reset()
	_, _ = d.WriteString(namespace)
	_, _ = d.Write([]byte{0})
	_, _ = d.Write(key)
	return uint32(d.Sum64() % uint64(len(b.shards)))
}

// wait waits until every lsns[i] of shard i is committed; 0 is nothing to wait for.
func (b *Broker) wait(ctx context.Context, lsns []record.LSN) error {
	for i, lsn := range lsns {
		if lsn == 0 {
			continue
		}
		if err := b.shards[i].Wait(ctx, lsn); err != nil {
			return b.storageError(err)
		}
	}
	return nil
}

func (b *Broker) storageError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, shard.ErrClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case errors.Is(err, shard.ErrFull):
		return ErrFull
	case errors.Is(err, shard.ErrFailed):
		return fmt.Errorf("%w: %w", ErrStorage, err)
	default:
		return err
	}
}
