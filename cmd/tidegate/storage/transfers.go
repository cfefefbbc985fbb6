package storage

import (
	"strconv"

	"github.com/tidegate/tidegate/core/record"
)

// transfer takes the fields of the records by which what takes effect in several
// shards gets to all of them.
func (l *recordLine) transfer(kind record.Kind, body []byte) error {
	if kind == record.KindTransfer {
		t, err := record.DecodeTransfer(body)
		if err != nil {
			return err
		}
		l.set("target", strconv.FormatUint(uint64(t.Target), 10))
		l.set("acks", strconv.Itoa(len(t.Acks)))
		l.set("messages", strconv.Itoa(len(t.Messages)))
		return nil
	}
	r, err := record.DecodeTransferRef(body)
	if err != nil {
		return err
	}
	l.set("source", strconv.FormatUint(uint64(r.Source), 10))
	l.set("number", strconv.FormatUint(uint64(r.Number), 10))
	return nil
}
