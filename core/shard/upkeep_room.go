package shard

import (
	"errors"
	"math"
)

// errNoRoom tells that upkeep waits for room on the disk.
var errNoRoom = errors.New("not enough free disk for upkeep")

// spareShare bounds what a rewrite leaves free on a small disk: its part of that many.
const spareShare = 64

// Reserve is how many bytes of the disk are still to be free when publishers begin to wait:
// two batches that are taken and not yet written, one open and one on its way to the
// disk, and what upkeep needs to rewrite one segment, which may be longer than usual by
// a batch. With less, what was consumed could not leave the disk, and nobody would go on.
func (c *Config) Reserve() uint64 {
	return uint64(c.SegmentBytes) + 3*uint64(c.BatchBytes) + c.spare()
}

// spare is what a rewrite leaves free: acks go on, and what is taken has to find its
// place.
func (c *Config) spare() uint64 { return 2 * uint64(c.BatchBytes) }

// rewriteRoom is how many bytes of segments may be rewritten now. What comes of them
// is not longer, and takes their place when it is there.
func (s *Shard) rewriteRoom() int64 {
	usage, err := s.fs.GetDiskUsage(s.cfg.Dir)
	if err != nil { // not known: then the rewrite will tell
		return math.MaxInt64
	}
	free := usage.AvailBytes
	return int64(min(free-min(free, s.cfg.spare(), usage.TotalBytes/spareShare), math.MaxInt64))
}
