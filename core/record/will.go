package record

import "encoding/binary"

// willVersion is the first byte of a will.
const willVersion = 1

// Will is a message that is published when its client's connection is lost. It is
// the value of a KindValue record, see [WillSession].
//
//	version u8 (1) | flags u8 (1: retain, 2: the message expires) | format u8 | qos u8
//	due uvarint ms | wait uvarint ms | expiry uvarint ms | namespace string | client string
//	owner string | exchange string | key string | properties string | payload string
type Will struct {
	Due  int64  // unix milliseconds when it is to be published; 0 while its client is connected
	Wait uint64 // milliseconds from the loss of the connection until then
	// Expiry, if Expires, is how long the message lives once it is published, in milliseconds.
	Expiry  uint64
	Expires bool
	Retain  bool
	Format  Format
	QoS     uint8

	Namespace, Client, Owner           string
	Exchange, Key, Properties, Payload []byte
}

// WillSession is the number under which the wills of a session's client are kept. A
// will outlives sessions, and a client whose session ends with its connection has one
// too: so it is no value of the session, whose number is odd, but of this even one.
func WillSession(session uint64) uint64 { return session &^ 1 }

// IsWillSession tells whether values of this number are wills.
func IsWillSession(number uint64) bool { return number&1 == 0 }

// AppendWill appends a will.
func AppendWill(dst []byte, w *Will) []byte {
	dst = append(dst, willVersion, flag(w.Retain, 1)|flag(w.Expires, 2), byte(w.Format), w.QoS)
	dst = binary.AppendUvarint(dst, uint64(w.Due))
	dst = binary.AppendUvarint(dst, w.Wait)
	dst = binary.AppendUvarint(dst, w.Expiry)
	for _, s := range []string{w.Namespace, w.Client, w.Owner} {
		dst = appendString(dst, s)
	}
	for _, b := range [][]byte{w.Exchange, w.Key, w.Properties, w.Payload} {
		dst = appendString(dst, b)
	}
	return dst
}

// DecodeWill reads a will. Its slices are copies.
func DecodeWill(body []byte, w *Will) error {
	r := reader{p: body}
	if r.u8() != willVersion && r.err == nil {
		r.err = ErrCorrupt
	}
	flags := r.u8()
	w.Retain, w.Expires = flags&1 != 0, flags&2 != 0
	w.Format, w.QoS = Format(r.u8()), r.u8()
	w.Due, w.Wait, w.Expiry = int64(r.uvarint()), r.uvarint(), r.uvarint()
	w.Namespace, w.Client, w.Owner = r.string(), r.string(), r.string()
	for _, b := range []*[]byte{&w.Exchange, &w.Key, &w.Properties, &w.Payload} {
		*b = []byte(r.string())
	}
	return r.close("will")
}
