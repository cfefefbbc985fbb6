package amqp

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// Headers that carry what the other protocol has a field of its own for.
const (
	headerCorrelationID = "x-correlation-id"
	headerReplyTopic    = "x-reply-to-topic"
	headerPayloadFormat = "x-payload-format"
	headerRoutingKey    = "x-routing-key"
)

// Properties reads property flags and list. It is the decoder for
// [core.FormatAMQP]. Strings that are not UTF-8 are left out, but for the
// correlation id, which may be any bytes.
func Properties(props []byte) (core.Properties, error) {
	var out core.Properties
	if len(props) == 0 {
		return out, nil
	}
	var p wire.Properties
	if err := p.Parse(props); err != nil {
		return out, fmt.Errorf("decode AMQP properties: %w", err)
	}
	out.ContentType = text(p.ContentType)
	out.ContentEncoding = text(p.ContentEncoding)
	out.ReplyTo = text(p.ReplyTo)
	out.MessageID = text(p.MessageID)
	out.Type = text(p.Type)
	out.AppID = text(p.AppID)
	out.UserID = text(p.UserID)
	if p.Has(wire.FlagCorrelationID) {
		out.CorrelationID = append([]byte{}, p.CorrelationID...)
	}
	out.Persistent = p.Has(wire.FlagDeliveryMode) && p.DeliveryMode == 2
	out.HasPriority, out.Priority = p.Has(wire.FlagPriority), p.Priority
	if p.Has(wire.FlagTimestamp) && p.Timestamp <= math.MaxInt64 {
		out.HasTimestamp, out.Timestamp = true, int64(p.Timestamp)
	}
	if p.Has(wire.FlagExpiration) {
		if ttl, reason := parseExpiration(p.Expiration); reason == "" {
			out.HasExpiry, out.Expiry = true, ttl
		}
	}
	fields, err := p.Headers.Fields()
	if err != nil {
		return out, fmt.Errorf("decode AMQP headers: %w", err)
	}
	for _, f := range fields {
		if !takeHeader(&out, f) {
			out.Headers = append(out.Headers, core.Header{Name: f.Name, Value: headerValue(f.Value)})
		}
	}
	return out, nil
}

// takeHeader sets the property that a header stands for, if it does for one.
func takeHeader(p *core.Properties, f wire.Field) bool {
	value, isText := f.Value.(string)
	switch f.Name {
	case headerCorrelationID:
		if raw, isBytes := f.Value.([]byte); isBytes {
			value, isText = string(raw), true
		}
		if isText && p.CorrelationID == nil {
			p.CorrelationID = []byte(value)
			return true
		}
	case headerReplyTopic:
		if isText && p.ResponseTopic == "" && utf8.ValidString(value) {
			p.ResponseTopic = swapNames(value)
			return true
		}
	case headerPayloadFormat:
		if isText && (value == "0" || value == "1") {
			p.HasPayloadFormat, p.PayloadFormat = true, value[0]-'0'
			return true
		}
	}
	return false
}

func text(b []byte) string {
	if !utf8.Valid(b) {
		return ""
	}
	return string(b)
}

// headerValue turns a field's value into the engine's form.
func headerValue(v any) any {
	switch v := v.(type) {
	case []wire.Field:
		headers := make([]core.Header, len(v))
		for i, f := range v {
			headers[i] = core.Header{Name: f.Name, Value: headerValue(f.Value)}
		}
		return headers
	case []any:
		values := make([]any, len(v))
		for i, e := range v {
			values[i] = headerValue(e)
		}
		return values
	}
	return plainValue(v)
}

// fieldValue turns a header's value into that of a field.
func fieldValue(v any) any {
	switch v := v.(type) {
	case uint64:
		if v > math.MaxInt64 {
			return strconv.FormatUint(v, 10)
		}
		return int64(v)
	case time.Time:
		return wire.Timestamp(max(0, v.Unix()))
	case []core.Header:
		fields := make([]wire.Field, len(v))
		for i, h := range v {
			fields[i] = wire.Field{Name: h.Name, Value: fieldValue(h.Value)}
		}
		return fields
	case []any:
		values := make([]any, len(v))
		for i, e := range v {
			values[i] = fieldValue(e)
		}
		return values
	}
	return v
}

// swapNames turns a topic into a routing key, or the other way round: dots and
// slashes change places, so that nothing is lost.
func swapNames(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, s)
}
