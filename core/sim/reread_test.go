package sim_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// A client that takes its deliveries up again after a restart, and can't read one of
// them, gives back all of them: those that it had read before it come again, and
// that is no fault of the broker.
func TestRereadThatFailsGivesAllBack(t *testing.T) {
	w := newWorld(1)
	w.cfg.Shards, w.cfg.TailBytes, w.cfg.CacheBytes, w.index = 1, 0, 0, w.index[:1]
	w.cfg.SegmentBytes, w.cfg.Upkeep = 4<<10, core.UpkeepConfig{} // a segment for each message
	w.rng = rand.New(highest{})
	w.newClients()
	w.start()
	s := w.clients.sessions[0]
	w.openSession(s)
	if _, err := s.h.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "t/a", QoS: 1}}); err != nil {
		t.Fatal(err)
	}
	s.filters["t/a"] = true
	bodies := rand.New(rand.NewPCG(1, 0))
	var last []byte
	for i := range 4 {
		m := w.send("p", []*dest{s.dest})
		body := fmt.Appendf(nil, "%d %s", m.id, random(bodies, 4<<10))
		if i == 2 {
			last = body[2:]
		}
		w.publish(w.clients.publishers[2], m, core.Message{
			Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte("t/a"), QoS: 1, Payload: body,
		}, nil)
		w.rest()
	}
	w.receiveSession(s, 3)
	for len(s.held) > 0 {
		w.keep(s, 0)
	}
	w.rest()
	if !w.storedSome(s) || len(s.packets) != 3 || !w.stop() {
		t.Fatalf("the packets are not kept:\n%s", w.story())
	}
	w.over(true, nothing)
	w.clients.ended()
	w.spoil(last)
	w.start()
	rotten := w.rotten
	w.openSession(s)
	if !rotten || w.rotten {
		t.Fatalf("no read has failed:\n%s", w.story())
	}
	if w.receiveSession(s, 10); len(s.held) != 4 {
		t.Errorf("%d messages are in flight, want 4", len(s.held))
	}
	for _, wrong := range w.wrong {
		t.Error(wrong)
	}
	if t.Failed() {
		t.Log(w.story())
	}
}

// spoil flips a bit of the segment that holds the bytes.
func (w *world) spoil(secret []byte) {
	for _, p := range w.disk.files("data/shard-") {
		n := w.disk.now[p]
		if i := bytes.Index(n.data, secret); i >= 0 && strings.HasSuffix(p, ".seg") {
			w.rot, w.rotten = rot{n: n, at: i, bit: 1}, true
			w.rot.turn()
		}
	}
}

// random are bytes that do not compress.
func random(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	return p
}

// highest is a source of randomness whose dice show their highest, so that no
// fault befalls a start.
type highest struct{}

// Uint64 implements [rand.Source].
func (highest) Uint64() uint64 { return 1<<64 - 1 }
