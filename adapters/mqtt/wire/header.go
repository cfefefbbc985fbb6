package wire

// Type is the kind of a packet.
type Type uint8

// The packet types.
const (
	TypeConnect Type = iota + 1
	TypeConnack
	TypePublish
	TypePuback
	TypePubrec
	TypePubrel
	TypePubcomp
	TypeSubscribe
	TypeSuback
	TypeUnsubscribe
	TypeUnsuback
	TypePingreq
	TypePingresp
	TypeDisconnect
	TypeAuth
)

// MaxLength is the largest remaining length that four bytes can say.
const MaxLength = 268_435_455

// MaxHeaderSize is the size of the largest fixed header.
const MaxHeaderSize = 5

// Header is a fixed header.
type Header struct {
	Type  Type
	Flags byte // the low four bits
	// Size is the length of the fixed header itself, Length that of the body.
	Size, Length int
}

// ParseHeader reads the fixed header at the start of b. ok is false while b
// holds too little of it. strict refuses lengths in more bytes than needed,
// as MQTT 5 does.
func ParseHeader(b []byte, strict bool) (h Header, ok bool, err error) {
	if len(b) == 0 {
		return Header{}, false, nil
	}
	h = Header{Type: Type(b[0] >> 4), Flags: b[0] & 0x0f}
	if err := checkFlags(h); err != nil {
		return Header{}, false, err
	}
	length, n, err := parseVarint(b[1:], strict)
	if err != nil {
		return Header{}, false, err
	}
	if n == 0 {
		return Header{}, false, nil
	}
	h.Size, h.Length = 1+n, length
	return h, true, nil
}

func checkFlags(h Header) error {
	switch h.Type {
	case 0:
		return malformed("packet type 0")
	case TypePublish:
		if h.Flags&0x06 == 0x06 {
			return malformed("PUBLISH with QoS 3")
		}
		if h.Flags&0x0e == 0x08 {
			return violation("PUBLISH with DUP and QoS 0")
		}
	case TypePubrel, TypeSubscribe, TypeUnsubscribe:
		if h.Flags != 0x02 {
			return malformed("fixed header flags")
		}
	default:
		if h.Flags != 0 {
			return malformed("fixed header flags")
		}
	}
	return nil
}

// parseVarint reads a variable byte integer of at most four bytes; n is 0
// while b ends within it.
func parseVarint(b []byte, strict bool) (v, n int, err error) {
	for i := range min(len(b), 4) {
		v |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			if strict && i > 0 && b[i] == 0 {
				return 0, 0, malformed("variable byte integer not minimal")
			}
			return v, i + 1, nil
		}
	}
	if len(b) >= 4 {
		return 0, 0, malformed("variable byte integer of more than four bytes")
	}
	return 0, 0, nil
}

func appendVarint(dst []byte, v int) []byte {
	for v >= 0x80 {
		dst = append(dst, byte(v)|0x80)
		v >>= 7
	}
	return append(dst, byte(v))
}

func varintSize(v int) int {
	switch {
	case v < 1<<7:
		return 1
	case v < 1<<14:
		return 2
	case v < 1<<21:
		return 3
	default:
		return 4
	}
}
