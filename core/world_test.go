package core_test

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// world is a broker on an in-memory file system that can crash.
type world struct {
	t      *testing.T
	shards int
	fs     *vfs.MemFS
	store  *memory.Store
	cat    *metadata.Catalog
	fail   atomic.Pointer[errorfs.InjectorFunc] // of file operations
	rng    *rand.Rand
	change func(*core.Config, *core.Deps) // of what the broker is opened with
	*core.Broker
}

func newWorld(t *testing.T, shards int) *world {
	t.Helper()
	return newWorldWith(t, shards, func(*core.Config, *core.Deps) {})
}

func newWorldWith(t *testing.T, shards int, change func(*core.Config, *core.Deps)) *world {
	t.Helper()
	w := &world{t: t, shards: shards, fs: vfs.NewCrashableMem(), store: memory.New(), change: change}
	name := fnv.New64()
	_, _ = name.Write([]byte(t.Name()))
	w.rng = rand.New(rand.NewPCG(name.Sum64(), 0))
	w.open()
	t.Cleanup(w.close)
	return w
}

// openCatalog opens the metadata alone.
func (w *world) openCatalog() {
	w.t.Helper()
	var err error
	w.cat, err = metadata.OpenCatalog(w.t.Context(), w.store, metadata.CatalogConfig{Cluster: "test"}, slog.New(slog.DiscardHandler))
	w.must(err)
	_, err = w.cat.CreateNamespace(w.t.Context(), metadata.Namespace{Name: "/"})
	w.must(err)
}

func (w *world) open() {
	w.t.Helper()
	w.openCatalog()
	log := slog.New(slog.DiscardHandler)
	cfg := core.DefaultConfig()
	cfg.Shards, cfg.OffsetInterval = w.shards, 20*time.Millisecond
	w.checkpoints(&cfg)
	w.upkeep(&cfg)
	deps := core.Deps{Dir: "data", FS: w.injected(), Clock: clock.System, Rand: crand.Reader, Catalog: w.cat, Log: log}
	w.change(&cfg, &deps)
	var err error
	w.Broker, err = core.Open(w.t.Context(), cfg, deps)
	w.must(err)
}

// checkpoints has the state written and made durable at other times in each
// life of the world: mostly all the time, so that crashes meet every step of it.
func (w *world) checkpoints(cfg *core.Config) {
	if w.rng.IntN(4) > 0 {
		cfg.SpillRefs = 1 + w.rng.IntN(64)
	}
	if w.rng.IntN(2) == 0 {
		cfg.CheckpointBytes = 1 + w.rng.Int64N(8<<10)
	}
	if w.rng.IntN(2) == 0 {
		cfg.CheckpointInterval = time.Duration(1+w.rng.IntN(50)) * time.Millisecond
	}
}

// upkeep has tiny segments dropped and rewritten all the time, in other ways in
// each life of the world.
func (w *world) upkeep(cfg *core.Config) {
	cfg.SegmentBytes = 4 << 10
	cfg.Upkeep = core.UpkeepConfig{
		Interval: time.Duration(1+w.rng.IntN(20)) * time.Millisecond, RewritePercent: w.rng.IntN(101),
		Compress: w.rng.IntN(2) == 0, BytesPerSecond: w.rng.Int64N(2) << 20,
	}
}

// calm leaves checkpoints as rare as they are by default, for tests that count
// syncs or stop them: a checkpoint asks for one.
func calm(cfg *core.Config, _ *core.Deps) {
	usual := core.DefaultConfig()
	cfg.SpillRefs, cfg.CheckpointBytes = usual.SpillRefs, usual.CheckpointBytes
	cfg.CheckpointInterval = usual.CheckpointInterval
	cfg.SegmentBytes, cfg.Upkeep = usual.SegmentBytes, usual.Upkeep
}

// loseIndex removes the index of every shard.
func (w *world) loseIndex() {
	for i := range w.shards {
		w.must(w.fs.RemoveAll("data/index-" + strconv.Itoa(i)))
	}
}

