package index

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// TransferKey is the key of a transfer of this shard that is not done.
func TransferKey(number record.LSN) []byte { return key(keyTransfer, uint64(number)) }

// TransferDoneKey is the key of the record that tells of most transfers that they
// are done, see [AppendTransferDone].
var TransferDoneKey = []byte{keyTransferDone}

// AppendTransferDone appends the value of TransferDoneKey: the record, and the number
// below which all transfers are done.
func AppendTransferDone(dst []byte, at, below record.LSN) []byte {
	return AppendLSN(AppendLSN(dst, at), below)
}

// DecodeTransferDone reads the value of TransferDoneKey.
func DecodeTransferDone(v []byte) (at, below record.LSN, err error) {
	if len(v) != 16 {
		return 0, 0, fmt.Errorf("index value of %d bytes for transfers: %w", len(v), record.ErrCorrupt)
	}
	return record.LSN(binary.LittleEndian.Uint64(v)), record.LSN(binary.LittleEndian.Uint64(v[8:])), nil
}

// TransferredKey is the key of a transfer of another shard that has taken effect
// in this one.
func TransferredKey(source uint32, number record.LSN) []byte {
	return binary.BigEndian.AppendUint64(key(keyTransferred, uint64(source)), uint64(number))
}
