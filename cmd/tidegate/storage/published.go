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

// publishedEnd is what an offset or a mark in etcd tells of a shard's log: only what is
// on stable storage is published.
type publishedEnd struct {
	shard uint32
	lsn   record.LSN
}

// published returns the newest record of each shard of which marks and offsets tell that
// are published in the embedded etcd; none where there is another one. What can't be read
// is noted, and nothing else: a start reads etcd itself.
func (r *Report) published(o *Options, layout []core.ShardFiles) map[uint32]record.LSN {
	if len(layout) == 0 {
		return nil
	}
	cluster := layout[0].Identity.Cluster
	log := stdhex.EncodeToString(cluster[:])
	ends := map[string]publishedEnd{} // by key: the last change counts
	dir := filepath.Join(o.Data, "etcd")
	read := func(prefix string, end func(key string, value []byte) (of string, _ publishedEnd, _ error)) error {
		return etcd.ReadStopped(dir, prefix, func(key string, value []byte) error {
			delete(ends, key)
			if value == nil {
				return nil
			}
			of, e, err := end(key, value)
			if err == nil && of == log {
				ends[key] = e
			}
			return err
		})
	}
	err := read(metadata.OffsetsPrefix(o.Cluster), func(key string, value []byte) (string, publishedEnd, error) {
		offset, err := metadata.DecodeOffset(o.Cluster, key, value)
		return offset.Incarnation, publishedEnd{offset.Shard, record.LSN(offset.LSN)}, err
	})
	if err == nil {
		err = read(metadata.MarksPrefix(o.Cluster), func(key string, value []byte) (string, publishedEnd, error) {
			m, err := metadata.DecodeMark(o.Cluster, key, value)
			return m.Incarnation, publishedEnd{m.Shard, record.LSN(m.LSN)}, err
		})
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Findings = append(r.Findings, Finding{
			Severity: Notice, File: dir, Text: "marks and published offsets can't be read, with which logs are compared: " + err.Error(),
			Advice: "a start tells whether etcd is sound",
		})
	}
	newest := map[uint32]record.LSN{}
	for _, end := range ends {
		newest[end.shard] = max(newest[end.shard], end.lsn)
	}
	return newest
}
