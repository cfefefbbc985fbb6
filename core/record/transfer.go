package record

import "encoding/binary"

// Transfer is what takes effect in another shard, at once, because its record is
// committed: the other shard has it when it has a KindTransferred record of the
// same number, which is the LSN of this one.
//
//	target u32 | acks uvarint, per ack a string: the body of a KindAck record |
//	messages uvarint, per message a string: the body of a KindMessage record
type Transfer struct {
	Target   uint32 // the other shard
	Acks     [][]byte
	Messages [][]byte
}

// AppendTransfer appends the body of a KindTransfer record.
func AppendTransfer(dst []byte, t *Transfer) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, t.Target)
	for _, list := range [...][][]byte{t.Acks, t.Messages} {
		dst = binary.AppendUvarint(dst, uint64(len(list)))
		for _, body := range list {
			dst = appendString(dst, body)
		}
	}
	return dst
}

// DecodeTransfer reads a KindTransfer body. The slices alias it.
func DecodeTransfer(body []byte) (Transfer, error) {
	r := reader{p: body}
	t := Transfer{Target: r.u32()}
	t.Acks = r.list()
	t.Messages = r.list()
	return t, r.close("transfer")
}

// TransferRef names a transfer: the shard that decided it and its LSN there.
//
//	source u32 | number uvarint | open uvarint
type TransferRef struct {
	Source uint32
	Number LSN
	// Open is the lowest other number of the source that may still be open: all lower
	// ones are done, and what is known of them is of no use any more.
	Open LSN
}

// AppendTransferRef appends the body of a KindTransferred or KindTransferDone record.
func AppendTransferRef(dst []byte, t TransferRef) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, t.Source)
	dst = binary.AppendUvarint(dst, uint64(t.Number))
	return binary.AppendUvarint(dst, uint64(t.Open))
}

// DecodeTransferRef reads what AppendTransferRef wrote.
func DecodeTransferRef(body []byte) (TransferRef, error) {
	r := reader{p: body}
	t := TransferRef{r.u32(), LSN(r.uvarint()), LSN(r.uvarint())}
	return t, r.close("transfer reference")
}

func (r *reader) u32() uint32 {
	if len(r.p) < 4 {
		return uint32(r.short())
	}
	v := binary.LittleEndian.Uint32(r.p)
	r.p = r.p[4:]
	return v
}

// list reads strings behind their number, which allocates by what there is.
func (r *reader) list() (all [][]byte) {
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		size := r.uvarint()
		if size > uint64(len(r.p)) {
			r.short()
			return nil
		}
		all = append(all, r.p[:size:size])
		r.p = r.p[size:]
	}
	return all
}
