package core

import (
	"fmt"
	"os"
	"strconv"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// ShardFiles tells where a shard keeps its log and its index, and whose they are.
type ShardFiles struct {
	Identity   record.Identity
	Log, Index string // directories
}

// ReadLayout returns where the shards of an engine's directory are, for tools
// that look at one that no broker has open. It changes nothing. os.ErrNotExist
// when there is no engine.
func ReadLayout(fs vfs.FS, dir string) ([]ShardFiles, error) {
	path := fs.PathJoin(dir, identityName)
	if _, err := fs.Stat(path); err != nil {
		return nil, fmt.Errorf("read identity %s: %w", path, os.ErrNotExist)
	}
	id, err := readIdentity(fs, path)
	if err != nil {
		return nil, err
	}
	all := make([]ShardFiles, id.Shards)
	for i := range all {
		all[i] = id.files(fs, dir, i)
	}
	return all, nil
}

func (id identity) files(fs vfs.FS, dir string, shard int) ShardFiles {
	return ShardFiles{
		Identity: record.Identity{Cluster: id.cluster(), Shard: uint32(shard)},
		Log:      fs.PathJoin(dir, "shard-"+strconv.Itoa(shard)),
		Index:    fs.PathJoin(dir, "index-"+strconv.Itoa(shard)),
	}
}
