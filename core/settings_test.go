package core_test

import (
	"errors"
	"testing"

	"github.com/tidegate/tidegate/core"
)

// declare declares a durable queue with arguments.
func (w *world) declare(name string, args map[string]any) {
	w.t.Helper()
	_, err := w.DeclareQueue(w.t.Context(), "/", core.QueueSpec{Name: name, Durable: true, Args: args})
	w.must(err)
}

func TestSingleActiveConsumerSurvivesCrash(t *testing.T) {
	eachShards(t, func(t *testing.T, w *world) {
		w.declare("q", map[string]any{"x-single-active-consumer": true})
		p := w.publisher(nil)
		for _, body := range []string{"1", "2", "3"} {
			p.send(amqp("", "q", body))
		}
		p.confirmed()
		w.crash()

		first, c1 := w.consume("q", core.NewLimit(1))
		second, c2 := w.consume("q")
		if !first.Active() || second.Active() {
			t.Errorf("active: first %v, second %v", first.Active(), second.Active())
		}
		want(t, w.take(first, c1, 1), "1")
		if got, err := second.Next(nil, 10); err != nil || len(got) > 0 {
			t.Errorf("the second consumer got %v, %v", bodies(got), err)
		}
		if _, _, _, _, err := w.Get(t.Context(), "/", "q", "", false); !errors.Is(err, core.ErrLocked) {
			t.Errorf("get: got %v, want ErrLocked", err)
		}
		w.must(first.Cancel(t.Context()))
		want(t, w.take(second, c2, 2), "2", "3")
	})
}

func TestConsumerPriority(t *testing.T) {
	w := newWorld(t, 1)
	w.queue("q")
	wake := make(chan struct{}, 1)
	low, err := w.Consume(t.Context(), "/", core.ConsumeSpec{Queue: "q", Priority: -1, Notify: func() {}})
	w.must(err)
	high, err := w.Consume(t.Context(), "/", core.ConsumeSpec{Queue: "q", Priority: 1, Notify: signal(wake)})
	w.must(err)
	p := w.publisher(nil)
	for _, body := range []string{"1", "2", "3"} {
		p.send(amqp("", "q", body))
	}
	want(t, w.take(high, wake, 3), "1", "2", "3")
	if got, err := low.Next(nil, 10); err != nil || len(got) > 0 {
		t.Errorf("the consumer of the lower priority got %v, %v", bodies(got), err)
	}
}
