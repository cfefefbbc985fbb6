package record

import "encoding/binary"

// Loss stands in the place of records that were lost and given up: those of
// the LSNs from its own up to, but not with, End. What follows it was numbered
// when they were still there.
//
//	end uvarint
type Loss struct{ End LSN }

// AppendLoss appends the body of a KindLoss record.
func AppendLoss(dst []byte, l Loss) []byte { return binary.AppendUvarint(dst, uint64(l.End)) }

// DecodeLoss reads a KindLoss body.
func DecodeLoss(body []byte) (Loss, error) {
	r := reader{p: body}
	l := Loss{End: LSN(r.uvarint())}
	return l, r.close("loss")
}
