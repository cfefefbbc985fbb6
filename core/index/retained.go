package index

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// RetainedKey is the key of a topic's retained message.
func RetainedKey(namespace, topic []byte) []byte { return topicKey(keyRetained, namespace, topic) }

// RetainedCopyKey is the key of the copy of a topic's retained message.
func RetainedCopyKey(namespace, topic []byte) []byte {
	return topicKey(keyRetainedCopy, namespace, topic)
}

func topicKey(kind byte, namespace, topic []byte) []byte {
	k := make([]byte, 0, 2+len(namespace)+len(topic))
	k = append(append(k, kind), namespace...)
	return append(append(k, 0), topic...)
}

// SplitRetainedKey takes a RetainedKey or a RetainedCopyKey apart.
func SplitRetainedKey(k []byte) (namespace, topic []byte, err error) {
	namespace, topic, ok := bytes.Cut(k[1:], []byte{0})
	if !ok {
		return nil, nil, fmt.Errorf("index key of a retained message: %w", record.ErrCorrupt)
	}
	return namespace, topic, nil
}

// RetainedCopy is a retained message beside its reference, so that who asks for
// many of them need not read the log all over: LSN u64, time (unix milliseconds)
// uvarint, and the body of its record. The log stays what the message is taken
// from when the index is lost; and a copy of another record than the one that the
// topic has is none: a version that knows no copies leaves them behind.
type RetainedCopy struct {
	LSN  record.LSN
	Time int64  // at which it was taken, unix milliseconds
	Body []byte // of a record of kind message
}

// AppendRetainedCopy appends the value of RetainedCopyKey.
func AppendRetainedCopy(dst []byte, c *RetainedCopy) []byte {
	dst = AppendLSN(dst, c.LSN)
	dst = binary.AppendUvarint(dst, uint64(c.Time))
	return append(dst, c.Body...)
}

// DecodeRetainedCopy reads it. The body is a part of v.
func DecodeRetainedCopy(v []byte, c *RetainedCopy) (err error) {
	if len(v) < 8 {
		return fmt.Errorf("copy of a retained message of %d bytes: %w", len(v), record.ErrCorrupt)
	}
	if c.LSN, err = DecodeLSN(v[:8]); err != nil {
		return err
	}
	var ns [1]uint64
	c.Body, err = uvarints(v[8:], ns[:])
	c.Time = int64(ns[0])
	return err
}
