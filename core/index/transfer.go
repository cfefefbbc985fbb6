package index

import (
	"encoding/binary"

	"github.com/tidegate/tidegate/core/record"
)

// TransferKey is the key of a transfer of this shard that is not done.
func TransferKey(number record.LSN) []byte { return key(keyTransfer, uint64(number)) }

// TransferredKey is the key of a transfer of another shard that has taken effect
// in this one.
func TransferredKey(source uint32, number record.LSN) []byte {
	return binary.BigEndian.AppendUint64(key(keyTransferred, uint64(source)), uint64(number))
}
