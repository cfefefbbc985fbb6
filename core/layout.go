package core

import (
	"errors"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// The directories of a shard are named by these and its number.
const (
	logPrefix   = "shard-"
	indexPrefix = "index-"
)

// ShardFiles tells where a shard keeps its log and its index, and whose they are.
type ShardFiles struct {
	Identity   record.Identity
	Log, Index string // directories
}

// ReadLayout returns where the shards of an engine's directory are, for tools
// that look at one that no broker has open. It changes nothing. os.ErrNotExist
// when there is no engine. An error that wraps record.ErrCorrupt tells that there is
// one whose identity is missing or no use, for which there is FindIdentity; beside a
// *MisplacedError the layout is returned too.
func ReadLayout(fs vfs.FS, dir string) ([]ShardFiles, error) {
	id, err := knownIdentity(fs, dir)
	if _, misplaced := errors.AsType[*MisplacedError](err); err != nil && !misplaced {
		return nil, err
	}
	return id.layout(fs, dir), err
}

func (id identity) layout(fs vfs.FS, dir string) []ShardFiles {
	all := make([]ShardFiles, id.Shards)
	for i := range all {
		all[i] = id.files(fs, dir, i)
	}
	return all
}

func (id identity) files(fs vfs.FS, dir string, shard int) ShardFiles {
	return ShardFiles{
		Identity: record.Identity{Cluster: id.cluster(), Shard: uint32(shard)},
		Log:      fs.PathJoin(dir, logPrefix+strconv.Itoa(shard)),
		Index:    fs.PathJoin(dir, indexPrefix+strconv.Itoa(shard)),
	}
}
