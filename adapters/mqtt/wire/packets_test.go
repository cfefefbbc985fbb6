package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
)

// decode runs the decoder for a packet type and returns the reason of its
// refusal, or Success.
func decode(t wire.Type, flags byte, body string, v5 bool) (wire.Reason, error) {
	b := []byte(body)
	var err error
	switch t {
	case wire.TypeConnect:
		_, err = wire.DecodeConnect(b)
	case wire.TypePublish:
		var p wire.Publish
		err = p.Decode(flags, b, v5)
	case wire.TypePuback, wire.TypePubrec, wire.TypePubrel, wire.TypePubcomp:
		var a wire.Ack
		err = a.Decode(t, b, v5)
	case wire.TypeSubscribe:
		_, err = wire.DecodeSubscribe(flags, b, v5)
	case wire.TypeUnsubscribe:
		_, err = wire.DecodeUnsubscribe(flags, b, v5)
	case wire.TypeDisconnect:
		_, err = wire.DecodeDisconnect(b, v5)
	case wire.TypeAuth:
		err = wire.CheckAuth(b)
	default:
	}
	if fault, ok := errors.AsType[*wire.Error](err); ok {
		return fault.Reason, err
	}
	return wire.Success, err
}

type packetTest struct {
	name  string
	kind  wire.Type
	flags byte
	v5    bool
	body  string
	want  wire.Reason
}

var publishTests = []packetTest{
	{"qos 0", wire.TypePublish, 0, false, "\x00\x01ahello", 0},
	{"empty payload", wire.TypePublish, 0, false, "\x00\x01a", 0},
	{"qos 1", wire.TypePublish, 2, false, "\x00\x01a\x00\x07x", 0},
	{"no body", wire.TypePublish, 0, false, "", wire.MalformedPacket},
	{"topic cut off", wire.TypePublish, 0, false, "\x00\x05abc", wire.MalformedPacket},
	{"empty topic", wire.TypePublish, 0, false, "\x00\x00x", wire.MalformedPacket},
	{"plus in topic", wire.TypePublish, 0, false, "\x00\x03a/+", wire.TopicNameInvalid},
	{"hash in topic", wire.TypePublish, 0, false, "\x00\x01#", wire.TopicNameInvalid},
	{"NUL in topic", wire.TypePublish, 0, false, "\x00\x02a\x00", wire.MalformedPacket},
	{"surrogate in topic", wire.TypePublish, 0, false, "\x00\x03\xed\xa0\x80", wire.MalformedPacket},
	{"bad UTF-8 in topic", wire.TypePublish, 0, false, "\x00\x01\xff", wire.MalformedPacket},
	{"128 levels", wire.TypePublish, 0, false, "\x00\x80" + strings.Repeat("/", 127) + "a", 0},
	{"129 levels", wire.TypePublish, 0, false, "\x00\x80" + strings.Repeat("/", 128), wire.TopicNameInvalid},
	{"packet id 0", wire.TypePublish, 2, false, "\x00\x01a\x00\x00", wire.ProtocolError},
	{"packet id cut off", wire.TypePublish, 2, false, "\x00\x01a\x00", wire.MalformedPacket},
	{"properties", wire.TypePublish, 0, true, "\x00\x01a\x02\x01\x01x", 0},
	{"no property length", wire.TypePublish, 0, true, "\x00\x01a", wire.MalformedPacket},
	{"property length over the end", wire.TypePublish, 0, true, "\x00\x01a\x05\x01\x01", wire.MalformedPacket},
	{"property runs out of its block", wire.TypePublish, 0, true, "\x00\x01a\x02\x02\x00\x00\x00\x01", wire.MalformedPacket},
	{"payload format 2", wire.TypePublish, 0, true, "\x00\x01a\x02\x01\x02", wire.ProtocolError},
	{"property twice", wire.TypePublish, 0, true, "\x00\x01a\x04\x01\x01\x01\x01", wire.ProtocolError},
	{"unknown property", wire.TypePublish, 0, true, "\x00\x01a\x02\x7f\x01", wire.MalformedPacket},
	{"property of another packet", wire.TypePublish, 0, true, "\x00\x01a\x03\x21\x00\x05", wire.MalformedPacket},
	{"subscription identifier", wire.TypePublish, 0, true, "\x00\x01a\x02\x0b\x05", wire.ProtocolError},
	{"wildcard in response topic", wire.TypePublish, 0, true, "\x00\x01a\x04\x08\x00\x01#", wire.ProtocolError},
	{"alias alone", wire.TypePublish, 0, true, "\x00\x00\x03\x23\x00\x01", 0},
	{"no topic, no alias", wire.TypePublish, 0, true, "\x00\x00\x00", wire.ProtocolError},
	{"bad UTF-8 in user property", wire.TypePublish, 0, true, "\x00\x01a\x07\x26\x00\x01k\x00\x01\xff", wire.MalformedPacket},
}

