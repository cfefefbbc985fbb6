package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A payload is telemetry JSON of a fixed size:
//
//	{"p":"0001","n":"000000000000002a","t":"17…","s01":21.53,"s02":83.21,…}
//
// with publisher, number and time in hexadecimal at fixed places, so that
// stamping and reading them costs little. Every message has fresh random
// readings: a broker that compresses must not find one it has seen before.
const (
	payloadHead = `{"p":"0000","n":"0000000000000000","t":"0000000000000000"`
	publisherAt = len(`{"p":"`)
	numberAt    = len(`{"p":"0000","n":"`)
	timeAt      = len(`{"p":"0000","n":"0000000000000000","t":"`)
)

// payloads makes the messages of one publisher in one buffer.
type payloads struct {
	buf      []byte
	readings []int // where the four digits of each reading start
	random   *rand.PCG
}

// newPayloads makes the messages of a publisher.
func newPayloads(publisher, size int) *payloads {
	p := &payloads{random: rand.NewPCG(uint64(publisher), uint64(size))}
	p.buf = append(make([]byte, 0, size), payloadHead...)
	putHex(p.buf[publisherAt:publisherAt+4], uint64(publisher))
	for sensor := 1; ; sensor++ {
		reading := fmt.Sprintf(`,"s%02d":10.00`, sensor%100)
		if len(p.buf)+len(reading) > size-len(`,"":""}`) {
			break
		}
		p.buf = append(p.buf, reading...)
		p.readings = append(p.readings, len(p.buf)-len("10.00"))
	}
	if pad := size - len(p.buf) - len(`,"":""}`); pad >= 0 {
		p.buf = fmt.Appendf(p.buf, `,"":"%s"}`, strings.Repeat(" ", pad))
	} else {
		p.buf = append(p.buf, strings.Repeat(" ", size-len(p.buf)-1)+"}"...)
	}
	return p
}

// stamped returns the payload of message n, sent at a time in nanoseconds. It
// is valid until the next call.
func (p *payloads) stamped(n uint64, at int64) []byte {
	putHex(p.buf[numberAt:numberAt+16], n)
	putHex(p.buf[timeAt:timeAt+16], uint64(at))
	var bits uint64
	for i, where := range p.readings {
		if i%4 == 0 {
			bits = p.random.Uint64()
		}
		p.measure(where, uint16(bits))
		bits >>= 16
	}
	return p.buf
}

// measure writes one reading from 10.00 to 99.99.
func (p *payloads) measure(where int, bits uint16) {
	whole, part := digits[10+bits>>8*90>>8], digits[bits&0xFF*100>>8]
	p.buf[where], p.buf[where+1] = whole[0], whole[1]
	p.buf[where+3], p.buf[where+4] = part[0], part[1]
}

// digits are the numbers from 00 to 99.
var digits = func() (d [100][2]byte) {
	for i := range d {
		d[i] = [2]byte{byte('0' + i/10), byte('0' + i%10)}
	}
	return d
}()

// stamp is what a payload says of itself.
type stamp struct {
	publisher int
	n         uint64
	at        int64
}

// readStamp reads the stamp of a payload; ok is false when it is none of ours.
func readStamp(payload []byte) (s stamp, ok bool) {
	if len(payload) < len(payloadHead) {
		return stamp{}, false
	}
	publisher, ok1 := hex(payload[publisherAt : publisherAt+4])
	n, ok2 := hex(payload[numberAt : numberAt+16])
	at, ok3 := hex(payload[timeAt : timeAt+16])
	return stamp{int(publisher), n, int64(at)}, ok1 && ok2 && ok3
}

const hexDigits = "0123456789abcdef"

// putHex writes v over all of dst.
func putHex(dst []byte, v uint64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = hexDigits[v&15]
		v >>= 4
	}
}

// hex reads hexadecimal digits.
func hex(src []byte) (v uint64, ok bool) {
	for _, c := range src {
		switch {
		case c >= '0' && c <= '9':
			v = v<<4 | uint64(c-'0')
		case c >= 'a' && c <= 'f':
			v = v<<4 | uint64(c-'a'+10)
		default:
			return 0, false
		}
	}
	return v, true
}
