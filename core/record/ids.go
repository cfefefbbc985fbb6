package record

// LSN is the number of a record in the log of its shard, counted from 1.
type LSN uint64

// Offset is the place of a reference in its stream: 0, 1, 2 and so on.
type Offset uint64

// StreamID names a stream in the log. It is never reused.
type StreamID uint64

// Format tells in whose protocol a record's property bytes and key are written.
type Format uint8

// Once identifies an exactly-once publish: the session and the number that
// its client gave to the message. Session 0 means not exactly-once.
type Once struct {
	Session uint64
	ID      uint16
}
