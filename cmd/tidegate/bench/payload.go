package bench

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// A payload is telemetry JSON of a fixed size:
//
//	{"p":"0001","n":"000000000000002a","t":"17…","temp":21.53,"s01":83.21,…}
//
// with publisher, number and time in hexadecimal at fixed places, so that
// stamping and reading them costs nothing. The readings differ from message to
// message so that a broker that compresses meets real work.
const (
	payloadHead = `{"p":"0000","n":"0000000000000000","t":"0000000000000000"`
	publisherAt = len(`{"p":"`)
	numberAt    = len(`{"p":"0000","n":"`)
	timeAt      = len(`{"p":"0000","n":"0000000000000000","t":"`)
	variants    = 256
)

// payloads are the messages of one publisher, reused over and over.
type payloads struct {
	variant [variants][]byte
}

// newPayloads makes the messages of a publisher.
func newPayloads(publisher, size int) *payloads {
	p := &payloads{}
	rnd := rand.New(rand.NewPCG(uint64(publisher), uint64(size)))
	for i := range p.variant {
		p.variant[i] = telemetry(rnd, size)
		putHex(p.variant[i][publisherAt:publisherAt+4], uint64(publisher))
	}
	return p
}

// telemetry writes one JSON object of exactly size bytes.
func telemetry(rnd *rand.Rand, size int) []byte {
	var b strings.Builder
	b.WriteString(payloadHead)
	for sensor := 1; ; sensor++ {
		reading := fmt.Sprintf(`,"s%02d":%.2f`, sensor%100, 20+10*rnd.NormFloat64())
		if b.Len()+len(reading) > size-len(`,"":""}`) {
			break
		}
		b.WriteString(reading)
	}
	if pad := size - b.Len() - len(`,"":""}`); pad >= 0 {
		b.WriteString(`,"":"` + strings.Repeat(" ", pad) + `"}`)
	} else {
		b.WriteString(strings.Repeat(" ", size-b.Len()-1) + "}")
	}
	return []byte(b.String())
}

// stamped returns the payload of message n, sent at a time in nanoseconds. It
// is valid until variants messages later.
func (p *payloads) stamped(n uint64, at int64) []byte {
	payload := p.variant[n%variants]
	putHex(payload[numberAt:numberAt+16], n)
	putHex(payload[timeAt:timeAt+16], uint64(at))
	return payload
}

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
