package core

import (
	"errors"
	"time"

	"github.com/tidegate/tidegate/core/shard"
)

// UpkeepConfig says how a shard keeps its log small: segments that nothing needs
// any more are dropped, and the others are rewritten when that pays.
type UpkeepConfig struct {
	// Interval is how often each shard looks whether there is something to do; 0
	// never does anything, and the log only grows.
	Interval time.Duration `yaml:"interval"`
	// RewritePercent is the share of a segment's records below which it is
	// rewritten with those alone that are needed; 0 keeps it until none is.
	RewritePercent int `yaml:"rewrite_percent"`
	// Compress has segments rewritten with zstd in large blocks once they are
	// sealed and in the checkpoint.
	Compress bool `yaml:"compress"`
	// BytesPerSecond is how much each shard reads and writes for that while
	// something is published or acked, and eight times as much while not; 0 is no
	// limit.
	BytesPerSecond int64 `yaml:"bytes_per_second"`
}

// DefaultUpkeepConfig returns the defaults.
func DefaultUpkeepConfig() UpkeepConfig {
	return UpkeepConfig{Interval: time.Second, RewritePercent: 30, Compress: true, BytesPerSecond: 64 << 20}
}

// Validate tells what is wrong with the settings.
func (c UpkeepConfig) Validate() error {
	switch {
	case c.Interval < 0:
		return errors.New("upkeep.interval must not be negative")
	case c.RewritePercent < 0 || c.RewritePercent > 100:
		return errors.New("upkeep.rewrite_percent must be 0 to 100")
	case c.BytesPerSecond < 0:
		return errors.New("upkeep.bytes_per_second must not be negative")
	}
	return nil
}

func (c UpkeepConfig) ofShard() shard.UpkeepConfig {
	return shard.UpkeepConfig{
		Interval: c.Interval, RewritePercent: c.RewritePercent, Compress: c.Compress, BytesPerSecond: c.BytesPerSecond,
	}
}
