package core

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// MisplacedError tells that directories of shards hold each other's logs, as after a
// copy was put back under wrong names. Nothing is lost: each has to be moved to where it
// belongs. It wraps record.ErrCorrupt.
type MisplacedError struct{ Dirs []MisplacedLog }

// MisplacedLog is a directory with the log of another shard than the one that it is
// named by.
type MisplacedLog struct {
	Dir string
	// Shard is the one that the directory is named by, Holds the one whose log it has.
	Shard, Holds uint32
}

func (e *MisplacedError) Error() string {
	all := make([]string, len(e.Dirs))
	for i := range e.Dirs {
		all[i] = fmt.Sprintf("directory %s holds the log of shard %d", e.Dirs[i].Dir, e.Dirs[i].Holds)
	}
	return strings.Join(all, ", ") + ": rename each to where it belongs"
}

// Unwrap returns record.ErrCorrupt.
func (*MisplacedError) Unwrap() error { return record.ErrCorrupt }

// inPlace returns a *MisplacedError where the directory of a shard has segments of
// another one and none of its own, and that one has none in its own directory either:
// else it is a copy, and the log judges the segments. It reads one header of each
// directory that is as it should be.
func (r *remains) inPlace(fs vfs.FS, dir string, cluster [16]byte) error {
	own, holds := map[uint32]bool{}, map[uint32]uint32{}
	for _, f := range r.segments {
		at := uint32(f.shard)
		if own[at] {
			continue
		}
		h, err := segment.ReadHeader(fs, f.path)
		switch of := h.Identity.Shard; {
		case err != nil || h.Identity.Cluster != cluster: // the log says what is wrong with it
		case of == at:
			own[at] = true
		default:
			holds[at] = of
		}
	}
	bad := new(MisplacedError)
	for i := range r.dirs {
		at := uint32(i)
		if of, ok := holds[at]; ok && !own[at] && !own[of] {
			log := identity{}.files(fs, dir, i).Log
			bad.Dirs = append(bad.Dirs, MisplacedLog{Dir: log, Shard: at, Holds: of})
		}
	}
	if len(bad.Dirs) == 0 {
		return nil
	}
	return bad
}
