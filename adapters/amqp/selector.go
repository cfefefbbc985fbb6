package amqp

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/selector"
)

// Arguments of consumers that choose messages by their properties: a condition, under
// the name that Qpid gave it, and tags as in RocketMQ, "TagA || TagB", of which a
// message has one in the header of that name.
const (
	argSelector = "x-filter-jms-selector"
	argTag      = "x-tag"
	headerTag   = "x-tag"
)

// readSelection reads the arguments that choose messages of a stream; nil without any.
// A message has to pass all of them.
func readSelection(args map[string]any, queue string, decode func(*core.Message) (core.Properties, error)) (func(*core.Message) bool, error) {
	var matches []func(*core.Message) bool
	filter, err := readStreamFilter(args, queue, decode)
	if err != nil {
		return nil, err
	}
	if filter != nil {
		matches = append(matches, filter.match)
	}
	for _, read := range []struct {
		argument string
		match    func(text string, decode func(*core.Message) (core.Properties, error)) (func(*core.Message) bool, error)
	}{{argSelector, selectorMatch}, {argTag, tagMatch}} {
		given, ok := args[read.argument]
		if !ok {
			continue
		}
		text, ok := given.(string)
		if !ok {
			return nil, refuse(codePreconditionFailed, `invalid arg '%s' for %s: "expected string, got %s"`, read.argument, queue, typeOf(given))
		}
		if args[argumentGroup] != nil {
			return nil, refuse(codePreconditionFailed, `invalid arg '%s' for %s: "consumer groups have no filters"`, read.argument, queue)
		}
		match, err := read.match(text, decode)
		if err != nil {
			return nil, refuse(codePreconditionFailed, "invalid arg '%s' for %s: %s", read.argument, queue, err.Error())
		}
		matches = append(matches, match)
	}
	switch len(matches) {
	case 0:
		return nil, nil
	case 1:
		return matches[0], nil
	}
	return func(m *core.Message) bool {
		for _, match := range matches {
			if !match(m) {
				return false
			}
		}
		return true
	}, nil
}

func selectorMatch(text string, decode func(*core.Message) (core.Properties, error)) (func(*core.Message) bool, error) {
	condition, err := selector.Parse(text)
	if err != nil {
		return nil, err
	}
	// A consumer's messages are chosen one at a time.
	source := &selected{decode: decode}
	return func(m *core.Message) bool {
		source.read(m)
		return condition.Match(source)
	}, nil
}

func tagMatch(text string, decode func(*core.Message) (core.Properties, error)) (func(*core.Message) bool, error) {
	tags := map[string]bool{}
	for tag := range strings.SplitSeq(text, "||") {
		if tag = strings.TrimSpace(tag); tag == "" {
			return nil, errors.New("a tag is empty")
		}
		tags[tag] = true
	}
	source := &selected{decode: decode}
	return func(m *core.Message) bool {
		if tags["*"] {
			return true
		}
		source.read(m)
		v := source.Field(headerTag)
		return tags[string(v.Text)]
	}, nil
}

// selected is a message that a selector is asked about. Properties of AMQP are looked
// at in place.
type selected struct {
	decode  func(*core.Message) (core.Properties, error)
	native  wire.Properties
	other   core.Properties
	foreign bool
	payload []byte
}

// read takes the next message. Properties that can't be read are none.
func (s *selected) read(m *core.Message) {
	s.native, s.payload = wire.Properties{}, m.Payload
	if s.foreign = m.Format != core.FormatAMQP; s.foreign {
		var err error
		if s.other, err = s.decode(m); err != nil {
			s.other = core.Properties{}
		}
		return
	}
	if len(m.Properties) > 0 && s.native.Parse(m.Properties) != nil {
		s.native = wire.Properties{}
	}
}

// Payload implements selector.Source.
func (s *selected) Payload() []byte { return s.payload }

// Field implements selector.Source: a header, of which the first of a name counts, or
// a property under the name that JMS gives it.
func (s *selected) Field(name string) selector.Value {
	if strings.HasPrefix(name, "JMS") {
		if s.foreign {
			return s.foreignProperty(name)
		}
		return s.property(name)
	}
	if s.foreign {
		for i := range s.other.Headers {
			if h := &s.other.Headers[i]; h.Name == name {
				return foreignValue(h.Value)
			}
		}
		return selector.Value{}
	}
	if !s.native.Has(wire.FlagHeaders) {
		return selector.Value{}
	}
	for it := s.native.Headers.Iter(); it.Next(); {
		if string(it.Name()) == name {
			return nativeValue(it.Tag(), it.Raw())
		}
	}
	return selector.Value{}
}

