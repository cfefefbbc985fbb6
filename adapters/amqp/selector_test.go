package amqp

import (
	"errors"
	"testing"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

var errNotDecoded = errors.New("not decoded")

func noDecode(*core.Message) (core.Properties, error) { return core.Properties{}, errNotDecoded }

// selects is the consumer argument as a function.
func selects(t *testing.T, text string, decode func(*core.Message) (core.Properties, error)) func(*core.Message) bool {
	t.Helper()
	match, err := readSelection(map[string]any{argSelector: text}, "queue 's'", decode)
	if err != nil {
		t.Fatal(err)
	}
	return match
}

func TestSelectorReadsEveryType(t *testing.T) {
	fields := []wire.Field{
		{Name: "t", Value: true},
		{Name: "b", Value: int8(-1)},
		{Name: "B", Value: uint8(200)},
		{Name: "s", Value: int16(-2)},
		{Name: "u", Value: uint16(60000)},
		{Name: "I", Value: int32(-3)},
		{Name: "i", Value: uint32(4000000000)},
		{Name: "l", Value: int64(-4)},
		{Name: "L", Value: uint64(5)},
		{Name: "f", Value: float32(0.5)},
		{Name: "d", Value: 0.25},
		{Name: "D", Value: wire.Decimal{Scale: 2, Value: 125}},
		{Name: "S", Value: "text"},
		{Name: "x", Value: []byte("bytes")},
		{Name: "A", Value: []any{"a"}},
		{Name: "F", Value: []wire.Field{{Name: "a", Value: "a"}}},
		{Name: "T", Value: wire.Timestamp(1700000000)},
		{Name: "V", Value: nil},
		{Name: "S", Value: "the second of a name"},
	}
	p := wire.Properties{
		Flags: wire.FlagHeaders | wire.FlagMessageID | wire.FlagCorrelationID | wire.FlagType | wire.FlagReplyTo | wire.FlagUserID |
			wire.FlagAppID | wire.FlagPriority | wire.FlagTimestamp | wire.FlagDeliveryMode,
		Headers: wire.EncodeTable(fields), MessageID: []byte("m"), CorrelationID: []byte("c"), Type: []byte("ty"), ReplyTo: []byte("r"),
		UserID: []byte("guest"), AppID: []byte("app"), Priority: 7, Timestamp: 1700000000, DeliveryMode: 2,
	}
	m := &core.Message{Format: core.FormatAMQP, Properties: p.Append(nil), Payload: []byte(`{"temp": 31}`)}
	for _, text := range []string{
		"t", "b = -1", "B = 200", "s = -2", "u = 60000", "I = -3", "i = 4000000000", "l = -4", "L = 5", "f = 0.5", "d = 0.25", "D = 1.25",
		"S = 'text'", "x IS NULL", "A IS NULL", "F IS NULL", "T = 1700000000", "V IS NULL", "other IS NULL", "payload.temp = 31",
		"JMSMessageID = 'm'", "JMSCorrelationID = 'c'", "JMSType = 'ty'", "JMSReplyTo = 'r'", "JMSXUserID = 'guest'", "JMSXAppID = 'app'",
		"JMSPriority = 7", "JMSTimestamp = 1700000000000", "JMSDeliveryMode = 'PERSISTENT'", "JMSOther IS NULL",
	} {
		match := selects(t, text, noDecode)
		if !match(m) {
			t.Errorf("%s does not match", text)
		}
		if n := testing.AllocsPerRun(10, func() { match(m) }); n > 0 && text != "payload.temp = 31" {
			t.Errorf("%s: looking at a message costs %v allocations", text, n)
		}
	}
	bare := &core.Message{Format: core.FormatAMQP}
	if !selects(t, "JMSMessageID IS NULL AND JMSPriority IS NULL AND JMSTimestamp IS NULL AND JMSDeliveryMode = 'NON_PERSISTENT'", noDecode)(bare) {
		t.Error("a message without properties has some")
	}
}

func TestSelectorOfAnotherProtocol(t *testing.T) {
	decode := func(*core.Message) (core.Properties, error) {
		return core.Properties{
			MessageID: "m", CorrelationID: []byte("c"), HasPriority: true, Priority: 3, HasTimestamp: true, Timestamp: 17, Persistent: true,
			Headers: []core.Header{
				{Name: "temp", Value: "35"},
				{Name: "hot", Value: "true"},
				{Name: "temp", Value: "1"},
				{Name: "n", Value: int64(2)},
				{Name: "b", Value: true},
				{Name: "f", Value: 0.5},
				{Name: "u", Value: uint64(9)},
				{Name: "at", Value: time.Unix(5, 0)},
			},
		}, nil
	}
	m := &core.Message{Format: core.FormatMQTT}
	for _, text := range []string{
		"temp > 30 AND hot", "n = 2 AND b AND f = 0.5 AND u = 9 AND at = 5", "JMSMessageID = 'm' AND JMSCorrelationID = 'c'", "JMSPriority = 3",
		"JMSTimestamp = 17000", "JMSDeliveryMode = 'PERSISTENT'", "JMSType IS NULL", "other IS NULL",
	} {
		if !selects(t, text, decode)(m) {
			t.Errorf("%s does not match", text)
		}
	}
	if selects(t, "temp > 30", noDecode)(m) {
		t.Error("a message that can't be read has a temp")
	}
}

func BenchmarkSelector(b *testing.B) {
	p := wire.Properties{Flags: wire.FlagHeaders, Headers: wire.EncodeTable([]wire.Field{
		{Name: "symbol", Value: "AAPL"}, {Name: "price", Value: int32(120)}, {Name: "region", Value: "eu-west"},
	})}
	m := &core.Message{Format: core.FormatAMQP, Properties: p.Append(nil)}
	match, err := readSelection(map[string]any{argSelector: "price > 100 AND symbol IN ('IBM', 'AAPL') AND region LIKE 'eu-%'"}, "queue 's'", noDecode)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !match(m) {
			b.Fatal("does not match")
		}
	}
}
