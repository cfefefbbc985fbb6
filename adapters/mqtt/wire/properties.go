package wire

// The identifiers of the properties of MQTT 5.
const (
	PropPayloadFormat          = 0x01
	PropMessageExpiry          = 0x02
	PropContentType            = 0x03
	PropResponseTopic          = 0x08
	PropCorrelationData        = 0x09
	PropSubscriptionIdentifier = 0x0b
	PropSessionExpiry          = 0x11
	PropAuthMethod             = 0x15
	PropAuthData               = 0x16
	PropRequestProblemInfo     = 0x17
	PropWillDelay              = 0x18
	PropRequestResponseInfo    = 0x19
	PropServerReference        = 0x1c
	PropReasonString           = 0x1f
	PropReceiveMaximum         = 0x21
	PropTopicAliasMaximum      = 0x22
	PropTopicAlias             = 0x23
	PropUser                   = 0x26
	PropMaximumPacketSize      = 0x27
)

// typeWill stands for the will properties of a CONNECT, which have a block of
// their own.
const typeWill Type = 16

type propertyKind uint8

const (
	kindByte propertyKind = iota + 1
	kindUint16
	kindUint32
	kindVarint
	kindText
	kindBinary
	kindPair
)

// propertyRule says how a property is written and in which packets of a client
// it may stand.
type propertyRule struct {
	kind propertyKind
	in   uint32 // bit per Type
	// flag limits a byte to 0 and 1; positive refuses zero.
	flag, positive bool
}

func in(types ...Type) uint32 {
	var mask uint32
	for _, t := range types {
		mask |= 1 << t
	}
	return mask
}

var propertyRules = [...]propertyRule{
	PropPayloadFormat:          {kind: kindByte, in: in(TypePublish, typeWill), flag: true},
	PropMessageExpiry:          {kind: kindUint32, in: in(TypePublish, typeWill)},
	PropContentType:            {kind: kindText, in: in(TypePublish, typeWill)},
	PropResponseTopic:          {kind: kindText, in: in(TypePublish, typeWill)},
	PropCorrelationData:        {kind: kindBinary, in: in(TypePublish, typeWill)},
	PropSubscriptionIdentifier: {kind: kindVarint, in: in(TypeSubscribe), positive: true},
	PropSessionExpiry:          {kind: kindUint32, in: in(TypeConnect, TypeDisconnect)},
	PropAuthMethod:             {kind: kindText, in: in(TypeConnect, TypeAuth)},
	PropAuthData:               {kind: kindBinary, in: in(TypeConnect, TypeAuth)},
	PropRequestProblemInfo:     {kind: kindByte, in: in(TypeConnect), flag: true},
	PropWillDelay:              {kind: kindUint32, in: in(typeWill)},
	PropRequestResponseInfo:    {kind: kindByte, in: in(TypeConnect), flag: true},
	PropReasonString: {kind: kindText, in: in(TypePuback, TypePubrec, TypePubrel, TypePubcomp,
		TypeDisconnect, TypeAuth)},
	PropReceiveMaximum:    {kind: kindUint16, in: in(TypeConnect), positive: true},
	PropTopicAliasMaximum: {kind: kindUint16, in: in(TypeConnect)},
	PropTopicAlias:        {kind: kindUint16, in: in(TypePublish)},
	PropUser: {kind: kindPair, in: in(TypeConnect, TypePublish, TypePuback, TypePubrec, TypePubrel,
		TypePubcomp, TypeSubscribe, TypeUnsubscribe, TypeDisconnect, TypeAuth, typeWill)},
	PropMaximumPacketSize: {kind: kindUint32, in: in(TypeConnect), positive: true},
}

// Property is one property. Which of the fields is set follows from its kind.
type Property struct {
	ID    byte
	Num   uint32
	Data  []byte // text or binary; the name of a user property
	Value []byte // the value of a user property
	// Start and End are its place in the block, identifier included.
	Start, End int
}