var ackTests = []packetTest{
	{"short form", wire.TypePuback, 0, true, "\x00\x01", 0},
	{"reason", wire.TypePuback, 0, true, "\x00\x01\x10", 0},
	{"reason and properties", wire.TypePubrec, 0, true, "\x00\x01\x80\x04\x1f\x00\x01x", 0},
	{"empty", wire.TypePuback, 0, true, "", wire.MalformedPacket},
	{"half an id", wire.TypePubrec, 0, false, "\x00", wire.MalformedPacket},
	{"id 0", wire.TypePubcomp, 0, true, "\x00\x00", wire.ProtocolError},
	{"reason on 3.1.1", wire.TypePuback, 0, false, "\x00\x01\x00", wire.MalformedPacket},
	{"reason of another packet", wire.TypePubrel, 2, true, "\x00\x01\x10", wire.ProtocolError},
	{"not found on PUBCOMP", wire.TypePubcomp, 0, true, "\x00\x01\x92", 0},
	{"not found on PUBACK", wire.TypePuback, 0, true, "\x00\x01\x92", wire.ProtocolError},
	{"bytes after properties", wire.TypePuback, 0, true, "\x00\x01\x00\x00x", wire.MalformedPacket},
	{"reason string twice", wire.TypePuback, 0, true, "\x00\x01\x00\x08\x1f\x00\x01x\x1f\x00\x01x", wire.ProtocolError},
}

var filterTests = []packetTest{
	{"one filter", wire.TypeSubscribe, 2, false, "\x00\x01\x00\x01a\x01", 0},
	{"no filter", wire.TypeSubscribe, 2, false, "\x00\x01", wire.ProtocolError},
	{"no id", wire.TypeSubscribe, 2, false, "\x00", wire.MalformedPacket},
	{"id 0", wire.TypeSubscribe, 2, false, "\x00\x00\x00\x01a\x01", wire.ProtocolError},
	{"no options", wire.TypeSubscribe, 2, true, "\x00\x01\x00\x00\x01a", wire.MalformedPacket},
	{"filter cut off", wire.TypeSubscribe, 2, true, "\x00\x01\x00\x00\x09a", wire.MalformedPacket},
	{"qos 3", wire.TypeSubscribe, 2, true, "\x00\x01\x00\x00\x01a\x03", wire.ProtocolError},
	{"qos 3 on 3.1.1", wire.TypeSubscribe, 2, false, "\x00\x01\x00\x01a\x03", wire.MalformedPacket},
	{"no local on a shared one", wire.TypeSubscribe, 2, true, "\x00\x01\x00\x00\x0a$share/g/t\x04", wire.ProtocolError},
	{"v5 option on 3.1.1", wire.TypeSubscribe, 2, false, "\x00\x01\x00\x01a\x04", wire.MalformedPacket},
	{"reserved option", wire.TypeSubscribe, 2, true, "\x00\x01\x00\x00\x01a\x40", wire.MalformedPacket},
	{"retain handling 3", wire.TypeSubscribe, 2, true, "\x00\x01\x00\x00\x01a\x30", wire.ProtocolError},
	{"identifier", wire.TypeSubscribe, 2, true, "\x00\x01\x02\x0b\x05\x00\x01a\x00", 0},
	{"identifier 0", wire.TypeSubscribe, 2, true, "\x00\x01\x02\x0b\x00\x00\x01a\x00", wire.ProtocolError},
	{"identifier twice", wire.TypeSubscribe, 2, true, "\x00\x01\x04\x0b\x01\x0b\x02\x00\x01a\x00", wire.ProtocolError},
	{"NUL in filter", wire.TypeSubscribe, 2, false, "\x00\x01\x00\x01\x00\x01", wire.MalformedPacket},
	{"unsubscribe", wire.TypeUnsubscribe, 2, true, "\x00\x01\x00\x00\x01a\x00\x01b", 0},
	{"unsubscribe nothing", wire.TypeUnsubscribe, 2, true, "\x00\x01\x00", wire.ProtocolError},
	{"unsubscribe cut off", wire.TypeUnsubscribe, 2, false, "\x00\x01\x00", wire.MalformedPacket},
}

