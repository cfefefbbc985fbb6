package core

import "github.com/tidegate/tidegate/core/record"

// LSN is the number of a record in the log of its shard, counted from 1.
type LSN = record.LSN

// Offset is the place of a reference in its stream: 0, 1, 2 and so on.
type Offset = record.Offset

// StreamID names a stream in the log. It is never reused.
type StreamID = record.StreamID

// Position names one delivery until it is settled: a reference in a stream
// and the record that it points to. It is comparable, may be kept across
// connections of a session, and may be stored.
type Position struct {
	Stream StreamID
	Offset Offset
	LSN    LSN
	Shard  uint32
}
