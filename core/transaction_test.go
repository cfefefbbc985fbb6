package core_test

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// txQueues are queues that lie in different shards, where there are several.
var txQueues = []string{"a", "b", "c", "d", "e"}

// everything receives and requeues all that is ready in the queues, as "queue/body".
func (w *world) everything() []string {
	w.t.Helper()
	var all []string
	for _, q := range txQueues {
		for {
			d, g, _, ok, err := w.Get(w.t.Context(), "/", q, "", false)
			w.must(err)
			if !ok {
				break
			}
			all = append(all, q+"/"+string(d.Message.Payload))
			defer g.Settle(core.Requeue, d.Position)
		}
	}
	slices.Sort(all)
	return all
}

// txWorld has a message "old" in each queue, taken by a consumer, and a
// transaction that settles them and publishes "new" to all queues.
type txWorld struct {
	*world
	pub  *publisher
	tx   *core.Transaction
	held map[string]core.Delivery
	cons map[string]*core.Consumer
}

func newTxWorld(t *testing.T, shards int) *txWorld {
	t.Helper()
	return beginTx(newWorldWith(t, shards, calm))
}

func beginTx(w *world) *txWorld {
	w.t.Helper()
	x := &txWorld{world: w, pub: w.publisher(nil), held: map[string]core.Delivery{}, cons: map[string]*core.Consumer{}}
	for _, q := range txQueues {
		w.queue(q)
		x.pub.send(amqp("", q, "old"))
	}
	x.pub.confirmed()
	x.tx = x.pub.p.Begin()
	for i, q := range txQueues {
		if i == 0 {
			d, g, _, ok, err := w.Get(w.t.Context(), "/", q, "", false)
			if w.must(err); !ok {
				w.t.Fatal("nothing to get")
			}
			w.must(x.tx.Settle(g, core.Ack, d.Position))
			x.held[q] = d
		} else {
			c, wake := w.consume(q, core.NewLimit(1))
			x.held[q], x.cons[q] = w.take(c, wake, 1)[0], c
			w.must(x.tx.Settle(c, core.Ack, x.held[q].Position))
		}
		m := amqp("", q, "new")
		routed, err := x.tx.Publish(&m)
		if w.must(err); !routed {
			w.t.Fatalf("publish to %s matched nothing", q)
		}
	}
	return x
}

func all(body string) (list []string) {
	for _, q := range txQueues {
		list = append(list, q+"/"+body)
	}
	return list
}

func TestTransactionTakesEffectAtItsCommit(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			w := newTxWorld(t, shards)
			if got := w.everything(); len(got) > 0 {
				t.Fatalf("before the commit: got %v, want nothing", got)
			}
			before := w.Stats()
			w.must(w.tx.Commit())
			after := w.Stats()
			if n := after.Published - before.Published; n != 5 {
				t.Errorf("counted %d publishes, want 5", n)
			}
			if n := after.Settled - before.Settled; n != 5 {
				t.Errorf("counted %d settled, want 5", n)
			}
			for q, c := range w.cons { // the limit of 1 is free again
				got, err := c.Next(nil, 2)
				if w.must(err); len(got) != 1 || string(got[0].Message.Payload) != "new" || got[0].Redelivered {
					t.Errorf("queue %s: got %v, want new", q, bodies(got))
				}
			}
			w.crash()
			if got := w.everything(); !slices.Equal(got, all("new")) {
				t.Errorf("after a crash: got %v, want %v", got, all("new"))
			}
			w.restartWithoutIndex()
			if got := w.everything(); !slices.Equal(got, all("new")) {
				t.Errorf("after a restart: got %v, want %v", got, all("new"))
			}
		})
	}
}

func TestTransactionThatIsNotCommittedDoesNothing(t *testing.T) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			w := newTxWorld(t, shards)
			w.restart()
			if got := w.everything(); !slices.Equal(got, all("old")) {
				t.Errorf("got %v, want %v", got, all("old"))
			}
		})
	}
}

// changesFiles tells whether an operation changes what is on the disk.
func changesFiles(op errorfs.Op) bool {
	switch op.Kind {
	case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo,
		errorfs.OpCreate, errorfs.OpRename, errorfs.OpRemove:
		return true
	default:
		return false
	}
}

