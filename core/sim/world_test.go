package sim_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// namespaceName is the one namespace of the simulated broker.
const namespaceName = "/"

// world is a broker with its disk, its clock and its clients.
type world struct {
	seed uint64
	rng  *rand.Rand // of what clients do and of faults
	judge
	clock  *simClock
	sched  *sched
	disk   *disk
	index  []*index.Map
	store  *flakyStore
	outage outage
	cat    *metadata.Catalog
	*core.Broker
	cfg core.Config
	taste
	rand seededReader

	fault  fault
	faulty bool // an operation of the disk has failed in this life
	down   bool // the power went, or the process was killed
	rotten bool // a bit of the disk was flipped, and may be met
	rot    rot
	after  aftermath
	broken level // what the fault does not spare

	restedAt time.Time

	clients clients
	trace   trace
}

// taste is what a seed has more of than others.
type taste struct {
	fat      bool // large messages, so that segments roll and disks fill
	mqtt     int  // of 100 publishes, those to topics
	transact int  // of 100 steps, those of transactions
	lazy     bool // little is synced, and sessions do almost all
	trouble  int  // of 100 steps, those that something happens in
}

// fault is what will happen to the disk.
type fault struct {
	crashIn int // changes of the disk until the power goes; 0 is never
	kill    bool
	failIn  int // operations of the kind until one fails; 0 is never
	kind    string
}

// aftermath is what the next life begins with.
type aftermath struct {
	disk  *disk
	index []*index.Map
}

// flakyStore is a metadata store that can be away for a while.
type flakyStore struct {
	metadata.Store
	away bool
}

// Txn implements [metadata.Store].
func (s *flakyStore) Txn(
	ctx context.Context, compares []metadata.Compare, ops []metadata.Op,
) (bool, metadata.Revision, error) {
	if s.away {
		return false, 0, metadata.ErrUnavailable
	}
	return s.Store.Txn(ctx, compares, ops) //nolint:wrapcheck // it only decides whether
}

// flakyIndex is the index of a shard, which fails like the disk that it lies on.
type flakyIndex struct {
	*index.Map
	before func(kind, name string) error
}

// Commit implements [index.Store].
func (i *flakyIndex) Commit(b *index.Batch) error {
	if err := i.before("commit", "index"); err != nil {
		return err
	}
	return i.Map.Commit(b) //nolint:wrapcheck // it only decides whether
}

// Flush implements [index.Store].
func (i *flakyIndex) Flush() error {
	if err := i.before("flush", "index"); err != nil {
		return err
	}
	return i.Map.Flush() //nolint:wrapcheck // it only decides whether
}

// changes are the operations that the power may go before.
var changes = map[string]bool{
	"create": true, "write": true, "sync": true, "rename": true, "remove": true, "mkdir": true,
	"commit": true, "flush": true,
}

// seededReader is the source of the engine's names and identities.
type seededReader struct{ rng *rand.Rand }

// Read implements [io.Reader].
func (r seededReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.rng.Uint32())
	}
	return len(p), nil
}

// trace tells what has happened, for people and as one number.
type trace struct {
	lines []string
	sum   hash.Hash64
}

func (w *world) log(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	w.trace.lines = append(w.trace.lines, w.clock.now.Format("15:04:05.000 ")+line)
	_, _ = w.trace.sum.Write([]byte(line))
}

func newWorld(seed uint64) *world {
	stream := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
	w := &world{
		seed: seed, rng: stream(1),
		clock: &simClock{now: time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)},
		sched: &sched{rng: stream(2)}, disk: newDisk(),
		store: &flakyStore{Store: memory.New()}, rand: seededReader{stream(3)},
		trace: trace{sum: fnv.New64a()},
	}
	w.now = func() time.Time { return w.clock.now }
	w.configure()
	w.attachDisk()
	return w
}

// attachDisk has the disk tell the world what it is asked.
func (w *world) attachDisk() {
	w.disk.before = w.operation
	w.disk.wrote = func(p []byte) { _, _ = w.trace.sum.Write(p) }
}

