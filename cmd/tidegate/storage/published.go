package storage

import (
	stdhex "encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/etcd"
)

// publishedEnd is what an offset in etcd tells of a shard's log: only acks on stable
// storage are published.
type publishedEnd struct {
	shard uint32
	lsn   record.LSN
}

// published returns the newest record of each shard of which offsets tell that are
// published in the embedded etcd; none where there is another one. What can't be read
// is noted, and nothing else: a start reads etcd itself.
func (r *Report) published(o *Options, layout []core.ShardFiles) map[uint32]record.LSN {
	if len(layout) == 0 {
		return nil
	}
	log := layout[0].Identity.Cluster
	ends := map[string]publishedEnd{} // by key: the last change counts
	dir := filepath.Join(o.Data, "etcd")
	err := etcd.ReadStopped(dir, metadata.OffsetsPrefix(o.Cluster), func(key string, value []byte) error {
		delete(ends, key)
		if value == nil {
			return nil
		}
		offset, err := metadata.DecodeOffset(o.Cluster, key, value)
		if err == nil && offset.Incarnation == stdhex.EncodeToString(log[:]) {
			ends[key] = publishedEnd{offset.Shard, record.LSN(offset.LSN)}
		}
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Findings = append(r.Findings, Finding{
			Severity: Notice, File: dir, Text: "published offsets can't be read, with which logs are compared: " + err.Error(),
			Advice: "a start tells whether etcd is sound",
		})
	}
	newest := map[uint32]record.LSN{}
	for _, end := range ends {
		newest[end.shard] = max(newest[end.shard], end.lsn)
	}
	return newest
}
