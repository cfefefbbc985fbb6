package amqp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/core"
)

// TestReadErrorEndsTheConnection lets the disk fail under a consumer: the client
// is told, and the next one gets all messages in their order.
func TestReadErrorEndsTheConnection(t *testing.T) {
	h := newHarness(t, func(_ *amqp.Config, cfg *core.Config) { cfg.TailBytes, cfg.CacheBytes = 0, 0 })
	const n = 50
	ch := openChannel(t, h.connect())
	h.must(ch.Confirm(false))
	_, err := ch.QueueDeclare("orders", true, false, false, false, nil)
	h.must(err)
	for i := range n {
		sent, err := ch.PublishWithDeferredConfirm("", "orders", false, false,
			amqp091.Publishing{DeliveryMode: amqp091.Persistent, Body: fmt.Appendf(nil, "%03d", i)})
		h.must(err)
		sent.Wait()
	}
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".seg") {
			return errorfs.ErrInjected
		}
		return nil
	})
	h.fail.Store(&fail)
	conn := h.connect()
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	deliveries, err := openChannel(t, conn).Consume("orders", "", false, false, false, false, nil)
	h.must(err)
	for d := range deliveries {
		if string(d.Body) != "049" { // what is newest is in memory in any case
			t.Errorf("got %q", d.Body)
		}
	}
	if reason := <-closed; reason == nil || reason.Code != amqp091.InternalError {
		t.Errorf("the connection ends with %v, want code %d", reason, amqp091.InternalError)
	}
	h.fail.Store(nil)
	deliveries, err = openChannel(t, h.connect()).Consume("orders", "", false, false, false, false, nil)
	h.must(err)
	for i := range n {
		if d := receive(t, deliveries); string(d.Body) != fmt.Sprintf("%03d", i) {
			t.Fatalf("message %d is %q", i, d.Body)
		}
	}
}
