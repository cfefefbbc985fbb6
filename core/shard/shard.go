package shard

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/replica"
	"github.com/tidegate/tidegate/core/route"
)

// Shard is one log with its single committer. All methods are safe for
// concurrent use.
type Shard struct {
	cfg     Config
	clock   clock.Clock
	logger  *slog.Logger
	log     *commitlog.Log
	replica replica.Log

	committed atomic.Uint64
	synced    time.Time // when the committer last synced
	stats     stats
	tail      tail
	cache     cache

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

	mu          sync.Mutex // guards the folded state
	streams     map[record.StreamID]*stream
	retained    map[string]*route.Topics[record.LSN]
	sessions    map[uint64]*SessionState // while recovering; then the broker's
	recovering  bool
	dirty       []*place // cursors with acks that are not in the log
	unpublished []*place // cursors whose acks are in the log and not in etcd
	ack         record.Ack
	msg         record.Message
	applyErr    error // of the committer: an own record that can't be read back
	touched     []*stream
	wokenReader []*Reader

	kick    chan struct{}
	ackKick chan struct{}
	stop    chan struct{}
	done    chan struct{}
	closing sync.Once
}

// Open recovers a shard from its log and starts its committer.
func Open(cfg Config, deps Deps) (*Shard, error) {
	s := &Shard{
		cfg: cfg, clock: deps.Clock, logger: deps.Log,
		once:       map[uint64]map[uint16]record.LSN{},
		batches:    1,
		streams:    map[record.StreamID]*stream{},
		retained:   map[string]*route.Topics[record.LSN]{},
		sessions:   map[uint64]*SessionState{},
		recovering: true,
		kick:       make(chan struct{}, 1),
		ackKick:    make(chan struct{}, 1),
		stop:       make(chan struct{}),
		done:       make(chan struct{}),
	}
	s.space.L = &s.amu
	s.tail.limit, s.cache.limit = cfg.TailBytes, cfg.CacheBytes
	log, err := commitlog.Open(commitlog.Config{
		FS: deps.FS, Dir: cfg.Dir, Identity: cfg.Identity, SegmentBytes: cfg.SegmentBytes, Log: deps.Log,
	}, s.apply)
	if err != nil {
		return nil, fmt.Errorf("open shard %d: %w", cfg.Identity.Shard, err)
	}
	s.log = log
	s.replica = replica.NewLocal(log, s.applyCommitted)
	s.recovering = false
	s.open = &record.Batch{Base: log.NextLSN()}
	s.committed.Store(uint64(log.NextLSN()) - 1)
	s.synced = s.clock.Now()
	go s.run()
	return s, nil
}

// TakeSessions returns the sessions as of recovery; the caller owns them now.
func (s *Shard) TakeSessions() map[uint64]*SessionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.sessions
	s.sessions = nil
	return m
}

// Bytes is the size of the log on disk.
func (s *Shard) Bytes() uint64 { return uint64(s.log.Bytes()) }

// Close commits what was appended, stops the committer and closes the log.
func (s *Shard) Close() error {
	s.closing.Do(func() { close(s.stop) })
	<-s.done
	if err := s.replica.Close(); err != nil {
		return fmt.Errorf("close shard %d: %w", s.cfg.Identity.Shard, err)
	}
	return nil
}
