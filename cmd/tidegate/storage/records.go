package storage

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/core/record"
)

// kindNames are what the kinds of records are called here.
var kindNames = map[record.Kind]string{
	record.KindMessage: "message", record.KindAck: "ack", record.KindStreamCreate: "stream-create",
	record.KindStreamDrop: "stream-drop", record.KindCursorCreate: "cursor-create", record.KindCursorDrop: "cursor-drop",
	record.KindDelivered: "delivered", record.KindSession: "session", record.KindSessionDrop: "session-drop",
	record.KindSubscription: "subscription", record.KindSubscriptionDrop: "subscription-drop",
	record.KindValue: "value", record.KindRelease: "release", record.KindLoss: "loss",
	record.KindPlaced: "placed", record.KindTransfer: "transfer", record.KindTransferred: "transferred",
	record.KindTransferDone: "transfer-done", record.KindReturns: "returns",
	record.KindHeld: "held", record.KindFire: "fire", record.KindCancel: "cancel", record.KindPlacedFire: "placed-fire",
}

// recordLine is a record. What the fields hold beside the first five depends on
// the kind.
type recordLine struct {
	LSN    record.LSN        `json:"lsn"`
	Time   int64             `json:"time_ms"`
	Kind   string            `json:"kind"`
	Bytes  int               `json:"bytes"` // of the body
	Fields map[string]string `json:"fields,omitempty"`
	// Payload is the beginning of a message's payload, as base64 in JSON.
	Payload []byte `json:"payload,omitempty"`
	Error   string `json:"error,omitempty"` // the body can't be decoded

	order []string
}

func (d *Dump) recordOf(lsn record.LSN, at int64, kind record.Kind, body []byte) recordLine {
	l := recordLine{LSN: lsn, Time: at, Kind: kindNames[kind], Bytes: len(body), Fields: map[string]string{}}
	if l.Kind == "" {
		l.Kind = "kind-" + strconv.Itoa(int(kind))
	}
	if err := l.decode(kind, body, d.Payload); err != nil {
		l.Error = err.Error()
	}
	return l
}

func (l *recordLine) set(name, value string) {
	if value != "" {
		l.Fields[name] = value
		l.order = append(l.order, name)
	}
}

func (l *recordLine) decode(kind record.Kind, body []byte, payload int) error {
	switch kind {
	case record.KindMessage, record.KindPlaced, record.KindHeld:
		message, _, err := record.MessageBody(kind, body)
		if err != nil {
			return err
		}
		return l.message(message, payload)
	case record.KindFire, record.KindPlacedFire, record.KindCancel:
		return l.held(kind, body)
	case record.KindAck:
		var a record.Ack
		if err := record.DecodeAck(body, &a); err != nil {
			return err
		}
		var ranges []string
		for _, r := range a.Ranges {
			ranges = append(ranges, fmt.Sprintf("%d-%d", r.First, r.End-1))
		}
		l.set("stream", hex(uint64(a.Stream)))
		l.set("cursor", hex(a.Cursor))
		l.set("offsets", strings.Join(ranges, ","))
	case record.KindStreamCreate:
		var s record.Stream
		if err := record.DecodeStream(body, &s); err != nil {
			return err
		}
		what := "queue"
		if s.Filter {
			what = "filter"
		}
		l.set("stream", hex(uint64(s.ID)))
		l.set("namespace", s.Namespace)
		l.set(what, s.Name)
	case record.KindStreamDrop, record.KindCursorCreate, record.KindCursorDrop, record.KindDelivered:
		c, err := record.DecodeCursorRef(body)
		if err != nil {
			return err
		}
		l.set("stream", hex(uint64(c.Stream)))
		l.set("cursor", hex(c.Cursor))
		l.set("offset", strconv.FormatUint(uint64(c.Offset), 10))
	case record.KindReturns:
		var r record.Returns
		if err := record.DecodeReturns(body, &r); err != nil {
			return err
		}
		l.set("stream", hex(uint64(r.Stream)))
		var times []string
		for _, m := range r.Of {
			times = append(times, fmt.Sprintf("%d:%d", m.Offset, m.Times))
		}
		l.set("returns", strings.Join(times, ","))
	case record.KindLoss:
		loss, err := record.DecodeLoss(body)
		if err != nil {
			return err
		}
		l.set("last_lsn", strconv.FormatUint(uint64(loss.End)-1, 10))
	case record.KindTransfer, record.KindTransferred, record.KindTransferDone:
		return l.transfer(kind, body)
	default:
		return l.session(kind, body)
	}
	return nil
}