func (s *selected) property(name string) selector.Value {
	p := &s.native
	text := func(flag uint16, b []byte) selector.Value {
		if !p.Has(flag) {
			return selector.Value{}
		}
		return selector.Value{Kind: selector.Text, Text: b}
	}
	switch name {
	case "JMSMessageID":
		return text(wire.FlagMessageID, p.MessageID)
	case "JMSCorrelationID":
		return text(wire.FlagCorrelationID, p.CorrelationID)
	case "JMSType":
		return text(wire.FlagType, p.Type)
	case "JMSReplyTo":
		return text(wire.FlagReplyTo, p.ReplyTo)
	case "JMSXUserID":
		return text(wire.FlagUserID, p.UserID)
	case "JMSXAppID":
		return text(wire.FlagAppID, p.AppID)
	case "JMSPriority":
		if p.Has(wire.FlagPriority) {
			return selector.Value{Kind: selector.Int, Int: int64(p.Priority)}
		}
	case "JMSTimestamp":
		if p.Has(wire.FlagTimestamp) {
			return milliseconds(int64(min(p.Timestamp, math.MaxInt64)))
		}
	case "JMSDeliveryMode":
		return deliveryMode(p.Has(wire.FlagDeliveryMode) && p.DeliveryMode == 2)
	}
	return selector.Value{}
}

func (s *selected) foreignProperty(name string) selector.Value {
	p := &s.other
	text := map[string]string{
		"JMSMessageID": p.MessageID, "JMSCorrelationID": string(p.CorrelationID), "JMSType": p.Type,
		"JMSReplyTo": p.ReplyTo, "JMSXUserID": p.UserID, "JMSXAppID": p.AppID,
	}[name]
	switch {
	case text != "":
		return selector.Value{Kind: selector.Text, Text: []byte(text)}
	case name == "JMSPriority" && p.HasPriority:
		return selector.Value{Kind: selector.Int, Int: int64(p.Priority)}
	case name == "JMSTimestamp" && p.HasTimestamp:
		return milliseconds(p.Timestamp)
	case name == "JMSDeliveryMode":
		return deliveryMode(p.Persistent)
	}
	return selector.Value{}
}

// milliseconds is a time of JMS; AMQP's counts seconds.
func milliseconds(seconds int64) selector.Value {
	if seconds > math.MaxInt64/1000 || seconds < math.MinInt64/1000 {
		return selector.Value{}
	}
	return selector.Value{Kind: selector.Int, Int: seconds * 1000}
}

var persistent, nonPersistent = []byte("PERSISTENT"), []byte("NON_PERSISTENT")

func deliveryMode(isPersistent bool) selector.Value {
	if isPersistent {
		return selector.Value{Kind: selector.Text, Text: persistent}
	}
	return selector.Value{Kind: selector.Text, Text: nonPersistent}
}

// nativeValue reads a header in place. Tables, arrays and bytes have no value to compare.
func nativeValue(tag byte, b []byte) selector.Value {
	number := func(n int64) selector.Value { return selector.Value{Kind: selector.Int, Int: n} }
	float := func(f float64) selector.Value { return selector.Value{Kind: selector.Float, Float: f} }
	switch tag {
	case 't':
		return selector.Value{Kind: selector.Bool, True: b[0] != 0}
	case 'b':
		return number(int64(int8(b[0])))
	case 'B':
		return number(int64(b[0]))
	case 's':
		return number(int64(int16(binary.BigEndian.Uint16(b))))
	case 'u':
		return number(int64(binary.BigEndian.Uint16(b)))
	case 'I':
		return number(int64(int32(binary.BigEndian.Uint32(b))))
	case 'i':
		return number(int64(binary.BigEndian.Uint32(b)))
	case 'l', 'L', 'T': // RabbitMQ takes L and T for signed too
		return number(int64(binary.BigEndian.Uint64(b)))
	case 'f':
		return float(float64(math.Float32frombits(binary.BigEndian.Uint32(b))))
	case 'd':
		return float(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 'D':
		return float(float64(binary.BigEndian.Uint32(b[1:])) / math.Pow10(int(b[0])))
	case 'S':
		return selector.Value{Kind: selector.Text, Text: b}
	}
	return selector.Value{}
}

// foreignValue reads a header of another protocol, where text may be meant as a number.
func foreignValue(value any) selector.Value {
	switch v := value.(type) {
	case string:
		return selector.Value{Kind: selector.Loose, Text: []byte(v)}
	case bool:
		return selector.Value{Kind: selector.Bool, True: v}
	case int64:
		return selector.Value{Kind: selector.Int, Int: v}
	case uint64:
		return selector.Value{Kind: selector.Float, Float: float64(v)}
	case float64:
		return selector.Value{Kind: selector.Float, Float: v}
	case time.Time:
		return selector.Value{Kind: selector.Int, Int: v.Unix()}
	}
	return selector.Value{}
}
