package frametext

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// texts are the properties that are strings, by the names that lines have for them.
var texts = []struct {
	name string
	flag uint16
	of   func(p *wire.Properties) *[]byte
}{
	{"type", wire.FlagContentType, func(p *wire.Properties) *[]byte { return &p.ContentType }},
	{"encoding", wire.FlagContentEncoding, func(p *wire.Properties) *[]byte { return &p.ContentEncoding }},
	{"correlation", wire.FlagCorrelationID, func(p *wire.Properties) *[]byte { return &p.CorrelationID }},
	{"reply", wire.FlagReplyTo, func(p *wire.Properties) *[]byte { return &p.ReplyTo }},
	{"expiration", wire.FlagExpiration, func(p *wire.Properties) *[]byte { return &p.Expiration }},
	{"id", wire.FlagMessageID, func(p *wire.Properties) *[]byte { return &p.MessageID }},
	{"kind", wire.FlagType, func(p *wire.Properties) *[]byte { return &p.Type }},
	{"user", wire.FlagUserID, func(p *wire.Properties) *[]byte { return &p.UserID }},
	{"app", wire.FlagAppID, func(p *wire.Properties) *[]byte { return &p.AppID }},
	{"cluster", wire.FlagClusterID, func(p *wire.Properties) *[]byte { return &p.ClusterID }},
}

// contentOf reads properties and body. What is no property is a header; "headers"
// alone stands for an empty table of them.
func contentOf(words []string) (p wire.Properties, body []byte, err error) {
	var headers []wire.Field
	for _, word := range words {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "body":
			body = []byte(value)
		case "headers":
			p.Flags |= wire.FlagHeaders
		case "mode", "priority":
			n, err := strconv.ParseUint(value, 10, 8)
			if err != nil {
				return p, nil, fmt.Errorf("%w: %q", ErrSyntax, word)
			}
			if name == "mode" {
				p.Flags, p.DeliveryMode = p.Flags|wire.FlagDeliveryMode, uint8(n)
			} else {
				p.Flags, p.Priority = p.Flags|wire.FlagPriority, uint8(n)
			}
		case "timestamp":
			p.Flags |= wire.FlagTimestamp
			if p.Timestamp, err = strconv.ParseUint(value, 10, 64); err != nil {
				return p, nil, fmt.Errorf("%w: %q", ErrSyntax, word)
			}
		default:
			if setText(&p, name, value) {
				continue
			}
			field, err := parseField(word)
			if err != nil {
				return p, nil, err
			}
			p.Flags |= wire.FlagHeaders
			headers = append(headers, field)
		}
	}
	if headers != nil {
		p.Headers = wire.EncodeTable(headers)
	}
	return p, body, nil
}

func setText(p *wire.Properties, name, value string) bool {
	for _, t := range texts {
		if t.name == name {
			p.Flags |= t.flag
			*t.of(p) = []byte(value)
			return true
		}
	}
	return false
}

// describeHeader writes size, properties and headers, each as contentOf reads it.
func describeHeader(payload []byte) (string, error) {
	h, err := wire.ParseHeader(payload)
	if err != nil {
		return "", fmt.Errorf("header: %w", err)
	}
	var p wire.Properties
	if err := p.Parse(h.Properties); err != nil {
		return "", fmt.Errorf("properties: %w", err)
	}
	words := []string{"header", "size=" + strconv.FormatUint(h.BodySize, 10)}
	for _, t := range texts {
		if p.Has(t.flag) {
			words = append(words, quote(t.name+"="+string(*t.of(&p))))
		}
	}
	if p.Has(wire.FlagDeliveryMode) {
		words = append(words, "mode="+strconv.Itoa(int(p.DeliveryMode)))
	}
	if p.Has(wire.FlagPriority) {
		words = append(words, "priority="+strconv.Itoa(int(p.Priority)))
	}
	if p.Has(wire.FlagTimestamp) {
		words = append(words, "timestamp="+strconv.FormatUint(p.Timestamp, 10))
	}
	fields, err := p.Headers.Fields()
	if err != nil {
		return "", fmt.Errorf("headers: %w", err)
	}
	if p.Has(wire.FlagHeaders) && len(fields) == 0 {
		words = append(words, "headers")
	}
	for _, f := range fields {
		words = append(words, quote(describeField(f)))
	}
	return strings.Join(words, " "), nil
}