// TestTransactionIsWholeAfterACrash ends the process before each step that the
// commit does on the disk, with none, some and all of what was not synced kept, and
// looks that all of the transaction is there or nothing: and all once it was
// confirmed.
func TestTransactionIsWholeAfterACrash(t *testing.T) {
	for _, shards := range []int{1, 3} {
		for _, kept := range []int{0, 50, 100} {
			t.Run(fmt.Sprintf("shards=%d/kept=%d", shards, kept), func(t *testing.T) {
				none, whole := 0, 0
				for step := 0; ; step++ {
					w := newTxWorld(t, shards)
					at := w.commitAndCrashAt(step, kept)
					got := w.everything()
					switch {
					case slices.Equal(got, all("old")):
						none++
					case slices.Equal(got, all("new")):
						whole++
					default:
						t.Fatalf("crash at step %d of the commit: got %v, want all old or all new", step, got)
					}
					if at != notReached {
						w.settlesAndGoesOn()
						continue
					}
					if !slices.Equal(got, all("new")) {
						t.Fatalf("crash after the commit: got %v, want %v", got, all("new"))
					}
					break
				}
				if none == 0 || whole == 0 || none+whole < 3 {
					t.Errorf("%d crashes left nothing, %d all: the test does not meet both", none, whole)
				}
			})
		}
	}
}

const notReached = -1

// commitAndCrashAt commits, see crashDuring.
func (x *txWorld) commitAndCrashAt(step, kept int) int {
	x.t.Helper()
	return x.crashDuring(step, kept, func() { x.must(x.tx.Commit()) })
}

// crashDuring does something, and starts again from what a crash before the given
// step of it has left; notReached when it has fewer steps, and then from what a crash
// after it has.
func (w *world) crashDuring(step, kept int, do func()) int {
	w.t.Helper()
	clone := func() *vfs.MemFS {
		return w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: kept, RNG: w.rng})
	}
	steps := make(chan int, 1)
	steps <- 0
	var after *vfs.MemFS
	hook := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !changesFiles(op) || !strings.Contains(op.Path, "shard-") {
			return nil
		}
		n := <-steps
		if n == step && after == nil {
			w.store.SetAway(true)
			after = clone()
		}
		steps <- n + 1
		return nil
	})
	w.fail.Store(&hook)
	do()
	<-steps // nothing else is looked at, and who comes waits
	reached := step
	if after == nil {
		reached = notReached
		w.store.SetAway(true)
		after = clone()
	}
	none := errorfs.InjectorFunc(func(errorfs.Op) error { return nil })
	w.fail.Store(&none)
	steps <- 0
	w.close()
	w.store.SetAway(false)
	w.fs = after
	w.open()
	return reached
}

// settlesAndGoesOn has a further transaction after a start that may have finished
// one, and a second start: nothing is carried out twice.
func (x *txWorld) settlesAndGoesOn() {
	x.t.Helper()
	before := x.everything()
	x.restart()
	if got := x.everything(); !slices.Equal(got, before) {
		x.t.Fatalf("after another start: got %v, want %v", got, before)
	}
}

// TestTransactionsOneAfterTheOther crashes at random between and in transactions
// that move one message round all queues: there is always exactly one.
func TestTransactionsOneAfterTheOther(t *testing.T) {
	for _, shards := range []int{1, 3} {
		for seed := range 4 {
			t.Run(fmt.Sprintf("shards=%d/seed=%d", shards, seed), func(t *testing.T) {
				w := newWorld(t, shards)
				for _, q := range txQueues {
					w.queue(q)
				}
				p := w.publisher(nil)
				p.send(amqp("", txQueues[0], "token"))
				p.confirmed()
				at := 0
				for range 60 {
					p := w.publisher(nil)
					d, g, _, ok, err := w.Get(t.Context(), "/", txQueues[at], "", false)
					if w.must(err); !ok {
						t.Fatalf("the message is not in queue %s: %v", txQueues[at], w.everything())
					}
					tx := p.p.Begin()
					w.must(tx.Settle(g, core.Ack, d.Position))
					next := (at + 1 + w.rng.IntN(len(txQueues)-1)) % len(txQueues)
					m := amqp("", txQueues[next], "token")
					_, err = tx.Publish(&m)
					w.must(err)
					w.must(tx.Commit())
					at = next
					switch w.rng.IntN(8) {
					case 0:
						w.crash()
					case 1:
						w.restartWithoutIndex()
					case 2:
						w.restart()
					}
					if got := w.everything(); len(got) != 1 || got[0] != txQueues[at]+"/token" {
						t.Fatalf("got %v, want the one message in %s", got, txQueues[at])
					}
				}
			})
		}
	}
}

