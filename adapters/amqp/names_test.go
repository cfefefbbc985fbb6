package amqp_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/core"
)

// TestNamesLoseLineEnds declares and uses names with line ends in them.
func TestNamesLoseLineEnds(t *testing.T) {
	ch := openChannel(t, newHarness(t).connect())
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	q, err := ch.QueueDeclare("a\r\nb", true, false, false, false, nil)
	if must(err); q.Name != "ab" {
		t.Errorf("queue: got %q", q.Name)
	}
	must(ch.ExchangeDeclare("x\ny", "fanout", true, false, false, false, nil))
	must(ch.QueueBind("ab", "", "xy", false, nil))
	must(ch.Publish("xy", "", false, false, amqp091.Publishing{Body: []byte("1")}))
	if d, ok, err := ch.Get("ab", true); !ok || err != nil || d.Exchange != "xy" {
		t.Errorf("got %q of %q, %v", d.Body, d.Exchange, err)
	}
}

// TestLongNames has the longest names in refusals: their texts are cut behind a whole
// character, and what is longer can't be said.
func TestLongNames(t *testing.T) {
	conn := newHarness(t).connect()
	name := strings.Repeat("é", 127)
	_, err := openChannel(t, conn).QueueDeclarePassive(name, true, false, false, false, nil)
	var refused *amqp091.Error
	if !errors.As(err, &refused) || refused.Code != 404 || len(refused.Reason) < 254 || len(refused.Reason) > 255 ||
		!utf8.ValidString(refused.Reason) || !strings.HasPrefix(refused.Reason, "NOT_FOUND - no queue 'é") {
		t.Errorf("got %v", err)
	}
	ch := openChannel(t, conn)
	for _, name := range []string{name, strings.Repeat("q", 255)} {
		if q, err := ch.QueueDeclare(name, false, false, true, false, nil); err != nil || q.Name != name {
			t.Errorf("name of %d bytes: got %q, %v", len(name), q.Name, err)
		}
	}
}

// TestConsumerLimit begins one consumer more than a channel may have.
func TestConsumerLimit(t *testing.T) {
	h := newHarness(t, func(c *amqp.Config, _ *core.Config) { c.MaxConsumers = 3 })
	conn := h.connect()
	ch := openChannel(t, conn)
	if _, err := ch.QueueDeclare("q", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := ch.Consume("q", "", false, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	closed := conn.NotifyClose(make(chan *amqp091.Error, 1))
	_, err := ch.Consume("q", "", false, false, false, false, nil)
	want := "NOT_ALLOWED - number of consumers of channel 1 has reached the limit (3)"
	if err == nil {
		t.Error("one more was taken")
	}
	if e := <-closed; e == nil || e.Code != 530 || e.Reason != want {
		t.Errorf("got %v, want 530 %s", e, want)
	}
}
