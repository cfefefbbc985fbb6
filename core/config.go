package core

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/work"
	"github.com/tidegate/tidegate/metadata"
)

// Config of the engine. DefaultConfig says what holds where nothing is set.
type Config struct {
	// Shards is the number of logs. It is fixed when the data directory is first
	// used; another number than that is refused. 0 takes what is there, or 1.
	Shards int `yaml:"shards"`
	// MaxMessageSize bounds a message's payload, in bytes; at most 128 MiB.
	MaxMessageSize int `yaml:"max_message_size"`
	// MaxTransaction bounds what a transaction gathers before it is committed, in
	// bytes: of its messages, and of the positions that it settles; at most 128 MiB.
	MaxTransaction int `yaml:"max_transaction"`
	// MaxDelay is how far ahead a message may be scheduled.
	MaxDelay time.Duration `yaml:"max_delay"`
	// SegmentBytes is the size at which a file of the log is closed and the next begun.
	// On a small disk it is less: the open ones take at most a 16th of the disk.
	SegmentBytes int64 `yaml:"segment_bytes"`
	// TailBytes is how much of each shard's newest messages is kept in memory.
	TailBytes int `yaml:"tail_bytes"`
	// CacheBytes is how much of each shard's older messages is kept in memory after
	// they were read from disk.
	CacheBytes int `yaml:"cache_bytes"`
	// BatchBytes is the size of a shard's open batch at which publishers wait.
	BatchBytes int `yaml:"batch_bytes"`
	// AckDelay is how long a consumer's ack may wait for company before it is
	// written to the log.
	AckDelay time.Duration `yaml:"ack_delay"`
	// SpillRefs is how many references to messages, and how many changes of streams
	// and cursors, a shard gathers in memory before it writes them to its index.
	SpillRefs int `yaml:"spill_refs"`
	// CheckpointBytes is how much a shard writes to its log between two
	// checkpoints of its index, and so about what a start reads again.
	CheckpointBytes int64 `yaml:"checkpoint_bytes"`
	// CheckpointInterval is how long after a checkpoint the next one follows,
	// however little was written.
	CheckpointInterval time.Duration `yaml:"checkpoint_interval"`
	// RetentionInterval is how often stream queues are looked through for messages
	// that are not kept any longer.
	RetentionInterval time.Duration `yaml:"retention_interval"`
	// CompactionLag is how long a message stays in a compacted stream after a later
	// one of the same key has come, so that readers that are not further behind
	// see every message.
	CompactionLag time.Duration `yaml:"compaction_lag"`
	// Upkeep says how the log is kept small.
	Upkeep UpkeepConfig `yaml:"upkeep"`
	// OffsetInterval is how often cursors that moved are published to etcd.
	OffsetInterval time.Duration `yaml:"offset_interval"`
	// Durability is when publishes are confirmed in namespaces that say nothing
	// else: after they were synced (fsync), written (os) or taken (memory).
	Durability string `yaml:"durability"`
	// Pressure says when publishers wait because disk or memory runs low.
	Pressure PressureConfig `yaml:"pressure"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		MaxMessageSize:     16 << 20,
		MaxTransaction:     32 << 20,
		MaxDelay:           365 * 24 * time.Hour,
		SegmentBytes:       64 << 20,
		TailBytes:          64 << 20,
		CacheBytes:         32 << 20,
		BatchBytes:         4 << 20,
		AckDelay:           10 * time.Millisecond,
		SpillRefs:          1 << 17,
		CheckpointBytes:    256 << 20,
		CheckpointInterval: 30 * time.Second,
		RetentionInterval:  time.Second,
		CompactionLag:      time.Minute,
		Upkeep:             DefaultUpkeepConfig(),
		OffsetInterval:     time.Second,
		Durability:         "fsync",
		Pressure:           DefaultPressureConfig(),
	}
}

// leastSegment is the least SegmentBytes.
const leastSegment = 4 << 10

// Validate tells what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.Shards < 0 || c.Shards > maxShards:
		return errors.New("shards must be 1 to 1024")
	case c.MaxMessageSize <= 0 || c.MaxMessageSize > 128<<20:
		return errors.New("max_message_size must be 1 byte to 128 MiB")
	case c.MaxTransaction <= 0 || c.MaxTransaction > 128<<20:
		return errors.New("max_transaction must be 1 byte to 128 MiB")
	case c.MaxDelay <= 0 || c.MaxDelay > 100*365*24*time.Hour:
		return errors.New("max_delay must be above 0 and at most 876000h")
	case c.SegmentBytes < leastSegment:
		return errors.New("segment_bytes must be at least 4 KiB")
	case c.TailBytes < 0 || c.CacheBytes < 0:
		return errors.New("tail_bytes and cache_bytes must not be negative")
	case c.BatchBytes < 1<<12 || c.BatchBytes > 64<<20:
		return errors.New("batch_bytes must be 4 KiB to 64 MiB")
	case c.AckDelay <= 0 || c.AckDelay > time.Second:
		return errors.New("ack_delay must be above 0 and at most 1s")
	case c.SpillRefs < 1 || c.SpillRefs > 1<<24:
		return errors.New("spill_refs must be 1 to 16777216")
	case c.CheckpointBytes < 1:
		return errors.New("checkpoint_bytes must be above 0")
	case c.CheckpointInterval <= 0:
		return errors.New("checkpoint_interval must be above 0")
	case c.RetentionInterval <= 0:
		return errors.New("retention_interval must be above 0")
	case c.CompactionLag < 0:
		return errors.New("compaction_lag must not be negative")
	case c.OffsetInterval <= 0:
		return errors.New("offset_interval must be above 0")
	}
	if _, err := parseDurability(c.Durability); err != nil {
		return err
	}
	return errors.Join(c.Upkeep.Validate(), c.Pressure.Validate())
}

// Deps are what the engine needs from outside; all down to Formats are required.
type Deps struct {
	// Dir holds the engine's files: IDENTITY and one folder per shard.
	Dir     string
	FS      vfs.FS
	Clock   clock.Clock
	Rand    io.Reader // for names and identities; crypto/rand.Reader outside of tests
	Catalog *metadata.Catalog
	Log     *slog.Logger
	// Formats are the property decoders of the adapters' formats.
	Formats map[Format]PropertyDecoder
	// DeadLetter writes the dead letters of queues. It is required where queues ask
	// for some; without it they are refused.
	DeadLetter DeathWriter
	// Lent reads a value that an adapter keeps with a session: does it tell of a delivery
	// of the session, and with done, that the client has it? As long as a value tells of a
	// delivery of a shared subscription nobody else gets that, over restarts too. nil when
	// no value does.
	Lent func(key uint32, value []byte) (at Position, done, ok bool)
	// Memory is how the memory of the process is watched.
	Memory Memory
	// Work runs what works beside callers; nil gives all of it goroutines.
	Work work.Runner
	// OpenIndex opens the index of a shard; nil opens Pebble in Dir.
	OpenIndex func(shard int) (index.Store, error)
}
