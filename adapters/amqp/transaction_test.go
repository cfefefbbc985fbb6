package amqp_test

import (
	"strings"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// TestTransactionOverTheLimit fills a transaction until it is refused, and looks
// that nothing of it took effect.
func TestTransactionOverTheLimit(t *testing.T) {
	h := newHarness(t, func(_ *amqp.Config, c *core.Config) { c.MaxTransaction = 10_000 })
	r := h.dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q"})
	expect[*wire.QueueDeclareOK](r)
	r.send(1, &wire.TxSelect{})
	expect[*wire.TxSelectOK](r)
	publish := func() {
		r.send(1, &wire.BasicPublish{RoutingKey: []byte("q")})
		r.write(wire.AppendContent(nil, 1, 0, []byte{0, 0}, []byte(strings.Repeat("x", 3000))))
	}
	publish()
	r.send(1, &wire.TxCommit{})
	expect[*wire.TxCommitOK](r)
	publish()
	publish()
	want := "1 channel.close ReplyCode=406 ReplyText=PRECONDITION_FAILED - transaction is larger than configured max size 10000" +
		" FailingMethod=basic.publish"
	if got := r.describe(); got != want {
		t.Fatalf("got %s\nwant %s", got, want)
	}
	r.send(1, &wire.ChannelCloseOK{})
	r.send(1, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOK](r)
	r.send(1, &wire.QueueDeclare{Queue: "q", Passive: true})
	if ok := expect[*wire.QueueDeclareOK](r); ok.MessageCount != 1 {
		t.Errorf("the queue has %d messages, want that of the first transaction", ok.MessageCount)
	}
}

// TestCommitFreesPrefetch commits an acknowledgement that a prefetch limit waits for.
// The next delivery may come before the answer.
func TestCommitFreesPrefetch(t *testing.T) {
	h := newHarness(t)
	r := h.dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q"})
	expect[*wire.QueueDeclareOK](r)
	r.send(1, &wire.BasicQos{PrefetchCount: 1})
	expect[*wire.BasicQosOK](r)
	r.send(1, &wire.TxSelect{})
	expect[*wire.TxSelectOK](r)
	for _, body := range []string{"one", "two"} {
		r.send(1, &wire.BasicPublish{RoutingKey: []byte("q")})
		r.write(wire.AppendContent(nil, 1, 0, []byte{0, 0}, []byte(body)))
	}
	r.send(1, &wire.TxCommit{})
	expect[*wire.TxCommitOK](r)
	r.send(1, &wire.BasicConsume{Queue: "q", ConsumerTag: "c"})
	expect[*wire.BasicConsumeOK](r)
	expect[*wire.BasicDeliver](r)
	r.describe() // header and body
	r.describe()
	r.send(1, &wire.BasicAck{DeliveryTag: 1})
	r.send(1, &wire.QueueDeclare{Queue: "q", Passive: true})
	if ok := expect[*wire.QueueDeclareOK](r); ok.MessageCount != 1 {
		t.Errorf("%d messages are ready before the commit, want 1", ok.MessageCount)
	}
	r.send(1, &wire.TxCommit{})
	got := map[string]int{}
	for i := range 4 {
		got[r.describe()] = i
	}
	first, delivered := got["1 basic.deliver ConsumerTag=c DeliveryTag=2 RoutingKey=q"]
	last, bodied := got["1 body two"]
	if _, ok := got["1 tx.commit-ok"]; !ok || !delivered || !bodied || last < first {
		t.Errorf("got %v", got)
	}
}

// TestAcksOfATransactionAreRestoredInOrder settles deliveries out of order, rolls
// back, and settles them all with one ack.
func TestAcksOfATransactionAreRestoredInOrder(t *testing.T) {
	h := newHarness(t)
	r := h.dial()
	r.login("guest")
	r.send(1, &wire.QueueDeclare{Queue: "q"})
	expect[*wire.QueueDeclareOK](r)
	r.send(1, &wire.TxSelect{})
	expect[*wire.TxSelectOK](r)
	for range 9 {
		r.send(1, &wire.BasicPublish{RoutingKey: []byte("q")})
		r.write(wire.AppendContent(nil, 1, 0, []byte{0, 0}, []byte("x")))
	}
	r.send(1, &wire.TxCommit{})
	expect[*wire.TxCommitOK](r)
	for range 9 {
		r.send(1, &wire.BasicGet{Queue: "q"})
		expect[*wire.BasicGetOK](r)
		r.describe() // header and body
		r.describe()
	}
	for _, tag := range []uint64{5, 9, 1, 4} {
		r.send(1, &wire.BasicAck{DeliveryTag: tag})
	}
	r.send(1, &wire.TxRollback{})
	expect[*wire.TxRollbackOK](r)
	r.send(1, &wire.BasicAck{DeliveryTag: 4})
	r.send(1, &wire.BasicAck{DeliveryTag: 8, Multiple: true})
	r.send(1, &wire.TxCommit{})
	expect[*wire.TxCommitOK](r)
	r.send(1, &wire.ChannelClose{})
	expect[*wire.ChannelCloseOK](r)
	r.send(1, &wire.ChannelOpen{})
	expect[*wire.ChannelOpenOK](r)
	r.send(1, &wire.QueueDeclare{Queue: "q", Passive: true})
	if ok := expect[*wire.QueueDeclareOK](r); ok.MessageCount != 1 {
		t.Errorf("the queue has %d messages, want the one of tag 9", ok.MessageCount)
	}
}
