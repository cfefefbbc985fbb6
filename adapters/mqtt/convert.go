package mqtt

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// Names of user properties that stand for properties which MQTT does not have.
const (
	userMessageID       = "x-message-id"
	userType            = "x-type"
	userAppID           = "x-app-id"
	userUserID          = "x-user-id"
	userPriority        = "x-priority"
	userTimestamp       = "x-timestamp"
	userContentEncoding = "x-content-encoding"
	userReplyTo         = "x-reply-to"
	userCorrelationID   = "x-correlation-id"
	userReplyToTopic    = "x-reply-to-topic"
	userPayloadFormat   = "x-payload-format"
)

// Properties reads the property bytes of a message of [core.FormatMQTT]. User
// properties that stand for a property of their own become that property. How
// persistent the message is follows from its QoS and is not among them.
func Properties(props []byte) (core.Properties, error) {
	var out core.Properties
	r := wire.PublishProperties(bytes.Clone(props))
	for {
		p, ok, err := r.Next()
		if err != nil || !ok {
			return out, err
		}
		switch p.ID {
		case wire.PropPayloadFormat:
			out.HasPayloadFormat, out.PayloadFormat = true, uint8(p.Num)
		case wire.PropMessageExpiry:
			out.HasExpiry, out.Expiry = true, time.Duration(p.Num)*time.Second
		case wire.PropContentType:
			out.ContentType = string(p.Data)
		case wire.PropResponseTopic:
			out.ResponseTopic = string(p.Data)
		case wire.PropCorrelationData:
			out.CorrelationID = p.Data
		case wire.PropUser:
			if !takeUser(&out, string(p.Data), string(p.Value)) {
				out.Headers = append(out.Headers, core.Header{Name: string(p.Data), Value: string(p.Value)})
			}
		}
	}
}

// takeUser moves a user property into the property that it stands for. It
// returns false when it stands for none, or for one that is there already.
func takeUser(out *core.Properties, name, value string) bool {
	var field *string
	switch name {
	case userMessageID:
		field = &out.MessageID
	case userType:
		field = &out.Type
	case userAppID:
		field = &out.AppID
	case userContentEncoding:
		field = &out.ContentEncoding
	case userReplyTo:
		field = &out.ReplyTo
	case userPriority:
		n, err := strconv.ParseUint(value, 10, 8)
		if err != nil || out.HasPriority {
			return false
		}
		out.HasPriority, out.Priority = true, uint8(n)
		return true
	case userTimestamp:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 || out.HasTimestamp {
			return false
		}
		out.HasTimestamp, out.Timestamp = true, n
		return true
	default:
		return false
	}
	// What does not fit a short string stays a user property.
	if *field != "" || value == "" || len(value) > 255 {
		return false
	}
	*field = value
	return true
}

// swapKey translates between topics and routing keys, both ways: the two
// separators change places, so that nothing is lost.
func swapKey(key []byte) []byte {
	out := bytes.Clone(key)
	for i, c := range out {
		switch c {
		case '.':
			out[i] = '/'
		case '/':
			out[i] = '.'
		}
	}
	return out
}

// convert fills in what a message of another protocol is to an MQTT client.
func (s *Server) convert(p *wire.Outgoing, m *core.Message) bool {
	topic := swapKey(m.Key)
	if !wire.ValidText(topic) || !wire.ValidTopic(topic) {
		s.counters.skippedTopic.Add(1)
		return false
	}
	p.Topic, p.Properties = topic, nil
	if !p.V5 {
		return true
	}
	props, err := s.broker.Decode(m)
	if err != nil {
		// The message has no properties that anybody could read; its body counts.
		props = core.Properties{}
	}
	p.Properties = encodeProperties(&props, m.ExpireAt != 0)
	return true
}

// encodeProperties returns the property bytes of a PUBLISH. expires asks for a
// message expiry interval, whose value is filled in when it is sent.
func encodeProperties(in *core.Properties, expires bool) []byte {
	correlation, responseTopic := in.CorrelationID, in.ResponseTopic
	format, hasFormat := in.PayloadFormat, in.HasPayloadFormat
	var dst, user []byte
	for _, h := range in.Headers {
		value, ok := headerText(h.Value)
		switch {
		case !ok || !utf8Field(h.Name):
			continue
		case h.Name == userCorrelationID && correlation == nil && len(value) <= wire.MaxText:
			correlation = []byte(value)
		case h.Name == userReplyToTopic && responseTopic == "":
			responseTopic = string(swapKey([]byte(value)))
		case h.Name == userPayloadFormat && !hasFormat && (value == "0" || value == "1"):
			format, hasFormat = value[0]-'0', true
		default:
			user = wire.AppendUserProperty(user, h.Name, value)
		}
	}
	if hasFormat && format <= 1 {
		dst = append(dst, wire.PropPayloadFormat, format)
	}
	if expires && in.HasExpiry {
		dst = append(dst, wire.PropMessageExpiry, 0, 0, 0, 0)
	}
	if in.ContentType != "" && utf8Field(in.ContentType) {
		dst = wire.AppendTextProperty(dst, wire.PropContentType, in.ContentType)
	}
	if utf8Field(responseTopic) && wire.ValidTopic([]byte(responseTopic)) {
		dst = wire.AppendTextProperty(dst, wire.PropResponseTopic, responseTopic)
	}
	if correlation != nil {
		dst = wire.AppendTextProperty(dst, wire.PropCorrelationData, string(correlation))
	}
	return appendNamed(append(dst, user...), in)
}

// appendNamed appends the properties that MQTT has no place for as user
// properties.
func appendNamed(dst []byte, in *core.Properties) []byte {
	text := func(name, value string) {
		if value != "" && utf8Field(value) {
			dst = wire.AppendUserProperty(dst, name, value)
		}
	}
	text(userMessageID, in.MessageID)
	text(userType, in.Type)
	text(userAppID, in.AppID)
	text(userUserID, in.UserID)
	text(userContentEncoding, in.ContentEncoding)
	text(userReplyTo, in.ReplyTo)
	if in.HasPriority {
		text(userPriority, strconv.Itoa(int(in.Priority)))
	}
	if in.HasTimestamp {
		text(userTimestamp, strconv.FormatInt(in.Timestamp, 10))
	}
	return dst
}

// headerText is a header's value as text; ok is false for what has none.
func headerText(v any) (s string, ok bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		s = v
	case []byte:
		s = string(v)
	case bool:
		return strconv.FormatBool(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), true
	case time.Time:
		return strconv.FormatInt(v.Unix(), 10), true
	default:
		return "", false
	}
	return s, utf8Field(s)
}

// utf8Field tells whether s can be a text field.
func utf8Field(s string) bool {
	if len(s) > wire.MaxText || !utf8.ValidString(s) {
		return false
	}
	for i := range len(s) {
		if s[i] == 0 {
			return false
		}
	}
	return true
}
