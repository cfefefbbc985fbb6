package core

import (
	"errors"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/shard"
)

// ranked makes a queue with priorities, and a publisher.
func (b *Broker) ranked(t *testing.T) (*declared, *Publisher) {
	t.Helper()
	spec := QueueSpec{Name: "q", Durable: true, Args: map[string]any{"x-max-priority": int64(255)}}
	if _, err := b.DeclareQueue(t.Context(), "/", spec); err != nil {
		t.Fatal(err)
	}
	_, q, err := b.queue("/", "q", "")
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.NewPublisher("/", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return q, p
}

// plansOf counts the plans that a publisher keeps, and checks that it knows.
func plansOf(t *testing.T, p *Publisher) (n int) {
	t.Helper()
	for _, pl := range p.plans {
		n += 1 + len(pl.byPriority)
	}
	if n != p.kept || n > maxPlans {
		t.Fatalf("the publisher keeps %d plans and counts %d, want the same and at most %d", n, p.kept, maxPlans)
	}
	return n
}

// However many keys and priorities a publisher uses, its plans are bounded.
func TestPlansForPrioritiesAreBounded(t *testing.T) {
	b := inside(t)
	_, p := b.ranked(t)
	if err := b.Bind(t.Context(), "/", BindingSpec{Source: "amq.topic", Dest: "q", Key: "#"}); err != nil {
		t.Fatal(err)
	}
	most := 0
	publish := func(key string, priority int) {
		m := Message{
			Format: FormatAMQP, Exchange: []byte("amq.topic"), Key: []byte(key),
			Priority: uint8(priority), PriorityKnown: true,
		}
		if _, err := p.Publish(&m); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 * maxPlans {
		publish(strconv.Itoa(i/20), i%20)
		if i%97 == 0 {
			most = max(most, plansOf(t, p))
		}
	}
	if most < maxPlans/2 {
		t.Errorf("the publisher keeps %d plans at the most, which shows nothing", most)
	}
	// A change of the routing replaces plans, and what they had for priorities.
	publish("same", 1)
	before := plansOf(t, p)
	if err := b.Bind(t.Context(), "/", BindingSpec{Source: "amq.topic", Dest: "q", Key: "more"}); err != nil {
		t.Fatal(err)
	}
	publish("same", 2)
	if after := plansOf(t, p); after != before {
		t.Errorf("%d plans after a change of the routing, want %d", after, before)
	}
}

// A message that is held back makes no stream for its priority.
func TestPressureMakesNoPriorities(t *testing.T) {
	b := inside(t)
	q, p := b.ranked(t)
	m := Message{Format: FormatAMQP, Key: []byte("q"), Payload: []byte("x"), Priority: 7, PriorityKnown: true}
	there := func() bool {
		_, err := b.shards[q.shard].QueueStats(shard.PriorityStream(q.stream, 7))
		return err == nil
	}
	fs, ok := b.deps.FS.(*vfs.MemFS)
	if !ok {
		t.Fatalf("the file system is %T", b.deps.FS)
	}
	fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: 1, TotalBytes: 100 << 30, UsedBytes: 100<<30 - 1})
	b.pressure.look(true)
	if _, err := p.Publish(&m); !errors.Is(err, ErrPressure) {
		t.Fatalf("publish: got %v, want %v", err, ErrPressure)
	}
	tx := p.Begin()
	if _, err := tx.Publish(&m); !errors.Is(err, ErrPressure) {
		t.Fatalf("publish in a transaction: got %v, want %v", err, ErrPressure)
	}
	if there() {
		t.Error("there is a stream for what was held back")
	}
}
