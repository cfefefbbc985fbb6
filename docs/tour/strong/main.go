// Command strong consumes the earthquakes of magnitude 5 and more over AMQP
// from a durable queue, and prints them until it is stopped.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	broker = "amqp://guest:guest@127.0.0.1:5672/"
	queue  = "quakes.strong"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "strong:", err)
		os.Exit(1)
	}
}

func run() error {
	conn, err := amqp.Dial(broker)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", broker, err)
	}
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	if _, err := ch.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return fmt.Errorf("declare: %w", err)
	}
	// What MQTT calls quake/us/m6 has the routing key quake.us.m6 here.
	for _, key := range []string{"quake.*.m5", "quake.*.m6", "quake.*.m7", "quake.*.m8"} {
		if err := ch.QueueBind(queue, key, "amq.topic", false, nil); err != nil {
			return fmt.Errorf("bind %s: %w", key, err)
		}
	}
	if err := ch.Qos(50, 0, false); err != nil {
		return fmt.Errorf("set prefetch: %w", err)
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	if _, err := fmt.Fprintln(os.Stdout, "waiting for strong earthquakes"); err != nil {
		return err
	}
	for d := range deliveries {
		if err := show(&d); err != nil {
			return err
		}
		if err := d.Ack(false); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	select {
	case reason := <-closed:
		return fmt.Errorf("connection lost: %w", reason)
	default:
		return nil // the queue was deleted
	}
}

func show(d *amqp.Delivery) error {
	var e struct{ Properties struct{ Title string } }
	if err := json.Unmarshal(d.Body, &e); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	_, err := fmt.Fprintf(os.Stdout, "%-12s %s\n", d.RoutingKey, e.Properties.Title)
	return err
}
