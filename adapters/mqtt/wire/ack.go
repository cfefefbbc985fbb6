package wire

// Ack is a PUBACK, PUBREC, PUBREL or PUBCOMP.
type Ack struct {
	PacketID   uint16
	Reason     Reason // Success on 3.1.1
	Properties []byte // alias the packet's bytes
}

// Decode reads the body of an acknowledgement of type t.
func (a *Ack) Decode(t Type, body []byte, v5 bool) error {
	*a = Ack{}
	var ok bool
	if a.PacketID, body, ok = cutUint16(body); !ok {
		return malformed("packet identifier")
	}
	if a.PacketID == 0 {
		return violation("packet identifier 0")
	}
	if len(body) == 0 {
		return nil
	}
	if !v5 {
		return malformed("bytes after the packet identifier")
	}
	a.Reason, body = Reason(body[0]), body[1:]
	if !validAckReason(t, a.Reason) {
		return violation("reason code")
	}
	if len(body) == 0 {
		return nil
	}
	block, rest, err := cutProperties(body)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return malformed("bytes after the properties")
	}
	a.Properties = block
	return checkProperties(block, t, nil)
}

func validAckReason(t Type, r Reason) bool {
	switch r {
	case Success:
		return true
	case PacketIDNotFound:
		return t == TypePubrel || t == TypePubcomp
	case NoMatchingSubscribers, UnspecifiedError, ImplementationSpecific, NotAuthorized,
		TopicNameInvalid, PacketIDInUse, QuotaExceeded, 0x99:
		return t == TypePuback || t == TypePubrec
	default:
		return false
	}
}

// AppendAck appends an acknowledgement. On 3.1.1 the reason is left away;
// detail, when not empty, becomes the reason string on MQTT 5.
func AppendAck(dst []byte, t Type, id uint16, r Reason, detail string, v5 bool) []byte {
	first := byte(t) << 4
	if t == TypePubrel {
		first |= 0x02
	}
	switch {
	case !v5 || r == Success && detail == "":
		return append(dst, first, 2, byte(id>>8), byte(id))
	case detail == "":
		return append(dst, first, 3, byte(id>>8), byte(id), byte(r))
	}
	detail = detail[:min(len(detail), MaxText)]
	props := 3 + len(detail)
	dst = appendVarint(append(dst, first), 3+varintSize(props)+props)
	dst = append(appendUint16(dst, id), byte(r))
	dst = append(appendVarint(dst, props), PropReasonString)
	return appendField(dst, detail)
}

// AppendPingresp appends a PINGRESP.
func AppendPingresp(dst []byte) []byte { return append(dst, byte(TypePingresp)<<4, 0) }
