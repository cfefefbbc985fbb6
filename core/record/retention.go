package record

import "encoding/binary"

// Truncate moves the beginning of a stream. The shard's owner decides it by
// clock and size, and every replay does the same by the record.
//
//	stream u64 | low uvarint | bytes uvarint
type Truncate struct {
	Stream StreamID
	Low    Offset // first offset that stays
	Bytes  uint64 // of the messages in the chunks that go whole
}

// AppendTruncate appends the body of a KindTruncate record.
func AppendTruncate(dst []byte, t *Truncate) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(t.Stream))
	dst = binary.AppendUvarint(dst, uint64(t.Low))
	return binary.AppendUvarint(dst, t.Bytes)
}

// DecodeTruncate reads a KindTruncate body.
func DecodeTruncate(body []byte) (Truncate, error) {
	r := reader{p: body}
	t := Truncate{StreamID(r.u64()), Offset(r.uvarint()), r.uvarint()}
	return t, r.close("truncate")
}

// Group begins the cursor of a consumer group; one that is there stays.
//
//	stream u64 | cursor u64 | offset uvarint | name string
type Group struct {
	Stream StreamID
	Cursor uint64 // derived from the name
	Offset Offset // first offset that the group gets
	Name   string
}

// AppendGroup appends the body of a KindGroup record.
func AppendGroup(dst []byte, g *Group) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(g.Stream))
	dst = binary.LittleEndian.AppendUint64(dst, g.Cursor)
	dst = binary.AppendUvarint(dst, uint64(g.Offset))
	return appendString(dst, g.Name)
}

// DecodeGroup reads a KindGroup body.
func DecodeGroup(body []byte) (Group, error) {
	r := reader{p: body}
	g := Group{StreamID(r.u64()), r.u64(), Offset(r.uvarint()), r.string()}
	return g, r.close("group")
}

// Compact takes messages that a later one of the same key has superseded out of
// a stream: those below an offset, in a range of chunks of references.
//
//	stream u64 | below uvarint | first chunk uvarint | chunks uvarint
type Compact struct {
	Stream StreamID
	Below  Offset
	First  uint64 // number of the first chunk
	End    uint64 // number behind the last one
}

// AppendCompact appends the body of a KindCompact record.
func AppendCompact(dst []byte, c *Compact) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Stream))
	dst = binary.AppendUvarint(dst, uint64(c.Below))
	dst = binary.AppendUvarint(dst, c.First)
	return binary.AppendUvarint(dst, c.End-c.First)
}

// DecodeCompact reads a KindCompact body.
func DecodeCompact(body []byte) (Compact, error) {
	r := reader{p: body}
	c := Compact{StreamID(r.u64()), Offset(r.uvarint()), r.uvarint(), r.uvarint()}
	c.End += c.First
	return c, r.close("compact")
}

// Forget takes tombstones that are still the last of their key out of a stream,
// and with them all that is known of the keys.
//
//	stream u64 | count uvarint | per tombstone: offset uvarint, key string
type Forget struct {
	Stream     StreamID
	Tombstones []Tombstone
}

// Tombstone is an empty message: it says that its key has no value any more.
type Tombstone struct {
	Offset Offset
	Key    string
}

// AppendForget appends the body of a KindForget record.
func AppendForget(dst []byte, f *Forget) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Stream))
	dst = binary.AppendUvarint(dst, uint64(len(f.Tombstones)))
	for _, t := range f.Tombstones {
		dst = binary.AppendUvarint(dst, uint64(t.Offset))
		dst = appendString(dst, t.Key)
	}
	return dst
}

// DecodeForget reads a KindForget body.
func DecodeForget(body []byte) (Forget, error) {
	r := reader{p: body}
	f := Forget{Stream: StreamID(r.u64())}
	n := r.uvarint()
	for i := uint64(0); i < n && r.err == nil; i++ {
		f.Tombstones = append(f.Tombstones, Tombstone{Offset(r.uvarint()), r.string()})
	}
	return f, r.close("forget")
}
