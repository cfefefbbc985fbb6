package index

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// The sizes of a queue's messages are stored as they come, so that what comes is
// written once and nothing is read back. An entry does not cross a border of
// chunks, and goes with its chunk.
const (
	keySizes          = 'z'
	keyTransientSizes = 'Z'
	keySized          = 'b'
)

// SizedKey is the key that tells that a store has the sizes of all messages in
// queues. A store without it is of a time that did not keep them.
var SizedKey = []byte{keySized}

// SizesPrefix and TransientSizesPrefix begin the keys of all sizes; the latter
// those of streams that a restart forgets.
var (
	SizesPrefix          = []byte{keySizes}
	TransientSizesPrefix = []byte{keyTransientSizes}
)

// SizesKey is the key of the sizes of some neighbours from an offset on.
func SizesKey(id record.StreamID, first record.Offset) []byte {
	return binary.BigEndian.AppendUint64(SizesOfKey(id), uint64(first))
}

// SizesOfKey begins the keys of all sizes of a stream.
func SizesOfKey(id record.StreamID) []byte { return key(keySizes, uint64(id)) }

// TransientSizesKey is SizesKey of a stream that a restart forgets.
func TransientSizesKey(id record.StreamID, first record.Offset) []byte {
	return binary.BigEndian.AppendUint64(TransientSizesOfKey(id), uint64(first))
}

// TransientSizesOfKey is SizesOfKey of such a stream.
func TransientSizesOfKey(id record.StreamID) []byte { return key(keyTransientSizes, uint64(id)) }

// AppendSizes appends the value of neighbours' sizes: runs of equal ones, each the
// size and the number as uvarints.
func AppendSizes(dst []byte, sizes []uint32) []byte {
	for len(sizes) > 0 {
		n := 1
		for n < len(sizes) && sizes[n] == sizes[0] {
			n++
		}
		dst = binary.AppendUvarint(dst, uint64(sizes[0]))
		dst = binary.AppendUvarint(dst, uint64(n))
		sizes = sizes[n:]
	}
	return dst
}

// DecodeSizes reads such a value, appending it to dst.
func DecodeSizes(v []byte, dst []uint32) ([]uint32, error) {
	for total := uint64(0); len(v) > 0; {
		var ns [2]uint64
		rest, err := uvarints(v, ns[:])
		if err != nil {
			return dst, err
		}
		if total += ns[1]; ns[0] > 1<<32-1 || ns[1] == 0 || ns[1] > ChunkLen || total > ChunkLen {
			return dst, fmt.Errorf("index value of sizes: %w", record.ErrCorrupt)
		}
		for range ns[1] {
			dst = append(dst, uint32(ns[0]))
		}
		v = rest
	}
	return dst, nil
}