// held is what became of a held message.
func (l *recordLine) held(kind record.Kind, body []byte) error {
	if kind == record.KindCancel {
		var c record.Cancel
		if err := record.DecodeCancel(body, &c); err != nil {
			return err
		}
		l.set("of", strconv.FormatUint(uint64(c.Body), 10))
		l.set("namespace", c.Namespace)
		l.set("schedule", c.Schedule)
		return nil
	}
	fire, _, err := record.FireBody(kind, body)
	if err != nil {
		return err
	}
	var f record.Fire
	if err := record.DecodeFire(fire, &f); err != nil {
		return err
	}
	l.set("of", strconv.FormatUint(uint64(f.Body), 10))
	l.describe(&f.Message, 0)
	return nil
}

func (l *recordLine) session(kind record.Kind, body []byte) error {
	switch kind {
	case record.KindSession, record.KindSessionDrop:
		var s record.Session
		if err := record.DecodeSession(body, &s); err != nil {
			return err
		}
		l.set("session", hex(s.ID))
		l.set("namespace", s.Namespace)
		l.set("client", s.Client)
		l.set("owner", s.Owner)
	case record.KindSubscription, record.KindSubscriptionDrop:
		var s record.Subscription
		if err := record.DecodeSubscription(body, &s); err != nil {
			return err
		}
		l.set("session", hex(s.Session))
		l.set("filter", s.Filter)
		l.set("qos", strconv.Itoa(int(s.QoS)))
	case record.KindValue:
		var v record.Value
		if err := record.DecodeValue(body, &v); err != nil {
			return err
		}
		l.set("session", hex(v.Session))
		l.set("key", strconv.FormatUint(uint64(v.Key), 10))
		l.set("size", strconv.Itoa(len(v.Value)))
	case record.KindRelease:
		o, err := record.DecodeOnce(body)
		if err != nil {
			return err
		}
		l.set("session", hex(o.Session))
		l.set("id", strconv.Itoa(int(o.ID)))
	default: // of a later version
	}
	return nil
}

func (l *recordLine) message(body []byte, payload int) error {
	var m record.Message
	if err := record.DecodeMessage(body, &m); err != nil {
		return err
	}
	l.describe(&m, payload)
	return nil
}

func (l *recordLine) describe(m *record.Message, payload int) {
	format := map[record.Format]string{1: "amqp", 2: "mqtt"}[m.Format]
	if format == "" {
		format = strconv.Itoa(int(m.Format))
	}
	streams := make([]string, m.NumStreams())
	for i := range streams {
		streams[i] = hex(uint64(m.StreamAt(i)))
	}
	l.set("format", format)
	l.set("namespace", string(m.Namespace))
	l.set("exchange", string(m.Exchange))
	l.set("key", string(m.Key))
	l.set("streams", strings.Join(streams, ","))
	l.set("qos", strconv.Itoa(int(m.QoS)))
	if m.Retain {
		l.set("retain", "true")
	}
	if m.ExpireAt != 0 {
		l.set("expires", clock(m.ExpireAt))
	}
	if m.DeliverAt != 0 {
		l.set("due", clock(m.DeliverAt))
	}
	l.set("schedule", string(m.Schedule))
	l.set("properties_size", strconv.Itoa(m.PropertiesSize()))
	l.set("payload_size", strconv.Itoa(m.PayloadSize()))
	l.Payload = m.Payload[:min(len(m.Payload), payload)]
}

func (l recordLine) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-10d %s  %-13s %d B", l.LSN, clock(l.Time), l.Kind, l.Bytes)
	for _, name := range l.order {
		value := l.Fields[name]
		if quoted := strconv.Quote(value); quoted != `"`+value+`"` || strings.Contains(value, " ") {
			value = quoted
		}
		fmt.Fprintf(&b, "  %s=%s", name, value)
	}
	if len(l.Payload) > 0 {
		fmt.Fprintf(&b, "  payload=%q", l.Payload)
	}
	if l.Error != "" {
		fmt.Fprintf(&b, "  ERROR: %s", l.Error)
	}
	return b.String()
}

func hex(v uint64) string { return strconv.FormatUint(v, 16) }
