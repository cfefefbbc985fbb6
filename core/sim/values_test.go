package sim_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/index"
)

// A value that a session keeps of a delivery is synced, and the message, which may
// lie in another shard, asks for no sync. The power must not take the message and
// leave the value: it would tell of the message that gets that place next.
func TestPowerCutKeepsNoValueWithoutItsMessage(t *testing.T) {
	w := newWorld(1)
	w.cfg.Durability, w.cfg.Shards = "os", 3
	w.cfg.SpillRefs, w.cfg.CheckpointBytes, w.cfg.CheckpointInterval = 1<<20, 1<<30, time.Hour
	w.index = []*index.Map{index.NewMap(), index.NewMap(), index.NewMap()}
	w.rng = rand.New(highest{})
	w.newClients()
	w.start()
	s := w.clients.sessions[0]
	w.openSession(s)
	if _, err := s.h.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "#", QoS: 2}}); err != nil {
		t.Fatal(err)
	}
	s.filters["#"] = true
	w.rest()
	// The first deliveries sync the log themselves, since they are marked there, and
	// some that come after them.
	for range 2 {
		w.oneToEachTopic()
		w.receiveSession(s, 10)
	}
	var kept []int
	for len(s.held) > 0 {
		kept = append(kept, s.held[0].m.id)
		w.keep(s, 0)
	}
	w.work(100)
	if !w.storedSome(s) || len(kept) != 2*len(topics) || slices.ContainsFunc(s.packets, func(p *packet) bool { return !p.stored }) {
		t.Fatalf("values of %d messages are kept, want all of %d:\n%s", len(kept), 2*len(topics), w.story())
	}
	w.powerOff()
	w.oneToEachTopic()
	w.openSession(s)
	var again []int
	for _, h := range s.held {
		again = append(again, h.m.id)
	}
	slices.Sort(kept)
	slices.Sort(again)
	if !slices.Equal(again, kept) {
		t.Errorf("the values tell of messages %v, want %v", again, kept)
	}
	for _, wrong := range w.wrong {
		t.Error(wrong)
	}
	if t.Failed() {
		t.Log(w.story())
	}
}

// oneToEachTopic publishes, and has the engine do its work while time stands still.
func (w *world) oneToEachTopic() {
	p := w.clients.publishers[2]
	for _, topic := range topics {
		m := w.send(p.name+topic, w.subscribers(topic))
		w.publish(p, m, core.Message{
			Format: core.FormatMQTT, Exchange: []byte(core.TopicExchange), Key: []byte(topic), QoS: 2,
		}, nil)
	}
	w.work(100)
	w.confirms(p)
}

// powerOff takes all that is not synced, and starts the broker again.
func (w *world) powerOff() {
	w.down, w.broken = true, inSystem
	w.after = aftermath{disk: w.disk.crash(w.rng, 0)}
	for _, m := range w.index {
		w.after.index = append(w.after.index, m.Crash())
	}
	w.abandon()
	w.takeOver()
	w.over(false, w.broken)
	w.clients.ended()
	w.start()
}
