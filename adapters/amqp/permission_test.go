package amqp_test

import (
	"errors"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
)

// refusal does something on a channel of its own and returns what the channel
// was closed for; "" when it was not.
func refusal(t *testing.T, conn *amqp091.Connection, do func(ch *amqp091.Channel) error) string {
	t.Helper()
	ch := openChannel(t, conn)
	closed := ch.NotifyClose(make(chan *amqp091.Error, 1))
	if err := do(ch); err != nil {
		if e, ok := errors.AsType[*amqp091.Error](err); ok {
			return e.Reason
		}
		t.Fatal(err)
	}
	// What has no answer of its own is refused before this is answered.
	if _, err := ch.QueueDeclarePassive("q", true, false, false, false, nil); err == nil {
		return ""
	}
	return (<-closed).Reason
}

// TestRefusals asks for everything without the permission that it needs, and
// compares the words, on which clients match.
func TestRefusals(t *testing.T) {
	h := newHarness(t)
	h.permit("reader", "^mine", "^mine", "^(mine|q$)")
	owner, err := amqp091.Dial("amqp://guest:guest@" + h.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	setup := openChannel(t, owner)
	for _, name := range []string{"q", "mine.q", "foreign"} {
		if _, err := setup.QueueDeclare(name, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, kind := range map[string]string{"mine.x": "topic", "x": "direct"} {
		if err := setup.ExchangeDeclare(name, kind, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := amqp091.Dial("amqp://reader:guest@" + h.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish := func(exchange, key, user string) func(*amqp091.Channel) error {
		return func(ch *amqp091.Channel) error {
			return ch.PublishWithContext(t.Context(), exchange, key, false, false, amqp091.Publishing{UserId: user})
		}
	}
	declare := func(name string, args amqp091.Table) func(*amqp091.Channel) error {
		return func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclare(name, true, false, false, false, args)
			return err
		}
	}
	exchange := func(name string, args amqp091.Table) func(*amqp091.Channel) error {
		return func(ch *amqp091.Channel) error {
			return ch.ExchangeDeclare(name, "topic", true, false, false, false, args)
		}
	}
	refused := func(op, kind, name string) string {
		return "ACCESS_REFUSED - " + op + " access to " + kind + " '" + name + "' in vhost '/' refused for user 'reader'"
	}
	for name, tc := range map[string]struct {
		do   func(*amqp091.Channel) error
		want string
	}{
		"declare queue":   {declare("other", nil), refused("configure", "queue", "other")},
		"declare allowed": {declare("mine.new", nil), ""},
		"dead letters": {
			declare("mine.dead", amqp091.Table{"x-dead-letter-exchange": "x"}), refused("write", "exchange", "x"),
		},
		"declare exchange": {exchange("other", nil), refused("configure", "exchange", "other")},
		"alternate": {
			exchange("mine.alt", amqp091.Table{"alternate-exchange": "x"}), refused("write", "exchange", "x"),
		},
		"delete queue": {func(ch *amqp091.Channel) error {
			_, err := ch.QueueDelete("foreign", false, false, false)
			return err
		}, refused("configure", "queue", "foreign")},
		"delete exchange": {
			func(ch *amqp091.Channel) error { return ch.ExchangeDelete("x", false, false) },
			refused("configure", "exchange", "x"),
		},
		"bind to a foreign queue": {
			func(ch *amqp091.Channel) error { return ch.QueueBind("q", "k", "mine.x", false, nil) },
			refused("write", "queue", "q"),
		},
		"bind from a foreign exchange": {
			func(ch *amqp091.Channel) error { return ch.QueueBind("mine.q", "k", "x", false, nil) },
			refused("read", "exchange", "x"),
		},
		"unbind": {
			func(ch *amqp091.Channel) error { return ch.QueueUnbind("mine.q", "k", "x", nil) },
			refused("read", "exchange", "x"),
		},
		"bind exchanges": {
			func(ch *amqp091.Channel) error { return ch.ExchangeBind("x", "k", "mine.x", false, nil) },
			refused("write", "exchange", "x"),
		},
		"publish":                {publish("x", "k", ""), refused("write", "exchange", "x")},
		"publish to the default": {publish("", "q", ""), refused("write", "exchange", "amq.default")},
		"publish allowed":        {publish("mine.x", "eu.k", "reader"), ""},
		"publish as another": {
			publish("mine.x", "eu.k", "guest"),
			"PRECONDITION_FAILED - user_id property set to 'guest' but authenticated user was 'reader'",
		},
		"get": {func(ch *amqp091.Channel) error {
			_, _, err := ch.Get("foreign", true)
			return err
		}, refused("read", "queue", "foreign")},
		"consume": {func(ch *amqp091.Channel) error {
			_, err := ch.Consume("foreign", "", false, false, false, false, nil)
			return err
		}, refused("read", "queue", "foreign")},
		"purge": {func(ch *amqp091.Channel) error {
			_, err := ch.QueuePurge("foreign", false)
			return err
		}, refused("read", "queue", "foreign")},
	} {
		if got := refusal(t, conn, tc.do); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}

	// Topic permissions, and who may speak for others, change while connected.
	h.must(h.catalog.PutTopicPermission(t.Context(), metadata.TopicPermission{
		User: "reader", Namespace: "/", Exchange: "mine.x", Write: `^eu\.`, Read: `^(eu|us)\.`,
	}))
	topic := func(op, key string) string {
		return "ACCESS_REFUSED - " + op + " access to topic '" + key + "' in exchange 'mine.x' in vhost '/' refused for user 'reader'"
	}
	for key, want := range map[string]string{"eu.k": "", "us.k": topic("write", "us.k")} {
		if got := refusal(t, conn, publish("mine.x", key, "")); got != want {
			t.Errorf("publish %s: got %q, want %q", key, got, want)
		}
	}
	copied := func(ch *amqp091.Channel) error {
		return ch.PublishWithContext(t.Context(), "mine.x", "eu.k", false, false,
			amqp091.Publishing{Headers: amqp091.Table{"BCC": []any{"eu.c", "us.c"}}})
	}
	if got, want := refusal(t, conn, copied), topic("write", "us.c"); got != want {
		t.Errorf("publish with a copy: got %q, want %q", got, want)
	}
	for key, want := range map[string]string{"us.#": "", "#": topic("read", "#")} {
		bind := func(ch *amqp091.Channel) error { return ch.QueueBind("mine.q", key, "mine.x", false, nil) }
		if got := refusal(t, conn, bind); got != want {
			t.Errorf("bind %s: got %q, want %q", key, got, want)
		}
	}
	u, _ := h.catalog.User("reader")
	u.Tags = []string{"impersonator"}
	h.must(h.catalog.PutUser(t.Context(), u))
	if got := refusal(t, conn, publish("mine.x", "eu.k", "guest")); got != "" {
		t.Errorf("impersonator: got %q", got)
	}
	h.permit("reader", "", "", "")
	if got, want := refusal(t, conn, publish("mine.x", "eu.k", "")), refused("write", "exchange", "mine.x"); got != want {
		t.Errorf("after the permission was taken: got %q, want %q", got, want)
	}
}

// TestQueueLimit checks the limit of a virtual host, in RabbitMQ's words.
func TestQueueLimit(t *testing.T) {
	h := newHarness(t)
	one := 1
	h.must(h.catalog.PutNamespace(t.Context(), metadata.Namespace{Name: "/", Limits: metadata.Limits{MaxQueues: &one}}))
	conn, err := amqp091.Dial("amqp://guest:guest@" + h.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i, want := range []string{"", "", "PRECONDITION_FAILED - cannot declare queue 'b': queue limit in vhost '/' (1) is reached"} {
		got := refusal(t, conn, func(ch *amqp091.Channel) error {
			_, err := ch.QueueDeclare([]string{"q", "q", "b"}[i], true, false, false, false, nil)
			return err
		})
		if got != want {
			t.Errorf("declare %d: got %q, want %q", i, got, want)
		}
	}
	if queues, err := h.broker.Queues("/"); err != nil || len(queues) != 1 {
		t.Errorf("queues: got %v, %v", queues, err)
	}
	if _, err := h.broker.Queue("/", "b"); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("queue b: got %v", err)
	}
}
