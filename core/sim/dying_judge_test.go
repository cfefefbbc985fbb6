package sim_test

import (
	"testing"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/index"
)

// A message that a full queue refuses becomes dead letters that its publisher writes to
// one shard after the other. When the process ends in between, each heir may have its
// letter or not: nobody was told anything. Once the publisher was, all must have it.
func TestCrashWhileARefusedMessageSpills(t *testing.T) {
	some := false
	for in := 1; in < 40; in++ {
		w := newWorld(1)
		w.cfg.Durability, w.cfg.Shards = "fsync", 3
		w.index = []*index.Map{index.NewMap(), index.NewMap(), index.NewMap()}
		z := &queue{
			spec: core.QueueSpec{Name: "z", Durable: true, Args: map[string]any{
				"x-max-length": int64(0), "x-overflow": "reject-publish-dlx",
				"x-dead-letter-exchange": deadExchange, "x-dead-letter-routing-key": deadKey,
			}},
			rules: &rules{heirs: graves, spills: true, bounds: &bounds{messages: 0, bytes: -1, refuses: true}},
		}
		w.clients.queues = []*queue{z}
		for _, name := range graves {
			w.clients.queues = append(w.clients.queues, &queue{
				spec: core.QueueSpec{Name: name, Durable: true}, key: deadKey, lasting: true,
			})
		}
		p := &publisher{name: "p"}
		w.clients.publishers = []*publisher{p}
		w.start()
		w.calm()
		for _, q := range w.clients.queues {
			w.declare(q)
		}
		w.rest()
		w.fault = fault{crashIn: in, kill: true}
		w.flood(p, z) // the publisher itself waits for the disk, now and then
		w.rest()
		w.confirms(p)
		w.calm()
		w.takeAll()
		e := w.messages[len(w.messages)-1].entry(z.dest)
		some = some || e.unanswered && len(e.letters) == 1
		w.missing()
		for _, wrong := range w.wrong {
			t.Errorf("killed at operation %d: %s\n%s", in, wrong, w.story())
		}
		// The same of a publisher that had its answer is a fault.
		if e.unanswered, e.refused, e.confirmed = false, true, onDisk; len(e.letters) == 1 {
			if w.missing(); len(w.wrong) == 0 {
				t.Errorf("killed at operation %d: a letter that is in one heir alone is not missed", in)
			}
		}
		w.cut(true)
		w.abandon()
	}
	if !some {
		t.Error("no crash has come between the two letters")
	}
}
