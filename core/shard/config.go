// Package shard is one commit log and the state folded from it: streams with
// their cursors, sessions, retained values.
//
// Data flows one way. Callers append records to the open batch (append.go); the
// committer takes the batch, has it made durable (commit.go) and applies it
// (apply.go); applying gives references to streams and hands messages to
// consumers and readers. Two locks guard all state: mu for the folded state,
// amu for the open batch; mu may be held while amu is taken, never the reverse.
//
// The committer is a loop that acts on one event at a time (loop.go); what it
// starts beside itself, such as a flush, is a job. Both are run by Deps.Work,
// and whoever waits for them waits through it, with neither lock held: so a
// simulator can run a shard in one goroutine.
package shard

import (
	"errors"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/work"
)

// Errors of a shard.
var (
	ErrClosed   = errors.New("shard closed")
	ErrFailed   = errors.New("shard stopped after a storage error")
	ErrFull     = errors.New("queue is full")
	ErrNotFound = errors.New("no such stream, cursor or record")
	ErrBusy     = errors.New("the group has consumers")
	ErrLeft     = errors.New("consumer removed while it waited for a read")
)

// Config says where a shard lives and how much it may hold. All fields but Upkeep
// are required.
type Config struct {
	Identity     record.Identity
	Dir          string        // of its segments
	IndexDir     string        // of its index
	SegmentBytes int64         // a segment is closed at this size
	TailBytes    int           // newest batches kept in memory
	CacheBytes   int           // older batches kept after they were read
	BatchBytes   int           // publishers wait when the open batch has this size
	AckDelay     time.Duration // acks wait this long for a batch to ride with
	// SpillRefs is how many references, or how many changed streams and cursors,
	// gather in memory before they are written to the index.
	SpillRefs int
	// CheckpointBytes of the log, or CheckpointInterval, pass between two points
	// that a start can replay from.
	CheckpointBytes    int64
	CheckpointInterval time.Duration
	Upkeep             UpkeepConfig
}

// Deps are what a shard needs from outside.
type Deps struct {
	FS    vfs.FS
	Clock clock.Clock
	Log   *slog.Logger
	// Work runs the committer and what it starts; nil gives them goroutines.
	Work work.Runner
	// Published calls fn for every cursor of the shard that was published, as of
	// this very log. It is asked when an index is rebuilt; nil is none. Upkeep
	// waits for what is published then, see Shard.PublishedUpTo.
	Published func(fn func(*CursorState)) error
	// Reached is a record that was on stable storage, as the metadata tells, see
	// Shard.Synced: a log that ends before it is refused. 0 when nothing tells.
	Reached record.LSN
	// Stray tells what a stream is whose messages the log has, and not its creation.
	// One without a name may be anything, and is made again only behind a loss; false
	// is one that ended with the process. nil knows no names.
	Stray func(id record.StreamID) (info record.Stream, ok bool)
	// OpenStore opens the index; nil opens Pebble in Config.IndexDir.
	OpenStore func() (index.Store, error)
}
