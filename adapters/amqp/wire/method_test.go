package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

var table = wire.EncodeTable([]wire.Field{{Name: "k", Value: "v"}})

// samples has every method, with no argument left at zero.
var samples = []wire.Method{
	&wire.ConnectionStart{Major: 0, Minor: 9, ServerProperties: table, Mechanisms: []byte("PLAIN"), Locales: []byte("en")},
	&wire.ConnectionStartOK{ClientProperties: table, Mechanism: "PLAIN", Response: []byte("\x00a\x00b"), Locale: "en"},
	&wire.ConnectionSecure{Challenge: []byte("c")},
	&wire.ConnectionSecureOK{Response: []byte("r")},
	&wire.ConnectionTune{ChannelMax: 1, FrameMax: 2, Heartbeat: 3},
	&wire.ConnectionTuneOK{ChannelMax: 1, FrameMax: 2, Heartbeat: 3},
	&wire.ConnectionOpen{VirtualHost: "/"},
	&wire.ConnectionOpenOK{},
	&wire.ConnectionClose{ReplyCode: 200, ReplyText: "bye", FailingMethod: wire.IDBasicAck},
	&wire.ConnectionCloseOK{},
	&wire.ConnectionBlocked{Reason: "low on memory"},
	&wire.ConnectionUnblocked{},
	&wire.ConnectionUpdateSecret{Secret: []byte("s"), Reason: "r"},
	&wire.ConnectionUpdateSecretOK{},
	&wire.ChannelOpen{},
	&wire.ChannelOpenOK{},
	&wire.ChannelFlow{Active: true},
	&wire.ChannelFlowOK{Active: true},
	&wire.ChannelClose{ReplyCode: 404, ReplyText: "no", FailingMethod: wire.IDQueueBind},
	&wire.ChannelCloseOK{},
	&wire.AccessRequest{Realm: "r", Exclusive: true, Active: true, Read: true},
	&wire.AccessRequestOK{Ticket: 1},
	&wire.ExchangeDeclare{Exchange: "x", Type: "topic", Durable: true, Internal: true, Arguments: table},
	&wire.ExchangeDeclareOK{},
	&wire.ExchangeDelete{Exchange: "x", NoWait: true},
	&wire.ExchangeDeleteOK{},
	&wire.ExchangeBind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true, Arguments: table},
	&wire.ExchangeBindOK{},
	&wire.ExchangeUnbind{Destination: "d", Source: "s", RoutingKey: "k", NoWait: true, Arguments: table},
	&wire.ExchangeUnbindOK{},
	&wire.QueueDeclare{Queue: "q", Passive: true, Exclusive: true, NoWait: true, Arguments: table},
	&wire.QueueDeclareOK{Queue: "q", MessageCount: 1, ConsumerCount: 2},
	&wire.QueueBind{Queue: "q", Exchange: "x", RoutingKey: "k", NoWait: true, Arguments: table},
	&wire.QueueBindOK{},
	&wire.QueuePurge{Queue: "q", NoWait: true},
	&wire.QueuePurgeOK{MessageCount: 1},
	&wire.QueueDelete{Queue: "q", IfEmpty: true},
	&wire.QueueDeleteOK{MessageCount: 1},
	&wire.QueueUnbind{Queue: "q", Exchange: "x", RoutingKey: "k", Arguments: table},
	&wire.QueueUnbindOK{},
	&wire.BasicQos{PrefetchSize: 1, PrefetchCount: 2, Global: true},
	&wire.BasicQosOK{},
	&wire.BasicConsume{Queue: "q", ConsumerTag: "c", NoAck: true, NoWait: true, Arguments: table},
	&wire.BasicConsumeOK{ConsumerTag: "c"},
	&wire.BasicCancel{ConsumerTag: "c", NoWait: true},
	&wire.BasicCancelOK{ConsumerTag: "c"},
	&wire.BasicPublish{Exchange: []byte("x"), RoutingKey: []byte("k"), Mandatory: true, Immediate: true},
	&wire.BasicReturn{ReplyCode: 312, ReplyText: "NO_ROUTE", Exchange: "x", RoutingKey: "k"},
	&wire.BasicDeliver{ConsumerTag: "c", DeliveryTag: 1, Redelivered: true, Exchange: []byte("x"), RoutingKey: []byte("k")},
	&wire.BasicGet{Queue: "q", NoAck: true},
	&wire.BasicGetOK{DeliveryTag: 1, Redelivered: true, Exchange: []byte("x"), RoutingKey: []byte("k"), MessageCount: 2},
	&wire.BasicGetEmpty{},
	&wire.BasicAck{DeliveryTag: 1, Multiple: true},
	&wire.BasicReject{DeliveryTag: 1, Requeue: true},
	&wire.BasicRecoverAsync{Requeue: true},
	&wire.BasicRecover{Requeue: true},
	&wire.BasicRecoverOK{},
	&wire.BasicNack{DeliveryTag: 1, Multiple: true, Requeue: true},
	&wire.ConfirmSelect{NoWait: true},
	&wire.ConfirmSelectOK{},
	&wire.TxSelect{},
	&wire.TxSelectOK{},
	&wire.TxCommit{},
	&wire.TxCommitOK{},
	&wire.TxRollback{},
	&wire.TxRollbackOK{},
}

