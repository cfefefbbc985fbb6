package amqp

import (
	"cmp"
	"log/slog"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// envelope is what a message has beside exchange and body, as AMQP has it.
type envelope struct {
	key        []byte
	properties []byte
}

// envelope returns that of a message on its way to the client. Messages of
// AMQP publishers keep their bytes; the others are translated into a buffer of
// the connection, so the result is valid until the next call. The output's
// lock is held.
func (c *connection) envelope(m *core.Message) envelope {
	if m.Format == core.FormatAMQP {
		return envelope{key: m.Key, properties: m.Properties}
	}
	scratch := appendSwapped(c.out.scratch[:0], m.Key)
	end := len(scratch)
	scratch, err := appendTranslated(c.srv.broker, scratch, m, scratch[:end])
	if err != nil {
		c.log.Warn("properties of a message left out", slog.Any("error", err))
	}
	c.out.scratch = scratch
	return envelope{key: clipKey(scratch[:end:end]), properties: scratch[end:]}
}

// appendSwapped appends a topic as a routing key.
func appendSwapped(dst, topic []byte) []byte {
	for _, b := range topic {
		switch b {
		case '.':
			b = '/'
		case '/':
			b = '.'
		}
		dst = append(dst, b)
	}
	return dst
}

// maxShort is the length of the longest short string.
const maxShort = 255

// clipKey cuts a routing key that is longer than AMQP can say, at a character's border.
func clipKey(key []byte) []byte {
	if len(key) <= maxShort {
		return key
	}
	n := maxShort
	for n > 0 && !utf8.RuneStart(key[n]) {
		n--
	}
	return key[:n]
}

// appendTranslated appends the properties of a message that was not published
// over AMQP. Most have none, and then nothing is decoded. With an error the result
// is without those that could not be read.
func appendTranslated(b *core.Broker, dst []byte, m *core.Message, key []byte) ([]byte, error) {
	mode := uint8(1)
	if m.QoS > 0 {
		mode = 2
	}
	if len(m.Properties) == 0 && len(key) <= maxShort {
		p := wire.Properties{Flags: wire.FlagDeliveryMode, DeliveryMode: mode}
		return p.Append(dst), nil
	}
	neutral, err := b.Decode(m)
	if len(key) > maxShort {
		neutral.Headers = append(neutral.Headers, core.Header{Name: headerRoutingKey, Value: string(key)})
	}
	return appendNeutral(dst, &neutral, mode), err
}

// appendNeutral appends flags and list of neutral properties.
func appendNeutral(dst []byte, n *core.Properties, mode uint8) []byte {
	p := wire.Properties{Flags: wire.FlagDeliveryMode, DeliveryMode: mode}
	set := func(flag uint16, to *[]byte, s string) {
		if s != "" && len(s) <= maxShort && utf8.ValidString(s) {
			p.Flags |= flag
			*to = []byte(s)
		}
	}
	if ascii(n.ContentType) {
		set(wire.FlagContentType, &p.ContentType, n.ContentType)
	}
	set(wire.FlagContentEncoding, &p.ContentEncoding, n.ContentEncoding)
	set(wire.FlagReplyTo, &p.ReplyTo, n.ReplyTo)
	set(wire.FlagMessageID, &p.MessageID, n.MessageID)
	set(wire.FlagType, &p.Type, n.Type)
	set(wire.FlagAppID, &p.AppID, n.AppID)
	set(wire.FlagUserID, &p.UserID, n.UserID)
	if n.HasPriority {
		p.Flags |= wire.FlagPriority
		p.Priority = n.Priority
	}
	if n.HasTimestamp && n.Timestamp >= 0 {
		p.Flags |= wire.FlagTimestamp
		p.Timestamp = uint64(n.Timestamp)
	}
	if n.HasExpiry {
		set(wire.FlagExpiration, &p.Expiration, strconv.FormatInt(n.Expiry.Milliseconds(), 10))
	}
	headers := slices.Clone(n.Headers)
	if n.CorrelationID != nil && !setCorrelation(&p, n.CorrelationID) {
		headers = append(headers, core.Header{Name: headerCorrelationID, Value: string(n.CorrelationID)})
	}
	if n.ResponseTopic != "" {
		headers = append(headers, core.Header{Name: headerReplyTopic, Value: swapNames(n.ResponseTopic)})
	}
	if n.HasPayloadFormat {
		headers = append(headers, core.Header{Name: headerPayloadFormat, Value: strconv.Itoa(int(n.PayloadFormat))})
	}
	if len(headers) > 0 {
		p.Flags |= wire.FlagHeaders
		p.Headers = encodeHeaders(headers)
	}
	return p.Append(dst)
}

// setCorrelation sets the correlation id if it is one that AMQP can carry.
func setCorrelation(p *wire.Properties, id []byte) bool {
	if len(id) > maxShort || !utf8.Valid(id) {
		return false
	}
	p.Flags |= wire.FlagCorrelationID
	p.CorrelationID = id
	return true
}

// encodeHeaders makes a table sorted by name. Of repeated names the first is
// kept, and names that are too long for AMQP are left out.
func encodeHeaders(headers []core.Header) wire.Table {
	headers = slices.DeleteFunc(headers, func(h core.Header) bool { return len(h.Name) > maxShort })
	slices.SortStableFunc(headers, func(a, b core.Header) int { return cmp.Compare(a.Name, b.Name) })
	headers = slices.CompactFunc(headers, func(a, b core.Header) bool { return a.Name == b.Name })
	fields := make([]wire.Field, len(headers))
	for i, h := range headers {
		fields[i] = wire.Field{Name: h.Name, Value: fieldValue(h.Value)}
	}
	return wire.EncodeTable(fields)
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
