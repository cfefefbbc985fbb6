package e2e

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
)

// raw5 is an MQTT 5 connection without a client behind it: it acknowledges when the test
// says so.
type raw5 struct {
	net.Conn

	t *testing.T
}

// connectRaw5 opens or resumes a session that outlives its connection by an hour.
func connectRaw5(t *testing.T, addr, id string, window uint16) *raw5 {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(within(t), "tcp", addr)
	if err != nil {
		t.Fatalf("dial MQTT: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	hour := uint32(3600)
	r := &raw5{Conn: conn, t: t}
	r.send(&packets.Connect{
		ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: id,
		Properties: &packets.Properties{SessionExpiryInterval: &hour, ReceiveMaximum: &window},
	})
	if c, ok := r.read().Content.(*packets.Connack); !ok || c.ReasonCode != 0 {
		t.Fatalf("CONNECT of %s: got %v", id, c)
	}
	return r
}

// subscribe adds one filter.
func (r *raw5) subscribe(filter string, qos byte) {
	r.t.Helper()
	r.send(&packets.Subscribe{
		PacketID: 1, Properties: &packets.Properties{},
		Subscriptions: []packets.SubOptions{{Topic: filter, QoS: qos}},
	})
	if s, ok := r.read().Content.(*packets.Suback); !ok || s.Reasons[0] != qos {
		r.t.Fatalf("subscribe %s: got %v", filter, s)
	}
}

func (r *raw5) send(p io.WriterTo) {
	r.t.Helper()
	if _, err := p.WriteTo(r.Conn); err != nil {
		r.t.Fatalf("send %T: %v", p, err)
	}
}

// read returns the next packet.
func (r *raw5) read() *packets.ControlPacket {
	r.t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	p, err := packets.ReadPacket(r.Conn)
	if err != nil {
		r.t.Fatalf("read: %v", err)
	}
	return p
}

// puback acknowledges a message.
func (r *raw5) puback(p *packets.Publish) {
	r.t.Helper()
	r.send(&packets.Puback{PacketID: p.PacketID, Properties: &packets.Properties{}})
}