// restartWithoutIndex stops, loses the index and starts again.
func (w *world) restartWithoutIndex() {
	w.t.Helper()
	w.close()
	w.loseIndex()
	w.open()
}

func TestTransactionIsBounded(t *testing.T) {
	w := newWorldWith(t, 1, func(c *core.Config, _ *core.Deps) { c.MaxTransaction = 1000 })
	w.queue("q")
	tx := w.publisher(nil).p.Begin()
	m := amqp("", "q", strings.Repeat("x", 300))
	_, err := tx.Publish(&m)
	w.must(err)
	if _, err = tx.Publish(&m); !errors.Is(err, core.ErrLimit) {
		t.Fatalf("got %v, want %v", err, core.ErrLimit)
	}
	w.must(tx.Commit())
	tx = w.publisher(nil).p.Begin()
	c, wake := w.consume("q")
	d := w.take(c, wake, 1)[0]
	if more, err := c.Next(nil, 1); err != nil || len(more) > 0 {
		t.Errorf("got %v, %v, want one message only", bodies(more), err)
	}
	if err := tx.Settle(c, core.Ack, slices.Repeat([]core.Position{d.Position}, 20)...); !errors.Is(err, core.ErrLimit) {
		t.Fatalf("got %v, want %v", err, core.ErrLimit)
	}
}

func TestTransactionRoutesAtOnce(t *testing.T) {
	w := newWorld(t, 3)
	w.queue("q")
	tx := w.publisher(nil).p.Begin()
	m := amqp("nowhere", "q", "x")
	if _, err := tx.Publish(&m); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("missing exchange: got %v, want %v", err, core.ErrNotFound)
	}
	m = amqp("", "missing", "x")
	if routed, err := tx.Publish(&m); err != nil || routed {
		t.Errorf("missing queue: got %v, %v, want false", routed, err)
	}
	s, wake, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "t/#")
	m = mqtt("t/1", "to a session", 1)
	if routed, err := tx.Publish(&m); err != nil || !routed {
		t.Errorf("subscribed topic: got %v, %v, want true", routed, err)
	}
	m = mqtt("t/2", "kept", 1)
	m.Retain = true
	_, err := tx.Publish(&m)
	w.must(err)
	w.must(tx.Commit())
	got := bodies(w.take(s, wake, 2))
	slices.Sort(got)
	if !slices.Equal(got, []string{"kept", "to a session"}) {
		t.Errorf("the session got %v", got)
	}
}

// TestLogThatEndsBeforeItsTransfer cuts the log that decided a transaction, of which
// only another shard knows: the start is refused, and no later transaction takes the
// number of the one that is lost.
func TestLogThatEndsBeforeItsTransfer(t *testing.T) {
	w := beginTx(newWorldWith(t, 3, func(cfg *core.Config, deps *core.Deps) {
		calm(cfg, deps)
		cfg.SegmentBytes, cfg.Upkeep.Interval = core.DefaultConfig().SegmentBytes, time.Hour
	}))
	w.must(w.tx.Commit())
	w.must(w.Close())
	layout, err := core.ReadLayout(w.fs, "data")
	w.must(err)
	numbers := map[uint32]record.LSN{}
	for _, files := range layout {
		r, err := commitlog.Verify(commitlog.Config{FS: w.fs, Dir: files.Log, Identity: files.Identity}, nil)
		w.must(err)
		maps.Copy(numbers, r.Transfers)
	}
	if len(numbers) != 1 {
		t.Fatalf("transfers of %v, want one shard that decided", numbers)
	}
	for source := range numbers {
		files := layout[source]
		w.must(w.fs.RemoveAll(files.Index))
		path := files.Log + "/00000000000000000001.seg"
		w.overwrite(path, w.content(path)[:segment.HeaderSize])
		known := w.cat // whose published offsets would tell too
		w.cat, err = metadata.OpenCatalog(t.Context(), memory.New(), metadata.CatalogConfig{Cluster: "test"}, slog.New(slog.DiscardHandler))
		w.must(err)
		err = w.refusal()
		w.must(w.cat.Close())
		w.cat = known
		if text := fmt.Sprintf("log of shard %d ends at 0", source); !errors.Is(err, commitlog.ErrBehind) || !strings.Contains(err.Error(), text) {
			t.Errorf("start: got %v, want ErrBehind and %q", err, text)
		}
	}
	w.must(w.fs.RemoveAll("data"))
	w.must(w.cat.Close())
	w.open()
}
