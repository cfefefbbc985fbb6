package shard

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/replica"
	"github.com/tidegate/tidegate/core/route"
	"github.com/tidegate/tidegate/core/work"
)

// Shard is one log with its single committer. All methods are safe for
// concurrent use.
type Shard struct {
	cfg     Config
	clock   clock.Clock
	logger  *slog.Logger
	work    work.Runner
	fs      vfs.FS
	log     *commitlog.Log
	replica replica.Log
	store   index.Store

	committed atomic.Uint64
	published atomic.Uint64 // see PublishedUpTo
	spilled   atomic.Uint64 // the record that the store is as of
	synced    time.Time     // when the committer last synced
	stats     stats
	tail      tail
	blocks    blocks
	pool      pool
	upkeep    upkeep

	amu     sync.Mutex // guards the open batch
	space   sync.Cond  // on amu: the open batch was taken, or the shard failed
	open    *record.Batch
	batches uint64 // number of the open batch
	waiters []*Waiter
	spare   []*Waiter
	woken   bool
	failed  error
	once    map[uint64]map[uint16]record.LSN // exactly-once numbers by session
	scratch [16]byte
	lastAck record.LSN // no ack is in a later record

	mu          sync.Mutex // guards the folded state
	streams     map[record.StreamID]*stream
	keptStreams map[record.StreamID]*stream  // those of streams with retention
	orphans     map[record.StreamID]struct{} // while recovering, see noOrphans
	applyTime   int64                        // of the record that is applied, unix milliseconds
	namespaces  map[string]string            // the names that streams share
	retained    map[string]*route.Topics[record.LSN]
	copied      []byte                  // scratch
	sessions    map[uint64]*sessionNews // while recovering, see EachSession
	recovering  bool
	finishing   bool // says exactly what was delivered, and delivers no more
	transfers   transfers
	held        held
	rebuild     *rebuild                           // while recovering without a checkpoint
	unsure      map[record.StreamID][]record.Range // while recovering, see applyLoss
	strays      *strays                            // while recovering
	recount     bool                               // while recovering: what is unsure was counted
	recounted   record.LSN                         // acks up to it are of another count of offsets
	slice       int                                // sliceLen, but in tests
	reading     map[away]*chunkRead                // of references
	dirty       []*place                           // cursors with acks that are not in the log
	returned    []*stream                          // with counts of returns that are not in the log
	told        []record.Returned                  // scratch
	// staleReturns have counts of returns that are not in the store.
	staleReturns []*stream
	unpublished  []*place // cursors whose acks are in the log and not in etcd
	deadlines    deadlines
	dying        []*stream // queues with dead to be taken
	setAside     setAside
	overflowed   uint64
	checkpoint   checkpoint
	flow         flow
	ack          record.Ack
	msg          record.Message
	applyErr     error // of the committer: an own record that can't be read back
	touched      []*stream
	changed      []*stream // differ from the store
	cursors      []*place  // likewise
	controls     uint64    // the block that was marked last, see markControl
	// controlBytes are the bytes of all such records that were applied.
	controlBytes uint64
	warm         []*stream // hold memory that they can do without, see cool
	pending      index.Batch
	woke         []*queue.Consumer // scratch
	sifted       struct {          // scratch
		streams   []record.StreamID
		deadlines []int64
	}
	wokenReader []*Reader

	kick    chan struct{}
	ackKick chan struct{}
	// deadKick is for who takes the dead, see Died.
	deadKick chan struct{}
	stop     chan struct{}
	done     <-chan struct{}
	acks     *clock.Timer // the committer's: acks wait for company until then
	idle     *clock.Timer // likewise: the log has rested by then
	due      *clock.Timer // likewise: a deadline has come
	back     *clock.Timer // likewise: a message comes back that a consumer failed on
	closing  sync.Once
}

// Open recovers a shard from its log and starts its committer.
func Open(cfg Config, deps Deps) (*Shard, error) {
	s := &Shard{
		cfg: cfg, clock: deps.Clock, logger: deps.Log, work: deps.Work, fs: deps.FS,
		once:    map[uint64]map[uint16]record.LSN{},
		batches: 1,
		streams: map[record.StreamID]*stream{},

		keptStreams: map[record.StreamID]*stream{},

		namespaces: map[string]string{},
		retained:   map[string]*route.Topics[record.LSN]{},
		sessions:   map[uint64]*sessionNews{},
		held:       newHeld(),
		recovering: true,
		strays:     newStrays(deps.Stray),
		slice:      sliceLen,
		reading:    map[away]*chunkRead{},
		kick:       make(chan struct{}, 1),
		ackKick:    make(chan struct{}, 1),
		deadKick:   make(chan struct{}, 1),
		stop:       make(chan struct{}),
	}
	if s.work == nil {
		s.work = work.Goroutines{}
	}
	s.pool.work = s.work
	s.space.L = &s.amu
	s.tail.limit, s.blocks.limit = cfg.TailBytes, cfg.CacheBytes
	if err := s.recover(deps); err != nil {
		return nil, errors.Join(fmt.Errorf("open shard %d: %w", cfg.Identity.Shard, err), s.closeStore())
	}
	s.replica = replica.NewLocal(s.log, s.applyCommitted)
	s.recovering = false
	doubt := s.unsure != nil
	s.open = &record.Batch{Base: s.log.NextLSN()}
	s.committed.Store(uint64(s.log.NextLSN()) - 1)
	s.lastAck = s.Committed()
	s.unpublishAll(s.endDoubt())
	if deps.Published == nil {
		s.PublishedUpTo(math.MaxUint64)
	}
	if s.checkpoint.flushedAt = s.clock.Now(); doubt {
		s.checkpoint.flushedAt = time.Time{} // at once
	}
	s.synced = s.clock.Now()
	s.idle, s.acks = s.clock.NewTimer(idleWatermark), s.clock.NewTimer(s.cfg.AckDelay)
	s.acks.Stop()
	s.back = s.clock.NewTimer(lookAgain)
	s.back.Stop()
	if err := s.startDeadlines(); err != nil {
		return nil, errors.Join(fmt.Errorf("open shard %d: %w", cfg.Identity.Shard, err), s.log.Close(), s.closeStore())
	}
	s.done = s.work.Loop(work.Loop{Name: "committer", Serves: true, Turn: s.turn})
	s.startUpkeep()
	return s, nil
}

// Bytes is the size of the log on disk.
func (s *Shard) Bytes() uint64 { return uint64(s.log.Bytes()) }

// Close commits what was appended, stops the committer, waits for reads that go
// on and closes the log.
func (s *Shard) Close() error {
	if err := s.stopUpkeep(); err != nil {
		return fmt.Errorf("close shard %d: %w", s.cfg.Identity.Shard, err)
	}
	s.closing.Do(func() { close(s.stop) })
	reads := s.pool.close()
	for _, ended := range []<-chan struct{}{s.done, reads} {
		if err := s.work.Wait(ended, nil); err != nil {
			return fmt.Errorf("close shard %d: %w", s.cfg.Identity.Shard, err)
		}
	}
	if err := errors.Join(s.replica.Close(), s.closeStore()); err != nil {
		return fmt.Errorf("close shard %d: %w", s.cfg.Identity.Shard, err)
	}
	return nil
}
