package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/eclipse/paho.golang/packets"
)

// mqttCases are hostile beginnings of an MQTT connection.
var mqttCases = map[string]string{
	"HTTP":                        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"length of seven bytes":       "\x10\xff\xff\xff\xff\xff\xff\x7f",
	"packet type 0":               "\x00\x00",
	"publish before connect":      "\x30\x03\x00\x01a",
	"connect of no length":        "\x10\x00",
	"connect flags reserved":      "\x10\x0c\x00\x04MQTT\x04\x01\x00\x3c\x00\x00",
	"will QoS 3":                  "\x10\x0c\x00\x04MQTT\x04\x1e\x00\x3c\x00\x00",
	"unknown level":               "\x10\x0c\x00\x04MQTT\x63\x02\x00\x3c\x00\x00",
	"properties longer than rest": "\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\xff\x00\x00",
	"client id with NUL":          "\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01\x00",
}

// mqttLoggedIn is what a hostile client says after it has connected.
var mqttLoggedIn = map[string]string{
	"second connect":            "\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00",
	"subscribe cut short":       "\x82\x05\x00\x01\x00\x00\x05",
	"subscribe without filters": "\x82\x03\x00\x01\x00",
	"subscribe with id 0":       "\x82\x07\x00\x00\x00\x00\x01a\x01",
	"filter a#":                 "\x82\x08\x00\x01\x00\x00\x02a#\x01",
	"publish QoS 3":             "\x36\x06\x00\x01a\x00\x01\x00",
	"publish to a wildcard":     "\x30\x04\x00\x01#\x00",
	"publish to no topic":       "\x30\x03\x00\x00\x00",
	"topic alias 0":             "\x30\x06\x00\x00\x03\x23\x00\x00",
	"broken UTF-8":              "\x30\x04\x00\x01\xff\x00",
	"connack from a client":     "\x20\x03\x00\x00\x00",
	"ack of nothing":            "\x40\x02\x12\x34",
	"pubrel flags":              "\x60\x02\x00\x01",
	"auth":                      "\xf0\x00",
}

// amqpCases are hostile beginnings of an AMQP connection.
var amqpCases = map[string]string{
	"HTTP":                     "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"AMQP 1.0":                 "AMQP\x00\x01\x00\x00",
	"half a header":            "AMQP",
	"bad frame end":            amqpHeader + "\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\x00",
	"unknown frame type":       amqpHeader + "\x07\x00\x00\x00\x00\x00\x00\xce",
	"start-ok of no length":    amqpHeader + "\x01\x00\x00\x00\x00\x00\x04\x00\x0a\x00\x0b\xce",
	"table longer than frame":  amqpHeader + "\x01\x00\x00\x00\x00\x00\x0c\x00\x0a\x00\x0b\xff\xff\xff\xff\x00\x00\x00\x00\xce",
	"method of no class":       amqpHeader + "\x01\x00\x00\x00\x00\x00\x04\xff\xff\xff\xff\xce",
	"body before any method":   amqpHeader + "\x03\x00\x00\x00\x00\x00\x01x\xce",
	"heartbeat on channel one": amqpHeader + "\x08\x00\x01\x00\x00\x00\x00\xce",
}

// mqttConnect is a correct CONNECT.
func mqttConnect() []byte {
	var buf bytes.Buffer
	c := &packets.Connect{ProtocolName: "MQTT", ProtocolVersion: 5, ClientID: "hostile", CleanStart: true, KeepAlive: 60, Properties: &packets.Properties{}}
	c.WriteTo(&buf)
	return buf.Bytes()
}

// readFrame reads one AMQP frame and returns its payload.
func readFrame(t *testing.T, conn net.Conn) []byte {
	t.Helper()
	var head [7]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil {
		t.Fatalf("read frame: %v", err)
	}
	size := binary.BigEndian.Uint32(head[3:])
	if size > 128<<10 {
		t.Fatalf("the broker sent a frame of %d bytes", size)
	}
	payload := make([]byte, size+1)
	if _, err := io.ReadFull(conn, payload); err != nil {
		t.Fatalf("read frame: %v", err)
	}
	return payload[:size]
}

// amqpFrame encodes one frame.
func amqpFrame(kind byte, channel uint16, payload string) []byte {
	f := binary.BigEndian.AppendUint16([]byte{kind}, channel)
	f = binary.BigEndian.AppendUint32(f, uint32(len(payload)))
	return append(append(f, payload...), 0xCE)
}

// loginAMQP brings a connection to the point where channels can be opened.
func loginAMQP(t *testing.T, conn net.Conn) {
	t.Helper()
	write(conn, []byte(amqpHeader))
	readFrame(t, conn)
	write(conn, amqpFrame(1, 0, "\x00\x0a\x00\x0b\x00\x00\x00\x00\x05PLAIN\x00\x00\x00\x0c\x00guest\x00guest\x05en_US"))
	readFrame(t, conn) // tune
	write(conn, amqpFrame(1, 0, "\x00\x0a\x00\x1f\x07\xff\x00\x02\x00\x00\x00\x00"), amqpFrame(1, 0, "\x00\x0a\x00\x28\x01/\x00\x00"))
	readFrame(t, conn) // open-ok
}

// amqpLoggedIn are illegal frames of a client that has logged in.
func amqpLoggedIn() map[string][]byte {
	open := amqpFrame(1, 1, "\x00\x14\x00\x0a\x00")
	publish := amqpFrame(1, 1, "\x00\x3c\x00\x28\x00\x00\x00\x01q\x00")
	join := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	return map[string][]byte{
		"frame larger than agreed":   join(open, []byte{1, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF}, bytes.Repeat([]byte{0}, 4096)),
		"method on closed channel":   publish,
		"channel opened twice":       join(open, open),
		"body without header":        join(open, publish, amqpFrame(3, 1, "x")),
		"method between frames":      join(open, publish, publish),
		"header of another class":    join(open, publish, amqpFrame(2, 1, "\x00\x32\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00")),
		"body of 16 EiB":             join(open, publish, amqpFrame(2, 1, "\x00\x3c\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00")),
		"more body than announced":   join(open, publish, amqpFrame(2, 1, "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00"), amqpFrame(3, 1, "xx")),
		"property flags without end": join(open, publish, amqpFrame(2, 1, "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x01\x00\x01")),
		"headers table cut":          join(open, publish, amqpFrame(2, 1, "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x20\x00\x00\x00\xff\xff")),
		"unknown method":             join(open, amqpFrame(1, 1, "\x00\x3c\x03\xe8")),
		"arguments cut":              join(open, amqpFrame(1, 1, "\x00\x32\x00\x0a\x00\x00\xff")),
		"header on channel 0":        amqpFrame(2, 0, "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00"),
		"ack of nothing":             join(open, amqpFrame(1, 1, "\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x63\x00")),
	}
}