// injected is the file system with the world's faults.
func (w *world) injected() vfs.FS {
	return errorfs.Wrap(w.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if fail := w.fail.Load(); fail != nil {
			return (*fail)(op)
		}
		return nil
	}))
}

func (w *world) close() {
	w.must(w.Close())
	w.must(w.cat.Close())
}

// cut returns the disk as a loss of power leaves it now, with so many per cent of what
// was not synced. The metadata store is away from then on: nothing gets there that the
// broker does after the crash.
func (w *world) cut(keep int) *vfs.MemFS {
	w.store.SetAway(true)
	return w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: keep, RNG: rand.New(rand.NewPCG(1, 1))})
}

// crash loses what was not synced and starts again.
func (w *world) crash() {
	w.t.Helper()
	after := w.cut(0)
	w.close()
	w.store.SetAway(false)
	w.fs = after
	w.open()
}

// restart stops cleanly and starts again.
func (w *world) restart() {
	w.t.Helper()
	w.close()
	w.open()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) queue(name string) {
	w.t.Helper()
	_, err := w.DeclareQueue(w.t.Context(), "/", core.QueueSpec{Name: name, Durable: true})
	w.must(err)
}

// publisher publishes and waits for confirms.
type publisher struct {
	w *world
	p *core.Publisher
	c chan struct{}
	n uint64
}

func (w *world) publisher(origin *core.Session) *publisher {
	w.t.Helper()
	c := make(chan struct{}, 1)
	p, err := w.NewPublisher("/", origin, signal(c))
	w.must(err)
	return &publisher{w: w, p: p, c: c}
}

func signal(c chan struct{}) func() {
	return func() {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (p *publisher) send(m core.Message) core.Published {
	p.w.t.Helper()
	got, err := p.p.Publish(&m)
	p.w.must(err)
	p.n = got.Seq
	return got
}

func (p *publisher) confirmed() {
	p.w.t.Helper()
	for {
		n, err := p.p.Settled()
		p.w.must(err)
		if n >= p.n {
			return
		}
		select {
		case <-p.c:
		case <-p.w.t.Context().Done():
			p.w.t.Fatal("no confirm")
		}
	}
}

func amqp(exchange, key, body string) core.Message {
	return core.Message{
		Format: core.FormatAMQP, Exchange: []byte(exchange), Key: []byte(key), Payload: []byte(body), QoS: 1,
	}
}

func mqtt(topic, body string, qos uint8) core.Message {
	return core.Message{
		Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(topic), Payload: []byte(body), QoS: qos,
	}
}

// receiver is what Consumer and Session have in common.
type receiver interface {
	Next(dst []core.Delivery, limit int) ([]core.Delivery, error)
}

// take receives n deliveries; it fails when there are not as many within the deadline.
func (w *world) take(r receiver, c chan struct{}, n int) []core.Delivery {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	var got []core.Delivery
	for {
		var err error
		got, err = r.Next(got, n-len(got))
		w.must(err)
		if len(got) == n {
			return got
		}
		select {
		case <-c:
		case <-ctx.Done():
			w.t.Fatalf("got %d deliveries of %d: %v", len(got), n, bodies(got))
		}
	}
}

func bodies(ds []core.Delivery) []string {
	out := []string{}
	for _, d := range ds {
		s := string(d.Message.Payload)
		if d.Redelivered {
			s += "!"
		}
		out = append(out, s)
	}
	return out
}

func (w *world) consume(queue string, limits ...*core.Limit) (*core.Consumer, chan struct{}) {
	w.t.Helper()
	c := make(chan struct{}, 1)
	cons, err := w.Consume(w.t.Context(), "/", core.ConsumeSpec{Queue: queue, Limits: limits, Notify: signal(c)})
	w.must(err)
	return cons, c
}

func want(t *testing.T, got []core.Delivery, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, bodies(got)); diff != "" {
		t.Fatalf("deliveries differ (-want +got):\n%s", diff)
	}
}

func eachShards(t *testing.T, fn func(t *testing.T, w *world)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", n), func(t *testing.T) { fn(t, newWorld(t, n)) })
	}
}
