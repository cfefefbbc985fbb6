package index

import (
	"encoding/binary"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// deadlineBits is the length of a bucket of deadlines as a power of two: about
// 65 seconds.
const deadlineBits = 16

// Deadline is when some neighbours of a queue are not in it any more, unless
// they are settled before.
type Deadline struct {
	At     int64 // unix milliseconds, above 0
	Stream record.StreamID
	First  record.Offset
	Count  uint64
}

// End is the offset behind the last one.
func (d *Deadline) End() record.Offset { return d.First + record.Offset(d.Count) }

// Bucket is the bucket of the deadline. They follow each other like the times.
func (d *Deadline) Bucket() uint64 { return DeadlineBucket(d.At) }

// DeadlineBucket is the bucket of a time in unix milliseconds.
func DeadlineBucket(at int64) uint64 { return uint64(at) >> deadlineBits }

// BucketStart is the first time of a bucket, in unix milliseconds.
func BucketStart(bucket uint64) int64 { return int64(bucket << deadlineBits) }

// DeadlineKey is the key of a deadline.
func DeadlineKey(d *Deadline) []byte {
	k := binary.BigEndian.AppendUint64(key(keyDeadline, uint64(d.At)), uint64(d.Stream))
	return binary.BigEndian.AppendUint64(k, uint64(d.First))
}

// DeadlinesKey begins the keys of all deadlines of a bucket.
func DeadlinesKey(bucket uint64) []byte {
	return key(keyDeadline, bucket<<deadlineBits)[:1+8-deadlineBits/8]
}

// AppendDeadline appends the value of a deadline.
func AppendDeadline(dst []byte, d *Deadline) []byte { return binary.AppendUvarint(dst, d.Count) }

// DecodeDeadline reads the key and the value of a deadline.
func DecodeDeadline(k, v []byte, d *Deadline) error {
	if len(k) != 1+3*8 {
		return fmt.Errorf("index key of a deadline: %w", record.ErrCorrupt)
	}
	d.At = int64(binary.BigEndian.Uint64(k[1:]))
	d.Stream = record.StreamID(binary.BigEndian.Uint64(k[9:]))
	d.First = record.Offset(binary.BigEndian.Uint64(k[17:]))
	var n [1]uint64
	rest, err := uvarints(v, n[:])
	if err != nil {
		return err
	}
	if d.Count = n[0]; len(rest) > 0 || d.Count == 0 || d.At <= 0 || d.End() < d.First {
		return fmt.Errorf("index value of a deadline: %w", record.ErrCorrupt)
	}
	return nil
}