var endTests = []packetTest{
	{"empty", wire.TypeDisconnect, 0, true, "", 0},
	{"reason alone", wire.TypeDisconnect, 0, true, "\x04", 0},
	{"reason and expiry", wire.TypeDisconnect, 0, true, "\x00\x05\x11\x00\x00\x00\x01", 0},
	{"body on 3.1.1", wire.TypeDisconnect, 0, false, "\x00", wire.MalformedPacket},
	{"reason of the server", wire.TypeDisconnect, 0, true, "\x8e", wire.ProtocolError},
	{"properties cut off", wire.TypeDisconnect, 0, true, "\x00\x05\x11", wire.MalformedPacket},
	{"auth", wire.TypeAuth, 0, true, "\x18\x00", 0},
	{"auth reason", wire.TypeAuth, 0, true, "\x01\x00", wire.ProtocolError},
}

const mqtt5 = "\x00\x04MQTT\x05"

var connectTests = []packetTest{
	{"3.1", wire.TypeConnect, 0, false, "\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01c", 0},
	{"3.1.1", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x02\x00\x00\x00\x01c", 0},
	{"5", wire.TypeConnect, 0, true, mqtt5 + "\x02\x00\x00\x00\x00\x01c", 0},
	{"other name", wire.TypeConnect, 0, false, "\x00\x04HTTP\x04\x02\x00\x00\x00\x01c", wire.UnsupportedVersion},
	{"version 6", wire.TypeConnect, 0, false, "\x00\x04MQTT\x06\x02\x00\x00\x00\x01c", wire.UnsupportedVersion},
	{"reserved flag", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x03\x00\x00\x00\x01c", wire.MalformedPacket},
	{"will qos 3", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x1e\x00\x00\x00\x01c\x00\x01w\x00\x01x", wire.MalformedPacket},
	{"will retain without will", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x22\x00\x00\x00\x01c", wire.MalformedPacket},
	{"empty will payload", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x06\x00\x00\x00\x01c\x00\x01w\x00\x00", 0},
	{"wildcard in will topic", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x06\x00\x00\x00\x01c\x00\x01#\x00\x00", wire.TopicNameInvalid},
	{"empty password", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\xc2\x00\x00\x00\x01c\x00\x01u\x00\x00", 0},
	{"password without user on 3.1.1", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x42\x00\x00\x00\x01c\x00\x01p", wire.MalformedPacket},
	{"password without user on 5", wire.TypeConnect, 0, true, mqtt5 + "\x42\x00\x00\x00\x00\x01c\x00\x01p", 0},
	{"user name missing", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x82\x00\x00\x00\x01c", wire.MalformedPacket},
	{"bytes after", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x02\x00\x00\x00\x01cx", wire.MalformedPacket},
	{"bad client id", wire.TypeConnect, 0, false, "\x00\x04MQTT\x04\x02\x00\x00\x00\x01\xff", wire.ClientIDNotValid},
	{"receive maximum 0", wire.TypeConnect, 0, true, mqtt5 + "\x02\x00\x00\x03\x21\x00\x00\x00\x01c", wire.ProtocolError},
	{"maximum packet size 0", wire.TypeConnect, 0, true, mqtt5 + "\x02\x00\x00\x05\x27\x00\x00\x00\x00\x00\x01c", wire.ProtocolError},
	{"auth data alone", wire.TypeConnect, 0, true, mqtt5 + "\x02\x00\x00\x04\x16\x00\x01x\x00\x01c", wire.ProtocolError},
	{"problem info 2", wire.TypeConnect, 0, true, mqtt5 + "\x02\x00\x00\x02\x17\x02\x00\x01c", wire.ProtocolError},
	{"property twice", wire.TypeConnect, 0, true, mqtt5 + "\x02\x00\x00\x06\x21\x00\x01\x21\x00\x01\x00\x01c", wire.ProtocolError},
	{"empty", wire.TypeConnect, 0, false, "", wire.MalformedPacket},
}

func TestPackets(t *testing.T) {
	for _, group := range [][]packetTest{publishTests, ackTests, filterTests, endTests, connectTests} {
		for _, test := range group {
			got, err := decode(test.kind, test.flags, test.body, test.v5)
			if got != test.want || (err == nil) != (test.want == 0) {
				t.Errorf("type %d, %s: got 0x%02x (%v), want 0x%02x", test.kind, test.name, got, err, test.want)
			}
		}
	}
}

// A packet that is cut off anywhere is refused and harms nothing, or is a legal
// shorter one.
func TestTruncatedPackets(t *testing.T) {
	for _, group := range [][]packetTest{publishTests, ackTests, filterTests, endTests, connectTests} {
		for _, test := range group {
			for n := range len(test.body) {
				if _, err := decode(test.kind, test.flags, test.body[:n], test.v5); err != nil {
					if _, ok := errors.AsType[*wire.Error](err); !ok {
						t.Errorf("type %d, %s, %d bytes: got %v, want a wire.Error", test.kind, test.name, n, err)
					}
				}
			}
		}
	}
}

func TestConnectFields(t *testing.T) {
	props := "\x11\x00\x00\x00\x0a" + "\x21\x00\x14" + "\x27\x00\x00\x10\x00" + "\x22\x00\x05" + "\x17\x00"
	// User, password, will of QoS 1 retained, clean; 60 s keep alive.
	body := mqtt5 + "\xee\x00\x3c" + string([]byte{byte(len(props))}) + props + "\x00\x01c" +
		"\x0c" + "\x18\x00\x00\x00\x07" + "\x26\x00\x01k\x00\x01v" + "\x00\x01w\x00\x00" + "\x00\x01u" + "\x00\x01p"
	got, err := wire.DecodeConnect([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := &wire.Connect{
		V5: true, ClientID: "c", Clean: true, KeepAlive: 60e9, HasUser: true, User: "u", Password: []byte("p"),
		Will: &wire.Will{
			Topic: []byte("w"), Payload: []byte{}, QoS: 1, Retain: true, Delay: 7e9,
			Properties: []byte("\x26\x00\x01k\x00\x01v"),
		},
		HasSessionExpiry: true, SessionExpiry: 10, ReceiveMaximum: 20, MaximumPacketSize: 4096, TopicAliasMaximum: 5,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("CONNECT (-want +got):\n%s", diff)
	}
}

func TestPublishStripsTheAlias(t *testing.T) {
	body := []byte("\x00\x01a\x0c\x01\x01\x23\x00\x05\x26\x00\x01k\x00\x01vpay")
	var p wire.Publish
	if err := p.Decode(0, body, true); err != nil {
		t.Fatal(err)
	}
	if !p.HasAlias || p.Alias != 5 || string(p.Properties) != "\x01\x01\x26\x00\x01k\x00\x01v" || string(p.Payload) != "pay" {
		t.Errorf("got %+v", p)
	}
}

func TestOutgoingCountsTheExpiryDown(t *testing.T) {
	o := wire.Outgoing{
		Topic: []byte("a"), Properties: []byte("\x01\x01\x02\x00\x00\x00\x3c\x26\x00\x01k\x00\x01v"), Expiry: 42,
		Identifiers: []uint32{3, 200}, Payload: []byte("pay"), PacketID: 9, QoS: 1, Dup: true, Retain: true, V5: true, Alias: 4,
	}
	got := o.Append(nil)
	want := "\x3b\x21\x00\x01a\x00\x09\x16\x01\x01\x02\x00\x00\x00\x2a\x26\x00\x01k\x00\x01v\x23\x00\x04\x0b\x03\x0b\xc8\x01pay"
	want = strings.Replace(want, "\x21", string([]byte{byte(len(want) - 2)}), 1)
	want = strings.Replace(want, "\x16", string([]byte{byte(len(want) - 2 - 5 - 1 - 3)}), 1)
	if string(got) != want {
		t.Errorf("got  %x\nwant %x", got, want)
	}
	if o.Size() != len(got) {
		t.Errorf("size: got %d, want %d", o.Size(), len(got))
	}
	if !bytes.Contains(o.Properties, []byte{0x3c}) {
		t.Error("the message's own properties were changed")
	}
}

func TestFilters(t *testing.T) {
	tests := map[string]bool{
		"a": true, "#": true, "+": true, "a/#": true, "+/a/+": true, "/": true, "//": true, "a/+/#": true,
		"": false, "a#": false, "a/b#": false, "#/a": false, "a+": false, "+a": false, "a/+b/c": false, "a\x00": false,
		strings.Repeat("/", 127): true, strings.Repeat("/", 128): false,
	}
	for filter, want := range tests {
		if got := wire.ValidFilter(filter); got != want {
			t.Errorf("filter %q: got %v, want %v", filter, got, want)
		}
	}
}