// configure chooses sizes so small that every border is met.
func (w *world) configure() {
	cfg := core.DefaultConfig()
	cfg.Shards = 1 + w.rng.IntN(3)
	cfg.SegmentBytes = 4 << 10 << (2 * w.rng.IntN(3))
	cfg.Upkeep.Interval = time.Duration(1+w.rng.IntN(5000)) * time.Millisecond
	cfg.OffsetInterval = time.Duration(1+w.rng.IntN(10_000)) * time.Millisecond
	cfg.Upkeep.RewritePercent = w.rng.IntN(101)
	cfg.Upkeep.Compress = w.rng.IntN(2) == 0
	cfg.TailBytes = w.rng.IntN(3) * (8 << 10)
	cfg.CacheBytes = w.rng.IntN(2) * (16 << 10)
	cfg.BatchBytes = 4 << 10
	cfg.SpillRefs = 1 + w.rng.IntN(64)
	cfg.CheckpointBytes = 1 + w.rng.Int64N(32<<10)
	cfg.CheckpointInterval = time.Duration(1+w.rng.IntN(2000)) * time.Millisecond
	cfg.Durability = []string{"fsync", "fsync", "fsync", "os", "memory"}[w.rng.IntN(5)]
	cfg.RetentionInterval = time.Duration(1+w.rng.IntN(500)) * time.Millisecond
	cfg.CompactionLag = time.Duration(w.rng.IntN(3)*w.rng.IntN(200)) * time.Millisecond
	if w.rng.IntN(2) == 0 {
		cfg.Pressure.DiskFreePercent = 0
	}
	w.disk.capacity = 64 << 20
	if w.rng.IntN(4) == 0 {
		w.disk.capacity = (60 + w.rng.IntN(200)) << 10
	}
	w.taste = taste{fat: w.rng.IntN(3) == 0, mqtt: 10 + w.rng.IntN(80), trouble: 1 + w.rng.IntN(9)}
	if w.rng.IntN(2) == 0 {
		w.transact = w.rng.IntN(25)
	}
	if w.rng.IntN(3) == 0 {
		cfg.MaxTransaction = 8 << 10
	}
	w.chooseLazy(&cfg)
	w.cfg = cfg
	for range cfg.Shards {
		w.index = append(w.index, index.NewMap())
	}
	w.log("seed %d: %d shards, durability %s, disk of %d KiB, spill %d, checkpoint %d B, %v",
		w.seed, cfg.Shards, cfg.Durability, w.disk.capacity>>10, cfg.SpillRefs, cfg.CheckpointBytes, cfg.CheckpointInterval)
}

// chooseLazy has some seeds sync so little that what sessions keep may outlive what it
// tells of.
func (w *world) chooseLazy(cfg *core.Config) {
	if w.lazy = w.rng.IntN(16) == 0; !w.lazy {
		return
	}
	cfg.Durability, cfg.Shards = "os", 2+w.rng.IntN(2)
	cfg.SpillRefs, cfg.CheckpointBytes, cfg.CheckpointInterval = 1<<20, 1<<30, time.Hour
	w.transact, w.trouble = 0, 5+w.rng.IntN(8)
}

// operation is asked before each operation of the disk.
func (w *world) operation(kind, name string) error {
	if w.down {
		return errDead
	}
	_, _ = w.trace.sum.Write([]byte(kind + name))
	if changes[kind] && w.fault.crashIn > 0 {
		if w.fault.crashIn--; w.fault.crashIn == 0 {
			w.log("before %s of %s:", kind, name)
			w.cut(w.fault.kill)
			return errDead
		}
	}
	if kind == w.fault.kind && w.fault.failIn > 0 {
		if w.fault.failIn--; w.fault.failIn == 0 {
			w.log("%s of %s fails", kind, name)
			w.faulty = true
			return syscall.EIO
		}
	}
	return nil
}

// full tells that the disk has no room left.
func (w *world) full() bool { return w.disk.used() >= w.disk.capacity }

// sick tells that the broker may answer with errors of its storage.
func (w *world) sick() bool { return w.down || w.faulty || w.rotten || w.full() || w.Err() != nil }

// failed judges an error that a client got. It returns false when there is none.
func (w *world) failed(what string, err error) bool {
	if err == nil {
		return false
	}
	w.log("%s: %v", what, err)
	if !w.sick() {
		w.complain("%s failed without a fault: %v", what, err)
	}
	return true
}

// work lets the engine do some of what it has to do.
func (w *world) work(turns int) {
	for range turns {
		if w.down || !w.sched.step(true) {
			return
		}
	}
}

// rest lets the engine do all that it has to do, until nothing is left that is
// not synced.
func (w *world) rest() {
	for range 3 {
		for w.sched.step(true) {
			if w.down {
				return
			}
		}
		w.clock.advance(150 * time.Millisecond)
	}
	for w.sched.step(true) {
		if w.down {
			return
		}
	}
	if w.Err() == nil && !w.down {
		w.rested()
		w.restedLoops()
		w.measure()
		w.log("at rest")
	}
}

// sum is one number for all that has happened.
func (w *world) sum() uint64 { return w.trace.sum.Sum64() }

// story is the trace as text.
func (w *world) story() string { return strings.Join(w.trace.lines, "\n") }

// payload is the body of a message: its number, and bytes that do not compress.
func (w *world) payload(m *message) []byte {
	body := fmt.Appendf(nil, "%d ", m.id)
	size := w.rng.IntN(64)
	switch {
	case w.fat:
		size = w.rng.IntN(8 << 10)
	case w.rng.IntN(8) == 0:
		size = w.rng.IntN(6 << 10)
	}
	for range size / 8 {
		body = binary.LittleEndian.AppendUint64(body, w.rng.Uint64())
	}
	return body
}
