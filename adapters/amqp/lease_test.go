package amqp_test

import (
	"errors"
	"testing"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// A queue that nobody uses ends; one with a consumer does not, and goes on
// delivering.
func TestQueueExpires(t *testing.T) {
	const term = 150 * time.Millisecond
	h := newHarness(t)
	conn := h.connect()
	ch := openChannel(t, conn)
	for _, name := range []string{"unused", "consumed"} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, amqp091.Table{"x-expires": term.Milliseconds()}); err != nil {
			t.Fatal(err)
		}
	}
	deliveries, err := ch.Consume("consumed", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	gone := func(name string) bool {
		_, err := h.broker.Queue("/", name) // asking over AMQP would be a use
		return err != nil
	}
	deadline := time.After(time.Minute)
	for tick := time.NewTicker(term / 4); !gone("unused"); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the unused queue is still there")
		}
	}
	if _, err := openChannel(t, conn).QueueDeclarePassive("unused", true, false, false, false, nil); !isCode(err, 404) {
		t.Errorf("passive declare: got %v, want 404", err)
	}
	if err := ch.Publish("", "consumed", false, false, amqp091.Publishing{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if d := receive(t, deliveries); string(d.Body) != "x" {
		t.Errorf("got %q", d.Body)
	}
}

// isCode tells whether an error of the client is a reply of the code.
func isCode(err error, code int) bool {
	e, ok := errors.AsType[*amqp091.Error](err)
	return ok && e.Code == code
}
