package sim_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// streamOfAll is a world with one stream queue, which keeps all.
func streamOfAll(durability string) (*world, *queue) {
	w := newWorld(1)
	w.cfg.Durability = durability
	w.rng = rand.New(highest{})
	q := &queue{
		spec: core.QueueSpec{Name: "all", Durable: true, Args: map[string]any{"x-queue-type": "stream"}},
		kept: &kept{},
	}
	w.clients.streams = []*queue{q}
	w.clients.publishers = []*publisher{{name: "p"}}
	return w, q
}

// A confirm from memory alone comes before the log has the message, and so before
// it is in the stream. It comes as soon as the log has it.
func TestConfirmFromMemoryComesBeforeTheStreamHasIt(t *testing.T) {
	w, q := streamOfAll("memory")
	w.start()
	w.declare(q)
	w.rest()
	p := w.clients.publishers[0]
	m := w.send(p.name, []*dest{q.dest})
	w.publish(p, m, core.Message{Format: core.FormatAMQP, QoS: 1, Key: []byte("all")}, nil)
	w.confirms(p)
	e := m.entry(q.dest)
	if e.confirmed != inMemory {
		t.Errorf("the confirm promises %d, want %d", e.confirmed, inMemory)
	}
	w.readStream(q)
	if _, there := q.kept.at[e]; there {
		t.Error("the stream has the message before the log was written")
	}
	w.rest()
	w.readStream(q)
	if _, there := q.kept.at[e]; !there {
		t.Error("the stream never has the message")
	}
	for _, wrong := range w.wrong {
		t.Error(wrong)
	}
	if t.Failed() {
		t.Log(w.story())
	}
}

// What a confirm from memory excuses is a message that nobody has got, nor anything
// behind it, and only until the engine has written all that it had.
func TestJudgeMissesMessagesOfStreams(t *testing.T) {
	nobody := func(*world, *queue, *entry) {}
	for _, c := range []struct {
		name       string
		durability string
		before     func(w *world, q *queue, last *entry)
		there      []int // of 0, 1 and 2
		lost       []int
	}{
		{"in memory, the last two", "memory", nobody, []int{0}, nil},
		{"in memory, all", "memory", nobody, nil, nil},
		{"in memory, one between", "memory", nobody, []int{0, 2}, []int{1}},
		{"in memory, the last, which was read", "memory", func(_ *world, q *queue, last *entry) {
			q.kept.at[last] = 2
		}, []int{0, 1}, []int{2}},
		{"in memory, the last, which the group has got", "memory", func(_ *world, _ *queue, last *entry) {
			last.seen = true
		}, []int{0, 1}, []int{2}},
		{"in memory, the last, and all is written", "memory", func(w *world, _ *queue, _ *entry) {
			w.rested()
		}, []int{0, 1}, []int{2}},
		{"in memory, the last, and all is written after it was missed", "memory", func(w *world, q *queue, _ *entry) {
			w.judgeStream(q, deliveries(0, 1))
			w.rested()
		}, []int{0, 1}, []int{2}},
		{"written, the last", "os", nobody, []int{0, 1}, []int{2}},
		{"synced, all", "fsync", nobody, nil, []int{0, 1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, q := streamOfAll(c.durability)
			q.dest = newDest(q.spec.Name, true, w.promise(""))
			q.kept.at = map[*entry]core.Offset{}
			for range 3 {
				w.send("p", []*dest{q.dest}).confirm(true)
			}
			c.before(w, q, q.dest.entries[2])
			w.judgeStream(q, deliveries(c.there...))
			var want []string
			for _, id := range c.lost {
				want = append(want, fmt.Sprintf("lost: all, message %d: not in the stream", id))
			}
			if len(w.wrong) != len(want) {
				t.Fatalf("got %q, want %q", w.wrong, want)
			}
			for i := range want {
				if !strings.HasPrefix(w.wrong[i], want[i]) {
					t.Errorf("got %q, want %q", w.wrong[i], want[i])
				}
			}
		})
	}
}

// A group may get what it had passed over in a compacted stream when the index of
// the stream's shard is lost. Nothing else comes behind what was sent after it.
func TestJudgeOfWhatWasPassedOver(t *testing.T) {
	for _, c := range []struct {
		name      string
		keys      [3]string
		confirmed []int
		compacted bool
		lost      uint32 // the shard whose index is lost
		marked    bool
		excused   bool
	}{
		{"superseded by what was delivered", [3]string{"a", "a", "b"}, nil, true, 2, true, true},
		{"superseded by what was confirmed", [3]string{"a", "b", "a"}, []int{2}, true, 2, true, true},
		{"superseded by what may be lost", [3]string{"a", "b", "a"}, nil, true, 2, true, false},
		{"the last of its key", [3]string{"a", "b", "b"}, []int{0, 1, 2}, true, 2, true, false},
		{"without a mark", [3]string{"a", "a", "b"}, nil, true, 2, false, false},
		{"the index of another shard is lost", [3]string{"a", "a", "b"}, nil, true, 1, true, false},
		{"nothing is taken out", [3]string{"a", "a", "b"}, nil, false, 2, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, q := streamOfAll("fsync")
			q.kept.compacted = c.compacted
			q.dest = newDest(q.spec.Name, true, onDisk)
			q.kept.at = map[*entry]core.Offset{}
			for i := range 3 {
				w.send("p", []*dest{q.dest}).key = c.keys[i]
			}
			for _, id := range c.confirmed {
				w.messages[id].confirm(true)
			}
			all := deliveries(0, 1)
			all[0].Redelivered = c.marked
			for i := range all {
				all[i].Position.Shard = 2
			}
			w.delivered(q.dest, &all[1])
			w.over(false, inSystem)
			w.undoCompaction(c.lost)
			if w.delivered(q.dest, &all[0]); (len(w.wrong) == 0) != c.excused {
				t.Errorf("got %q, want excused %t", w.wrong, c.excused)
			}
		})
	}
}

// deliveries are messages by their numbers, one behind the other.
func deliveries(ids ...int) []core.Delivery {
	all := make([]core.Delivery, len(ids))
	for i, id := range ids {
		all[i].Position.Offset = core.Offset(i)
		all[i].Message.Payload = fmt.Appendf(nil, "%d ", id)
	}
	return all
}