// parse takes the method out of a frame.
func parse(t testing.TB, frame []byte) wire.Method {
	t.Helper()
	f, n, _, err := wire.ParseFrame(frame, 1<<20)
	if err != nil || n != len(frame) || f.Type != wire.FrameMethod || f.Channel != 3 {
		t.Fatalf("frame: got %+v, %d of %d bytes, %v", f, n, len(frame), err)
	}
	id, args, err := wire.SplitMethod(f.Payload)
	if err != nil {
		t.Fatalf("split: %v", err)
	}
	m, err := wire.ParseMethod(id, args)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return m
}

func TestMethodsRoundTrip(t *testing.T) {
	seen := map[wire.MethodID]bool{}
	for _, m := range samples {
		seen[m.ID()] = true
		frame := wire.AppendMethod(nil, 3, m)
		got := parse(t, frame)
		if again := wire.AppendMethod(nil, 3, got); !bytes.Equal(again, frame) || got.ID() != m.ID() {
			t.Errorf("%v: got %x, want %x", m.ID(), again, frame)
		}
		// Every shorter version of the arguments is refused.
		payload := frame[7 : len(frame)-1]
		for n := 4; n < len(payload); n++ {
			if _, err := wire.ParseMethod(m.ID(), payload[4:n]); !errors.Is(err, wire.ErrSyntax) {
				t.Errorf("%v cut to %d of %d: got %v", m.ID(), n, len(payload), err)
			}
		}
		if _, err := wire.ParseMethod(m.ID(), append(bytes.Clone(payload[4:]), 0)); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%v with a byte more: got %v", m.ID(), err)
		}
	}
	if len(seen) != len(samples) {
		t.Errorf("%d methods, %d samples", len(seen), len(samples))
	}
}

func TestMethodFields(t *testing.T) {
	got := parse(t, wire.AppendMethod(nil, 3, samples[30]))
	if diff := cmp.Diff(samples[30], got); diff != "" {
		t.Errorf("method: want (-), got (+):\n%s", diff)
	}
	deliver := &wire.BasicDeliver{ConsumerTag: "c", DeliveryTag: 1, Exchange: []byte("x"), RoutingKey: []byte("k")}
	if a, b := deliver.Append(nil, 3), wire.AppendMethod(nil, 3, deliver); !bytes.Equal(a, b) {
		t.Errorf("deliver: got %x and %x", a, b)
	}
	if name := wire.IDExchangeUnbindOK.String(); name != "exchange.unbind-ok" {
		t.Errorf("name: got %s", name)
	}
	if name := wire.MethodID(7).String(); name != "method 0,7" {
		t.Errorf("name: got %s", name)
	}
}

func TestUnknownMethods(t *testing.T) {
	if _, err := wire.ParseMethod(wire.MethodID(1), nil); !errors.Is(err, wire.ErrUnknownMethod) {
		t.Errorf("got %v, want ErrUnknownMethod", err)
	}
	if _, _, err := wire.SplitMethod([]byte{0, 10, 0}); !errors.Is(err, wire.ErrSyntax) {
		t.Errorf("got %v, want ErrSyntax", err)
	}
}

func TestShortStringsAreUTF8(t *testing.T) {
	for name, method := range map[string]wire.Method{
		"declare": &wire.QueueDeclare{Queue: "\xff"},
		"publish": &wire.BasicPublish{RoutingKey: []byte("\xff")},
	} {
		frame := wire.AppendMethod(nil, 1, method)
		if _, err := wire.ParseMethod(method.ID(), frame[11:len(frame)-1]); err == nil ||
			!strings.Contains(err.Error(), "Malformed UTF-8 in shortstr") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestLongStringsAreCut(t *testing.T) {
	m := &wire.ConnectionClose{ReplyText: strings.Repeat("é", 200)}
	got, ok := parse(t, wire.AppendMethod(nil, 3, m)).(*wire.ConnectionClose)
	if want := strings.Repeat("é", 127); !ok || got.ReplyText != want {
		t.Errorf("reply text of %d bytes, want %d", len(got.ReplyText), len(want))
	}
}

func TestSettlement(t *testing.T) {
	for _, c := range []struct {
		m    wire.Method
		want wire.Settlement
	}{
		{&wire.BasicAck{DeliveryTag: 1, Multiple: true}, wire.Settlement{Tag: 1, Multiple: true}},
		{&wire.BasicReject{DeliveryTag: 2, Requeue: true}, wire.Settlement{Tag: 2, Requeue: true}},
		{&wire.BasicNack{DeliveryTag: 3, Multiple: true}, wire.Settlement{Tag: 3, Multiple: true}},
		{&wire.BasicNack{DeliveryTag: 4, Requeue: true}, wire.Settlement{Tag: 4, Requeue: true}},
	} {
		frame := wire.AppendMethod(nil, 1, c.m)
		got, err := wire.ParseSettlement(c.m.ID(), frame[11:len(frame)-1])
		if err != nil || got != c.want {
			t.Errorf("%v: got %+v, %v, want %+v", c.m.ID(), got, err, c.want)
		}
	}
}

func FuzzMethod(f *testing.F) {
	for _, m := range samples {
		frame := wire.AppendMethod(nil, 0, m)
		f.Add(frame[7 : len(frame)-1])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		id, args, err := wire.SplitMethod(payload)
		if err != nil {
			return
		}
		m, err := wire.ParseMethod(id, args)
		if err != nil {
			return
		}
		// Reserved arguments and unused bits are not kept, so the second form is the stable one.
		frame := wire.AppendMethod(nil, 3, m)
		if again := wire.AppendMethod(nil, 3, parse(t, frame)); !bytes.Equal(again, frame) {
			t.Errorf("not stable: %x and %x", again, frame)
		}
	})
}
