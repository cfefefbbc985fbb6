package e2e

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	mqtt3 "github.com/eclipse/paho.mqtt.golang"
)

// inbox bounds what a test client holds before the test looks at it.
const inbox = 8192

// mqtt5 is a paho v5 client whose messages wait in a channel.
type mqtt5 struct {
	*paho.Client
	got     chan *paho.Publish
	connack *paho.Connack
	conn    net.Conn
}

// mqtt5Options adds to the CONNECT of a test client.
type mqtt5Options struct {
	keep       time.Duration // session expiry; 0 = clean start, session ends with the connection
	resume     bool          // no clean start
	will       *paho.WillMessage
	willProps  *paho.WillProperties
	receiveMax uint16
}

// connect5 connects a paho v5 client. It is disconnected when the test ends.
func connect5(t *testing.T, addr, id string, o mqtt5Options) *mqtt5 {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", addr)
	if err != nil {
		t.Fatalf("dial MQTT: %v", err)
	}
	c := &mqtt5{got: make(chan *paho.Publish, inbox), conn: conn}
	c.Client = paho.NewClient(paho.ClientConfig{
		Conn: conn,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(r paho.PublishReceived) (bool, error) {
			select {
			case c.got <- r.Packet:
			case <-t.Context().Done():
			}
			return true, nil
		}},
	})
	cp := &paho.Connect{
		ClientID: id, KeepAlive: 30, CleanStart: !o.resume,
		WillMessage: o.will, WillProperties: o.willProps,
		Properties: &paho.ConnectProperties{RequestProblemInfo: true},
	}
	if o.keep > 0 {
		seconds := uint32(o.keep / time.Second)
		cp.Properties.SessionExpiryInterval = &seconds
	}
	if o.receiveMax > 0 {
		cp.Properties.ReceiveMaximum = &o.receiveMax
	}
	c.connack, err = c.Connect(within(t), cp)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	t.Cleanup(c.close)
	return c
}

// close says goodbye; a second call does nothing.
func (c *mqtt5) close() {
	c.Disconnect(&paho.Disconnect{})
	c.conn.Close()
	<-c.Done()
}

// subscribe adds one filter.
func (c *mqtt5) subscribe(t *testing.T, filter string, qos byte) {
	t.Helper()
	c.subscribeWith(t, paho.SubscribeOptions{Topic: filter, QoS: qos})
}

// subscribeWith adds one filter with options.
func (c *mqtt5) subscribeWith(t *testing.T, o paho.SubscribeOptions) {
	t.Helper()
	suback, err := c.Subscribe(within(t), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{o}})
	if err != nil {
		t.Fatalf("subscribe %s: %v", o.Topic, err)
	}
	if got := suback.Reasons[0]; got != o.QoS {
		t.Fatalf("subscribe %s: granted %#x, want QoS %d", o.Topic, got, o.QoS)
	}
}

// publish sends one message and waits for its acknowledgement.
func (c *mqtt5) publish(t *testing.T, topic string, qos byte, payload string) {
	t.Helper()
	c.publishWith(t, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(payload)})
}

// publishWith sends one message and waits for its acknowledgement.
func (c *mqtt5) publishWith(t *testing.T, p *paho.Publish) {
	t.Helper()
	if _, err := c.Publish(within(t), p); err != nil {
		t.Fatalf("publish to %s: %v", p.Topic, err)
	}
}

// next takes the next message.
func (c *mqtt5) next(t *testing.T) *paho.Publish {
	t.Helper()
	select {
	case p := <-c.got:
		return p
	case <-c.Done():
		select {
		case p := <-c.got:
			return p
		default:
		}
		t.Fatal("the connection ended before the message came")
	case <-time.After(patience):
		t.Fatalf("no message within %v", patience)
	}
	return nil
}

// nextN takes n messages.
func (c *mqtt5) nextN(t *testing.T, n int) []*paho.Publish {
	t.Helper()
	out := make([]*paho.Publish, 0, n)
	for len(out) < n {
		out = append(out, c.next(t))
	}
	return out
}

// payloads returns the payloads of messages as strings.
func payloads(ps []*paho.Publish) []string {
	out := make([]string, 0, len(ps))
	for _, p := range ps {
		out = append(out, string(p.Payload))
	}
	return out
}

// options3 are paho v3 options for a client without reconnection.
func options3(addr, id string, clean bool) *mqtt3.ClientOptions {
	return mqtt3.NewClientOptions().
		AddBroker("tcp://" + addr).
		SetClientID(id).
		SetCleanSession(clean).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetConnectTimeout(patience).
		SetWriteTimeout(patience)
}

// connect3 connects a paho v3 client. It is disconnected when the test ends.
func connect3(t *testing.T, o *mqtt3.ClientOptions) mqtt3.Client {
	t.Helper()
	c := mqtt3.NewClient(o)
	await3(t, "connect", c.Connect())
	t.Cleanup(func() { c.Disconnect(100) })
	return c
}

// await3 waits for a paho v3 token.
func await3(t *testing.T, what string, token mqtt3.Token) {
	t.Helper()
	ctx := within(t)
	if err := wait3(ctx, token); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wait3 waits for a paho v3 token or the end of ctx.
func wait3(ctx context.Context, token mqtt3.Token) error {
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publishAll3 publishes QoS 1 messages in order without waiting in between,
// then waits until all are acknowledged.
func publishAll3(t *testing.T, addr string, messages []keyed) {
	t.Helper()
	c := connect3(t, options3(addr, "publisher-"+t.Name(), true))
	tokens := make([]mqtt3.Token, 0, len(messages))
	for _, m := range messages {
		tokens = append(tokens, c.Publish(m.key, 1, false, m.body))
	}
	for _, token := range tokens {
		await3(t, "publish", token)
	}
}