// PropertyReader walks over a property block and checks it on the way: known
// identifiers, allowed in the packet, once each except user properties, values
// in range.
type PropertyReader struct {
	block []byte
	off   int
	seen  uint64
	bit   uint32
}

// PublishProperties reads the properties of a PUBLISH, without their length.
func PublishProperties(block []byte) PropertyReader {
	return PropertyReader{block: block, bit: 1 << TypePublish}
}

// Next returns the next property; ok is false at the end. What it returns
// aliases the block.
func (r *PropertyReader) Next() (p Property, ok bool, err error) {
	if r.off >= len(r.block) {
		return Property{}, false, nil
	}
	p.Start = r.off
	p.ID = r.block[r.off]
	if int(p.ID) >= len(propertyRules) || propertyRules[p.ID].kind == 0 {
		return p, false, malformed("unknown property")
	}
	rule := propertyRules[p.ID]
	if rule.in&r.bit == 0 {
		if p.ID == PropSubscriptionIdentifier && r.bit == 1<<TypePublish {
			return p, false, violation("subscription identifier from a client")
		}
		return p, false, malformed("property not allowed in this packet")
	}
	if p.ID != PropUser {
		if r.seen&(1<<p.ID) != 0 {
			return p, false, violation("property given twice")
		}
		r.seen |= 1 << p.ID
	}
	rest, ok := p.parse(rule.kind, r.block[r.off+1:])
	if !ok {
		return p, false, malformed("property value")
	}
	if rule.flag && p.Num > 1 || rule.positive && p.Num == 0 {
		return p, false, violation("property value out of range")
	}
	r.off = len(r.block) - len(rest)
	p.End = r.off
	return p, true, nil
}

func (p *Property) parse(kind propertyKind, b []byte) (rest []byte, ok bool) {
	switch kind {
	case kindByte:
		if len(b) < 1 {
			return nil, false
		}
		p.Num = uint32(b[0])
		return b[1:], true
	case kindUint16:
		v, rest, ok := cutUint16(b)
		p.Num = uint32(v)
		return rest, ok
	case kindUint32:
		if len(b) < 4 {
			return nil, false
		}
		p.Num = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		return b[4:], true
	case kindVarint:
		v, n, err := parseVarint(b, true)
		if err != nil || n == 0 {
			return nil, false
		}
		p.Num = uint32(v)
		return b[n:], true
	case kindText:
		p.Data, rest, ok = cutText(b)
		return rest, ok
	case kindBinary:
		p.Data, rest, ok = cutBinary(b)
		return rest, ok
	case kindPair:
		if p.Data, rest, ok = cutText(b); !ok {
			return nil, false
		}
		p.Value, rest, ok = cutText(rest)
		return rest, ok
	default:
		return nil, false
	}
}

// cutProperties cuts a property block, with its length, off the front of b.
func cutProperties(b []byte) (block, rest []byte, err error) {
	n, size, err := parseVarint(b, true)
	if err != nil {
		return nil, nil, err
	}
	if size == 0 || len(b)-size < n {
		return nil, nil, malformed("property length")
	}
	return b[size : size+n : size+n], b[size+n:], nil
}

// checkProperties walks over a block and calls see for each property.
func checkProperties(block []byte, t Type, see func(Property)) error {
	r := PropertyReader{block: block, bit: 1 << t}
	for {
		p, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if see != nil {
			see(p)
		}
	}
}

// cutOut removes the bytes [start, end) from b without allocation, by moving
// what stands before them. It overwrites b.
func cutOut(b []byte, start, end int) []byte {
	copy(b[end-start:end], b[:start])
	return b[end-start:]
}

// AppendTextProperty appends a property that is text or binary. The value must
// fit a field, see [MaxText].
func AppendTextProperty(dst []byte, id byte, value string) []byte {
	return appendField(append(dst, id), value)
}

// AppendUserProperty appends a user property. Both parts must fit a field.
func AppendUserProperty(dst []byte, name, value string) []byte {
	return appendField(appendField(append(dst, PropUser), name), value)
}
