package wire

import (
	"encoding/binary"
	"fmt"
)

// The flags of the properties that are present, in the order of their values.
const (
	FlagContentType     uint16 = 1 << 15
	FlagContentEncoding uint16 = 1 << 14
	FlagHeaders         uint16 = 1 << 13
	FlagDeliveryMode    uint16 = 1 << 12
	FlagPriority        uint16 = 1 << 11
	FlagCorrelationID   uint16 = 1 << 10
	FlagReplyTo         uint16 = 1 << 9
	FlagExpiration      uint16 = 1 << 8
	FlagMessageID       uint16 = 1 << 7
	FlagTimestamp       uint16 = 1 << 6
	FlagType            uint16 = 1 << 5
	FlagUserID          uint16 = 1 << 4
	FlagAppID           uint16 = 1 << 3
	FlagClusterID       uint16 = 1 << 2
)

// Properties are the content properties of class basic, in place: the bytes
// lie in what was decoded. A value counts only when its flag is set. Strings
// are not checked to be UTF-8.
type Properties struct {
	Flags           uint16
	ContentType     []byte
	ContentEncoding []byte
	Headers         Table
	DeliveryMode    uint8
	Priority        uint8
	CorrelationID   []byte
	ReplyTo         []byte
	Expiration      []byte
	MessageID       []byte
	Timestamp       uint64
	Type            []byte
	UserID          []byte
	AppID           []byte
	ClusterID       []byte
}

// Has tells whether all properties of the flags are present.
func (p *Properties) Has(flags uint16) bool { return p.Flags&flags == flags }

// Parse reads property flags and list, which must fill b. It allocates nothing.
func (p *Properties) Parse(b []byte) error {
	*p = Properties{}
	d := decoder{b: b}
	flags := d.short()
	if flags&3 != 0 {
		return fmt.Errorf("%w: property flags %#x", ErrSyntax, flags)
	}
	p.Flags = flags
	if flags&FlagContentType != 0 {
		p.ContentType = d.shortbytes()
	}
	if flags&FlagContentEncoding != 0 {
		p.ContentEncoding = d.shortbytes()
	}
	if flags&FlagHeaders != 0 {
		p.Headers = d.table()
	}
	if flags&FlagDeliveryMode != 0 {
		p.DeliveryMode = d.octet()
	}
	if flags&FlagPriority != 0 {
		p.Priority = d.octet()
	}
	if flags&^(FlagContentType|FlagContentEncoding|FlagHeaders|FlagDeliveryMode|FlagPriority) != 0 {
		p.parseRest(&d)
	}
	return d.end()
}

// parseRest reads the properties behind priority.
func (p *Properties) parseRest(d *decoder) {
	for _, s := range [...]struct {
		flag uint16
		to   *[]byte
	}{
		{FlagCorrelationID, &p.CorrelationID},
		{FlagReplyTo, &p.ReplyTo},
		{FlagExpiration, &p.Expiration},
		{FlagMessageID, &p.MessageID},
	} {
		if p.Flags&s.flag != 0 {
			*s.to = d.shortbytes()
		}
	}
	if p.Flags&FlagTimestamp != 0 {
		p.Timestamp = d.longlong()
	}
	for _, s := range [...]struct {
		flag uint16
		to   *[]byte
	}{
		{FlagType, &p.Type},
		{FlagUserID, &p.UserID},
		{FlagAppID, &p.AppID},
		{FlagClusterID, &p.ClusterID},
	} {
		if p.Flags&s.flag != 0 {
			*s.to = d.shortbytes()
		}
	}
}

// Append appends property flags and list.
func (p *Properties) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, p.Flags)
	dst = p.appendStrings(dst, FlagContentType, p.ContentType)
	dst = p.appendStrings(dst, FlagContentEncoding, p.ContentEncoding)
	if p.Has(FlagHeaders) {
		dst = appendLongstr(dst, p.Headers)
	}
	if p.Has(FlagDeliveryMode) {
		dst = append(dst, p.DeliveryMode)
	}
	if p.Has(FlagPriority) {
		dst = append(dst, p.Priority)
	}
	dst = p.appendStrings(dst, FlagCorrelationID, p.CorrelationID)
	dst = p.appendStrings(dst, FlagReplyTo, p.ReplyTo)
	dst = p.appendStrings(dst, FlagExpiration, p.Expiration)
	dst = p.appendStrings(dst, FlagMessageID, p.MessageID)
	if p.Has(FlagTimestamp) {
		dst = binary.BigEndian.AppendUint64(dst, p.Timestamp)
	}
	dst = p.appendStrings(dst, FlagType, p.Type)
	dst = p.appendStrings(dst, FlagUserID, p.UserID)
	dst = p.appendStrings(dst, FlagAppID, p.AppID)
	return p.appendStrings(dst, FlagClusterID, p.ClusterID)
}

func (p *Properties) appendStrings(dst []byte, flag uint16, s []byte) []byte {
	if !p.Has(flag) {
		return dst
	}
	return appendShortstr(dst, s)
}
