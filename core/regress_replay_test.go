package core_test

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
)

// live state against replayed state: what is unsettled has the same positions.
func TestLiveEqualsReplay(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(strconv.Itoa(int(seed)), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 9))
			w := newWorld(t, 1+int(seed%3))
			filters := []string{"a/#", "a/b", "+/b", "#", "c"}
			topics := []string{"a/b", "a/c", "x/b", "c"}
			names := []string{"s0", "s1", "s2"}
			ss := make([]*core.Session, 3)
			open := func() {
				for i, n := range names {
					ss[i], _, _ = w.session(n, time.Hour, false)
				}
			}
			open()
			p := w.publisher(nil)
			held := make([][]core.Delivery, 3)
			logged := w.barrier()
			drain := func(i int) []string {
				out := []string{}
				for idle := 0; idle < 2; {
					ds, err := ss[i].Next(nil, 1000)
					w.must(err)
					if idle++; len(ds) > 0 {
						idle = 0
					}
					logged() // the mark that holds the next ones back
					for _, d := range ds {
						out = append(out, fmt.Sprintf("%s@%d.%d/%d subs%d", d.Message.Payload, d.Position.Shard, d.Position.LSN, 0, len(d.Subscriptions)))
					}
				}
				sort.Strings(out)
				return out
			}
			n := 0
			for range 6 {
				for range 60 {
					i := rng.IntN(3)
					switch rng.IntN(8) {
					case 0:
						_, err := ss[i].Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: filters[rng.IntN(5)], QoS: uint8(rng.IntN(2))}})
						w.must(err)
					case 1:
						_, err := ss[i].Unsubscribe(t.Context(), []string{filters[rng.IntN(5)]})
						w.must(err)
					case 2:
						if rng.IntN(5) == 0 {
							ss[i], _, _ = w.session(names[i], time.Hour, rng.IntN(2) == 0)
							held[i] = nil
							ss[i].Recover()
						}
					case 3, 4:
						ds, err := ss[i].Next(nil, rng.IntN(10))
						w.must(err)
						held[i] = append(held[i], ds...)
					case 5:
						k := rng.IntN(len(held[i]) + 1)
						for _, d := range held[i][:k] {
							ss[i].Settle(d.Position)
						}
						held[i] = held[i][k:]
					default:
						for range 1 + rng.IntN(5) {
							p.send(mqtt(topics[rng.IntN(4)], strconv.Itoa(n), 1))
							n++
						}
					}
				}
				p.confirmed()
				logged() // acks too
				live := make([][]string, 3)
				for i := range ss {
					ss[i].Recover()
					live[i] = drain(i)
					held[i] = nil
				}
				clean, after := rng.IntN(2) == 0, w.fs
				if !clean {
					after = w.cut(0)
				}
				w.close()
				w.store.SetAway(false)
				w.fs = after
				if rng.IntN(2) == 0 {
					w.loseIndex()
				}
				w.open()
				open()
				p = w.publisher(nil)
				for i := range ss {
					if diff := cmp.Diff(live[i], drain(i)); diff != "" {
						t.Fatalf("session %d (-live +replayed):\n%s", i, diff)
					}
					ss[i].Recover()
				}
			}
		})
	}
}

// barrier declares a queue on every shard. The result publishes to them, and
// returns when the log has what was asked of it before: a batch takes along
// the acks and marks that wait.
func (w *world) barrier() func() {
	w.t.Helper()
	covered := map[uint32]bool{}
	var names []string
	for i := 0; len(covered) < w.shards; i++ {
		name := "barrier-" + strconv.Itoa(i)
		w.queue(name)
		p := w.publisher(nil)
		p.send(amqp("", name, "x"))
		p.confirmed()
		d, _, _, ok, err := w.Get(w.t.Context(), "/", name, "", true)
		w.must(err)
		if ok && !covered[d.Position.Shard] {
			covered[d.Position.Shard] = true
			names = append(names, name)
		}
	}
	return func() {
		w.t.Helper()
		p := w.publisher(nil)
		for _, name := range names {
			p.send(amqp("", name, "x"))
		}
		p.confirmed()
	}
}
