package session

import (
	"encoding/binary"
	"errors"

	"github.com/tidegate/tidegate/core"
)

// ErrValue is returned for a kept value that can't be read.
var ErrValue = errors.New("unknown form of a kept message state")

// A QoS 2 message in flight is kept with its session under its packet
// identifier, in this form (big endian):
//
//	 0  version, 1
//	 1  phase
//	 2  order of sending, 8 bytes
//	10  stream, 8 bytes
//	18  offset, 8 bytes
//	26  LSN, 8 bytes
//	34  shard, 4 bytes
const (
	valueVersion = 1
	valueSize    = 38
)

// AppendValue appends the kept form of s, without its identifier.
func AppendValue(dst []byte, s Saved) []byte {
	dst = append(dst, valueVersion, byte(s.Phase))
	dst = binary.BigEndian.AppendUint64(dst, s.Seq)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Position.Stream))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Position.Offset))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.Position.LSN))
	return binary.BigEndian.AppendUint32(dst, s.Position.Shard)
}

// Lent reads a kept value for the engine, see [core.Deps.Lent].
func Lent(key uint32, b []byte) (at core.Position, done, ok bool) {
	s, err := ParseValue(key, b)
	return s.Position, s.Phase == Recorded, err == nil
}

// ParseValue reads the kept form of the message with the identifier key.
func ParseValue(key uint32, b []byte) (Saved, error) {
	if key == 0 || key > 0xffff || len(b) != valueSize || b[0] != valueVersion {
		return Saved{}, ErrValue
	}
	s := Saved{ID: uint16(key), Phase: Phase(b[1]), Seq: binary.BigEndian.Uint64(b[2:])}
	if s.Phase != Waiting && s.Phase != Recorded {
		return Saved{}, ErrValue
	}
	s.Position = core.Position{
		Stream: core.StreamID(binary.BigEndian.Uint64(b[10:])),
		Offset: core.Offset(binary.BigEndian.Uint64(b[18:])),
		LSN:    core.LSN(binary.BigEndian.Uint64(b[26:])),
		Shard:  binary.BigEndian.Uint32(b[34:]),
	}
	return s, nil
}
