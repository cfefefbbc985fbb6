package sim_test

import (
	"context"
	"slices"
	"time"

	"github.com/tidegate/tidegate/core"
)

// keys are what messages to all that are bound are about, for compaction.
var keys = []string{"k/a", "k/b", "k/c", "k/d"}

// kept is what a stream queue is beside a queue. Its consumers share one
// consumer group; readers come and go, see readStream.
type kept struct {
	bytes      int           // x-max-length-bytes
	age        time.Duration // x-max-age
	compacted  bool
	untilAcked bool
	at         map[*entry]core.Offset // where a message was read
}

// newStreams makes two stream queues, with rules of retention that the seed chooses.
func (w *world) newStreams() {
	all := []struct {
		name  string
		args  []any
		rules kept
	}{
		{"all", nil, kept{}},
		{"bytes", []any{"x-max-length-bytes", int64(1200)}, kept{bytes: 1200}},
		{"age", []any{"x-max-age", "10m"}, kept{age: 10 * time.Minute}},
		{"acked", []any{"x-cleanup-policy", "until-acked"}, kept{untilAcked: true}},
		{"compact", []any{"x-cleanup-policy", "compact"}, kept{compacted: true}},
	}
	w.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, s := range all[:2] {
		q := &queue{
			spec:  core.QueueSpec{Name: s.name, Durable: true, Args: map[string]any{"x-queue-type": "stream"}},
			bound: true, competing: s.name == "all", kept: &s.rules,
		}
		for i := 0; i < len(s.args); i += 2 {
			q.spec.Args[s.args[i].(string)] = s.args[i+1]
		}
		w.clients.streams = append(w.clients.streams, q)
	}
}

// useStream does one thing with a stream queue.
func (w *world) useStream(q *queue) {
	switch n := w.rng.IntN(60); {
	case n == 0:
		w.flood(w.clients.publishers[w.rng.IntN(2)], q)
	case n == 1:
		w.declare(q)
	case n < 10:
		w.readStream(q)
	default:
		w.useQueue(q)
	}
}

// readStream reads all that a stream queue has, and judges that; false when it
// could not.
func (w *world) readStream(q *queue) (judged bool) {
	if q.dest == nil {
		return true
	}
	awake := true
	c, err := w.Consume(context.Background(), namespaceName, core.ConsumeSpec{
		Queue: q.spec.Name, Start: core.StartFirst(), Limits: []*core.Limit{core.NewLimit(0)},
		Notify: func() { awake = true },
	})
	if w.failed("read "+q.spec.Name, err) {
		return false
	}
	var got []core.Delivery
	for awake && err == nil {
		awake = false
		before := len(got)
		got, err = c.Next(got, 100)
		awake = awake || len(got) > before
	}
	switch {
	case w.failed("read "+q.spec.Name, err):
		if !w.down {
			w.heal()
		}
	case !w.down && w.Err() == nil:
		w.log("%s is read: %d messages", q.spec.Name, len(got))
		w.judgeStream(q, got)
		judged = true
	}
	if !w.down {
		w.failed("cancel", c.Cancel(context.Background()))
	}
	return judged
}

// missingStreams asks of each stream queue whether it has what it owes; once
// more when that found a bit that has flipped.
func (w *world) missingStreams() {
	for _, q := range w.clients.streams {
		judged := w.readStream(q)
		for tries := 0; !judged && tries < 2; tries++ {
			judged = w.readStream(q)
		}
		if !judged {
			w.complain("stream queue %s can't be read", q.spec.Name)
		}
	}
}

// all are the queues and the stream queues.
func (c *clients) all() []*queue { return append(slices.Clip(c.queues), c.streams...) }
