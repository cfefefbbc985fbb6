package queue_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

const noLimit = ^record.Offset(0)

func fetched(q *queue.Queue, c *queue.Consumer) (os []record.Offset) {
	for _, it := range q.Fetch(c, nil, 100) {
		os = append(os, it.Offset)
	}
	return os
}

func check(t *testing.T, what string, got []record.Offset, want ...record.Offset) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestDispatchTakesTurns(t *testing.T) {
	q := new(queue.Queue)
	a, b := queue.NewConsumer(nil, 0, nil), queue.NewConsumer(nil, 0, nil)
	q.Add(a)
	q.Add(b)
	if woken := q.Dispatch(5, noLimit, nil); len(woken) != 2 {
		t.Fatalf("woke %d consumers, want 2", len(woken))
	}
	check(t, "a", fetched(q, a), 0, 2, 4)
	check(t, "b", fetched(q, b), 1, 3)
}

func TestSharedLimit(t *testing.T) {
	q := new(queue.Queue)
	shared := queue.NewLimit(3)
	a := queue.NewConsumer([]*queue.Limit{queue.NewLimit(1), shared}, 0, nil)
	b := queue.NewConsumer([]*queue.Limit{shared}, 0, nil)
	q.Add(a)
	q.Add(b)
	q.Dispatch(10, noLimit, nil)
	check(t, "a", fetched(q, a), 0)
	check(t, "b", fetched(q, b), 1, 2)
	q.Done(b, 1)
	q.Dispatch(10, noLimit, nil)
	check(t, "b after its ack", fetched(q, b), 3)
	q.GiveBack(a, 0)
	q.Dispatch(10, noLimit, nil)
	if got := append(fetched(q, a), fetched(q, b)...); len(got) != 1 || got[0] != 0 {
		t.Errorf("got %v after a gave back 0, want it again", got)
	}
}

func TestRemovedConsumerKeepsWhatItFetched(t *testing.T) {
	q := new(queue.Queue)
	l := queue.NewLimit(4)
	a := queue.NewConsumer([]*queue.Limit{l}, 0, nil)
	q.Add(a)
	q.Dispatch(4, noLimit, nil)
	q.Fetch(a, nil, 2)
	q.Remove(a)
	if q.Unsettled() != 2 || q.Ready(4) != 2 {
		t.Fatalf("unsettled %d ready %d, want 2 2", q.Unsettled(), q.Ready(4))
	}
	b := queue.NewConsumer([]*queue.Limit{l}, 0, nil)
	q.Add(b)
	q.Dispatch(4, noLimit, nil)
	items := q.Fetch(b, nil, 10)
	if diff := cmp.Diff([]queue.Item{{Offset: 2}, {Offset: 3}}, items); diff != "" {
		t.Errorf("never handed out, so not redelivered (-want +got):\n%s", diff)
	}
	if !q.Done(a, 0) || q.Done(a, 0) {
		t.Error("a late ack of a removed consumer counts once")
	}
}

func TestDeliveryWaitsForItsMark(t *testing.T) {
	q := new(queue.Queue)
	a := queue.NewConsumer(nil, 0, nil)
	q.Add(a)
	q.Dispatch(5, 2, nil)
	check(t, "below the mark", fetched(q, a), 0, 1)
	q.Dispatch(5, 5, nil)
	check(t, "after the mark", fetched(q, a), 2, 3, 4)
}

// TestUnfetch undoes a part of what was fetched: it comes again before what is
// assigned, in order and as it was, and the limits count it once.
func TestUnfetch(t *testing.T) {
	q := new(queue.Queue)
	limit := queue.NewLimit(6)
	c := queue.NewConsumer([]*queue.Limit{limit}, 0, nil)
	q.Add(c)
	q.Dispatch(20, noLimit, nil)
	items := q.Fetch(c, nil, 4)
	q.Done(c, 0)
	q.Dispatch(20, noLimit, nil)
	q.Unfetch(c, items[1:])
	for i, it := range q.Fetch(c, nil, 100) {
		if it.Offset != record.Offset(i+1) || it.Redelivered {
			t.Errorf("item %d is %+v", i, it)
		}
		q.Done(c, it.Offset)
	}
	q.Dispatch(20, noLimit, nil)
	items = q.Fetch(c, nil, 100)
	check(t, "with the whole limit again", []record.Offset{items[0].Offset, record.Offset(len(items))}, 7, 6)
	q.Remove(c)
	q.Unfetch(c, items)
	other := queue.NewConsumer([]*queue.Limit{limit}, 0, nil)
	q.Add(other)
	q.Dispatch(20, noLimit, nil)
	check(t, "of the one who is gone", fetched(q, other), 7, 8, 9, 10, 11, 12)
}
