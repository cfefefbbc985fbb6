package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/e2e/checker"
)

// publishWindow is how many messages a publisher leaves unconfirmed.
const publishWindow = 64

// errConnectionEnded is the ordinary end of a connection in the crash test.
var errConnectionEnded = errors.New("the connection ended")

// isPromiseBroken tells an error that no crash excuses.
func isPromiseBroken(err error) bool { return errors.Is(err, errSessionLost) }

// endedUnless is the outcome of a connection: well if stop was asked for.
func endedUnless(stop context.Context) error {
	select {
	case <-stop.Done():
		return nil
	default:
		return errConnectionEnded
	}
}

// awaiting is a message that waits for its confirm.
type awaiting struct {
	id   checker.ID
	done <-chan struct{}
	ok   func() bool // valid when done is closed
}

// collect notes confirms in order until the channel is closed or the
// connection ends; what is unconfirmed then stays a "maybe".
func (c *crashRun) collect(confirms <-chan awaiting, ended <-chan struct{}) {
	for a := range confirms {
		late := time.NewTimer(c.confirmWithin)
		select {
		case <-a.done:
			late.Stop()
		case <-late.C:
			c.t.Errorf("message %s: no confirm within %v on a living connection", a.id, c.confirmWithin)
			continue
		case <-ended:
			late.Stop()
			select {
			case <-a.done:
			default:
				continue
			}
		}
		if a.ok() {
			c.history.Confirmed(a.id)
		}
	}
}

// publishAMQP publishes with publisher confirms over one connection.
func (c *crashRun) publishAMQP(stop context.Context, name, key string) error {
	conn, err := dialForCrash(c.b.AMQP)
	if err != nil {
		return err
	}
	var watching sync.WaitGroup
	defer watching.Wait()
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	if err := ch.Confirm(false); err != nil {
		return fmt.Errorf("confirm.select: %w", err)
	}
	ended := make(chan struct{})
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	watching.Go(func() {
		defer close(ended)
		<-closed
	})
	confirms := make(chan awaiting, publishWindow)
	var collecting sync.WaitGroup
	collecting.Go(func() { c.collect(confirms, ended) })
	defer collecting.Wait()
	defer close(confirms)
	for c.holdBack(stop, ended) && stop.Err() == nil {
		id := c.history.Attempt(name)
		dc, err := ch.PublishWithDeferredConfirm("amq.topic", key, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(id.String())})
		if err != nil {
			return fmt.Errorf("publish: %w", err)
		}
		select {
		case confirms <- awaiting{id, dc.Done(), dc.Acked}:
		case <-ended:
			return errConnectionEnded
		}
	}
	return endedUnless(stop)
}

// dialForCrash opens an AMQP connection to a broker that may just be dying.
func dialForCrash(addr string) (*amqp.Connection, error) {
	conn, err := amqp.DialConfig(amqpURL(addr), amqp.Config{Dial: amqp.DefaultDial(5 * time.Second)})
	if err != nil {
		return nil, fmt.Errorf("dial AMQP: %w", err)
	}
	return conn, nil
}

// publishQoS1 publishes with paho v3, many messages in flight, over one
// connection of a clean session.
func (c *crashRun) publishQoS1(stop context.Context, name, topic string) error {
	ended := make(chan struct{})
	o := options3(c.b.MQTT, name, true).
		SetConnectTimeout(5 * time.Second).
		SetWriteTimeout(2 * time.Second). // a write to a connection that is lost waits for that long
		SetConnectionLostHandler(func(mqtt3.Client, error) { close(ended) })
	client := mqtt3.NewClient(o)
	token := client.Connect()
	<-token.Done()
	if err := token.Error(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer client.Disconnect(0)
	confirms := make(chan awaiting, publishWindow)
	var collecting sync.WaitGroup
	collecting.Go(func() { c.collect(confirms, ended) })
	defer collecting.Wait()
	defer close(confirms)
	for c.holdBack(stop, ended) && stop.Err() == nil {
		id := c.history.Attempt(name)
		token := client.Publish(topic, 1, false, id.String())
		select {
		case confirms <- awaiting{id, token.Done(), func() bool { return token.Error() == nil }}:
		case <-ended:
			return errConnectionEnded
		}
	}
	return endedUnless(stop)
}

// queueConsumer consumes a queue and acknowledges every message.
type queueConsumer struct {
	run   *crashRun
	queue string
}

func (q *queueConsumer) connection(stop context.Context) error {
	name := q.queue
	conn, err := dialForCrash(q.run.b.AMQP)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return fmt.Errorf("open channel: %w", err)
	}
	if err := ch.Qos(50, 0, false); err != nil {
		return fmt.Errorf("set prefetch: %w", err)
	}
	deliveries, err := ch.ConsumeWithContext(stop, name, "", false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	for d := range deliveries {
		id, err := checker.ParseID(string(d.Body))
		if err != nil {
			q.run.t.Errorf("%s: invented: %v", name, err)
			continue
		}
		q.run.history.Delivered(name, id, d.Redelivered)
		at := time.Now()
		if err := d.Ack(false); err != nil {
			break
		}
		q.run.history.Settled(name, id, at)
	}
	return endedUnless(stop)
}

// sessionConsumer is a durable MQTT session on paho v5.
type sessionConsumer struct {
	run    *crashRun
	name   string
	client string // "" is the name
}

func (s *sessionConsumer) connection(stop context.Context) error {
	name := s.name
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", s.run.b.MQTT)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := paho.NewClient(paho.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			s.received(name, r.Packet)
			return true, nil
		}},
	})
	clientID := cmp.Or(s.client, name)
	hour := uint32(3600)
	window := uint16(50)
	connecting, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	connack, err := client.Connect(connecting, &paho.Connect{
		ClientID: clientID, KeepAlive: 60,
		Properties: &paho.ConnectProperties{SessionExpiryInterval: &hour, ReceiveMaximum: &window, RequestProblemInfo: true},
	})
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if !connack.SessionPresent {
		return errSessionLost
	}
	select {
	case <-client.Done():
		return errConnectionEnded
	case <-stop.Done():
		client.Disconnect(&paho.Disconnect{})
		conn.Close()
		<-client.Done()
		return nil
	}
}

// received notes one message; paho acknowledges it when this returns.
func (s *sessionConsumer) received(name string, p *paho.Publish) {
	id, err := checker.ParseID(string(p.Payload))
	if err != nil {
		s.run.t.Errorf("%s: invented: %v", name, err)
		return
	}
	s.run.history.Delivered(name, id, p.Duplicate())
	s.run.history.Settled(name, id, time.Now())
}
