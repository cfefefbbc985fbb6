package wire

import "strconv"

// Publish is a PUBLISH as received. Its slices alias the packet's bytes.
type Publish struct {
	Topic []byte // empty when only Alias is given
	// Properties are the property bytes without their length and without the
	// topic alias, which means something on its connection only. 3.1.1: empty.
	Properties []byte
	Payload    []byte
	PacketID   uint16 // 0 for QoS 0
	QoS        uint8
	Dup        bool
	Retain     bool
	HasAlias   bool
	Alias      uint16
	HasExpiry  bool
	Expiry     uint32 // message expiry interval in seconds
}

// Decode reads the body of a PUBLISH. It may move property bytes within body.
// Topic names are checked for wildcards and form, not for `$`.
func (p *Publish) Decode(flags byte, body []byte, v5 bool) error {
	*p = Publish{Dup: flags&0x08 != 0, QoS: flags >> 1 & 3, Retain: flags&1 != 0}
	var ok bool
	if p.Topic, body, ok = cutText(body); !ok {
		return malformed("topic name")
	}
	if len(p.Topic) > 0 && !ValidTopic(p.Topic) {
		return &Error{Reason: TopicNameInvalid, Detail: "topic name with wildcards or too many levels"}
	}
	if p.QoS > 0 {
		if p.PacketID, body, ok = cutUint16(body); !ok {
			return malformed("packet identifier")
		}
		if p.PacketID == 0 {
			return violation("packet identifier 0")
		}
	}
	if v5 {
		block, rest, err := cutProperties(body)
		if err != nil {
			return err
		}
		body = rest
		if err := p.decodeProperties(block); err != nil {
			return err
		}
	}
	if len(p.Topic) == 0 && !p.HasAlias {
		if v5 {
			return violation("neither topic nor alias")
		}
		return malformed("empty topic name")
	}
	p.Payload = body
	return nil
}

func (p *Publish) decodeProperties(block []byte) error {
	p.Properties = block
	if len(block) == 0 {
		return nil
	}
	r := PublishProperties(block)
	var start, end int
	for {
		prop, ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		switch prop.ID {
		case PropTopicAlias:
			p.HasAlias, p.Alias = true, uint16(prop.Num)
			start, end = prop.Start, prop.End
		case PropMessageExpiry:
			p.HasExpiry, p.Expiry = true, prop.Num
		case PropResponseTopic:
			if !ValidTopic(prop.Data) {
				return violation("response topic")
			}
		}
	}
	if p.HasAlias {
		p.Properties = cutOut(block, start, end)
	}
	return nil
}

// Outgoing is a PUBLISH to be sent.
type Outgoing struct {
	Topic []byte
	// Alias, when not 0, is sent along; OmitTopic leaves the topic away because
	// the receiver knows the alias.
	Alias     uint16
	OmitTopic bool
	// Properties are the publisher's property bytes. A message expiry interval
	// among them is replaced by Expiry, the seconds that are left.
	Properties  []byte
	Expiry      uint32
	Identifiers []uint32 // subscription identifiers
	// Failures, when not 0, is sent along as the user property x-delivery-count.
	Failures uint32
	Payload  []byte
	PacketID uint16 // not 0 for QoS 1 and 2
	QoS      uint8
	Dup      bool
	Retain   bool
	V5       bool
}

// Size is the packet's length in bytes with its fixed header.
func (o *Outgoing) Size() int {
	n := o.length()
	return 1 + varintSize(n) + n
}

func (o *Outgoing) topicSize() int {
	if o.OmitTopic {
		return 2
	}
	return 2 + len(o.Topic)
}

func (o *Outgoing) propertiesSize() int {
	n := len(o.Properties)
	if o.Alias != 0 {
		n += 3
	}
	for _, id := range o.Identifiers {
		n += 1 + varintSize(int(id))
	}
	if o.Failures > 0 {
		n += 1 + 2 + len(failures) + 2 + decimals(o.Failures)
	}
	return n
}

// failures is the name of the user property that tells how often members of a group failed on
// a message.
const failures = "x-delivery-count"

func decimals(n uint32) (digits int) {
	for ; n > 0; n /= 10 {
		digits++
	}
	return digits
}

func (o *Outgoing) length() int {
	n := o.topicSize() + len(o.Payload)
	if o.QoS > 0 {
		n += 2
	}
	if o.V5 {
		props := o.propertiesSize()
		n += varintSize(props) + props
	}
	return n
}

// Append appends the packet to dst.
func (o *Outgoing) Append(dst []byte) []byte {
	first := byte(TypePublish)<<4 | o.QoS<<1
	if o.Dup {
		first |= 0x08
	}
	if o.Retain {
		first |= 0x01
	}
	dst = append(dst, first)
	dst = appendVarint(dst, o.length())
	if o.OmitTopic {
		dst = append(dst, 0, 0)
	} else {
		dst = appendField(dst, o.Topic)
	}
	if o.QoS > 0 {
		dst = appendUint16(dst, o.PacketID)
	}
	if o.V5 {
		dst = o.appendProperties(dst)
	}
	return append(dst, o.Payload...)
}

func (o *Outgoing) appendProperties(dst []byte) []byte {
	dst = appendVarint(dst, o.propertiesSize())
	at := len(dst)
	dst = append(dst, o.Properties...)
	if off := expiryOffset(o.Properties); off >= 0 {
		appendUint32(dst[:at+off], o.Expiry)
	}
	if o.Alias != 0 {
		dst = appendUint16(append(dst, PropTopicAlias), o.Alias)
	}
	for _, id := range o.Identifiers {
		dst = appendVarint(append(dst, PropSubscriptionIdentifier), int(id))
	}
	if o.Failures > 0 {
		dst = appendField(append(dst, PropUser), failures)
		dst = appendUint16(dst, uint16(decimals(o.Failures)))
		dst = strconv.AppendUint(dst, uint64(o.Failures), 10)
	}
	return dst
}

// expiryOffset returns where the four bytes of the message expiry interval
// stand in a property block, or -1.
func expiryOffset(block []byte) int {
	if len(block) == 0 {
		return -1
	}
	r := PublishProperties(block)
	for {
		p, ok, err := r.Next()
		if err != nil || !ok {
			return -1
		}
		if p.ID == PropMessageExpiry {
			return p.Start + 1
		}
	}
}
