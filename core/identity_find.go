package core

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// knownIdentity reads the identity of a directory and holds it against the files of
// the shards. os.ErrNotExist when there is neither; an error that wraps
// record.ErrCorrupt when there are such files, and the identity is missing or not
// theirs.
func knownIdentity(fs vfs.FS, dir string) (identity, error) {
	there, err := findRemains(fs, dir)
	if err != nil {
		return identity{}, err
	}
	return there.identity(fs, dir)
}

// identity is knownIdentity for what was found.
func (r *remains) identity(fs vfs.FS, dir string) (identity, error) {
	path := fs.PathJoin(dir, identityName)
	id, err := readIdentity(fs, path)
	if errors.Is(err, os.ErrNotExist) && r.any() {
		return identity{}, fmt.Errorf("identity %s is missing beside the files of %d shards: %w", path, r.shards, record.ErrCorrupt)
	}
	if err != nil {
		return identity{}, err
	}
	if err := r.fit(fs, path, id); err != nil {
		return id, err
	}
	if id.unchecked && r.dirs != id.Shards && r.dirs > 0 {
		return identity{}, fmt.Errorf("identity %s has no checksum and tells of %d shards, and there are directories of %d: %w",
			path, id.Shards, r.dirs, record.ErrCorrupt)
	}
	return id, r.inPlace(fs, dir, id.cluster())
}

// remains are the files that shards have left in an engine's directory.
type remains struct {
	shards   int          // above the number of each shard that has files
	dirs     int          // above the number of each shard that has a directory
	logs     map[int]bool // shards that have a directory for their log
	segments []shardFile
	others   bool // something that is no segment
	agrees   bool // a segment is of the identity's cluster, see fit
}

// shardFile is a file in the directory of a shard's log.
type shardFile struct {
	shard int
	path  string
}

func (r *remains) any() bool { return len(r.segments) > 0 || r.others }

// findRemains lists the files of all shards; none when there is no directory.
func findRemains(fs vfs.FS, dir string) (*remains, error) {
	names, err := fs.List(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	slices.Sort(names)
	r := &remains{logs: map[int]bool{}}
	for _, name := range names {
		prefix, digits, _ := strings.Cut(name, "-")
		prefix += "-"
		n, err := strconv.Atoi(digits)
		if err != nil || n < 0 || n >= maxShards || strconv.Itoa(n) != digits || prefix != logPrefix && prefix != indexPrefix {
			continue
		}
		r.dirs = max(r.dirs, n+1)
		files, err := fs.List(fs.PathJoin(dir, name))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", name, err)
		}
		if prefix == indexPrefix && len(files) > 0 {
			r.others, r.shards = true, max(r.shards, n+1)
		}
		if prefix == logPrefix {
			r.logs[n] = true
			r.log(fs, fs.PathJoin(dir, name), files, n)
		}
	}
	return r, nil
}

// log takes the files of a shard's log.
func (r *remains) log(fs vfs.FS, dir string, files []string, shard int) {
	for _, name := range files {
		switch path.Ext(name) {
		case ".seg", ".rws":
			r.segments = append(r.segments, shardFile{shard, fs.PathJoin(dir, name)})
		default:
			if name != "MANIFEST" && name != "ENDS" {
				continue
			}
			r.others = true
		}
		r.shards = max(r.shards, shard+1)
	}
}

// fit tells whether an identity may be that of the files: no shard is above its
// number, and if segments can be read at all then one of them is of its cluster. The
// log judges each of them.
func (r *remains) fit(fs vfs.FS, path string, id identity) error {
	if r.shards > id.Shards {
		return fmt.Errorf("identity %s tells of %d shards, and there are files of %d: %w", path, id.Shards, r.shards, record.ErrCorrupt)
	}
	var not error
	for _, f := range r.segments {
		h, err := segment.ReadHeader(fs, f.path)
		switch {
		case err != nil: // the log says what is wrong with it
		case h.Identity.Cluster == id.cluster():
			r.agrees = true
			return nil
		case not == nil:
			not = fmt.Errorf("identity %s is of cluster %s, and no segment is: %s is of cluster %x: %w",
				path, id.Cluster, f.path, h.Identity.Cluster, record.ErrCorrupt)
		}
	}
	return not
}

// complete tells of a directory of a log that is gone: all of them are there before the
// first record of any shard is written.
func (r *remains) complete(fs vfs.FS, dir string, id identity) error {
	if len(r.segments) == 0 {
		return nil
	}
	for i := range id.Shards {
		if !r.logs[i] {
			return fmt.Errorf("directory %s is missing beside the logs of other shards: %w", id.files(fs, dir, i).Log, record.ErrCorrupt)
		}
	}
	return nil
}

// FoundIdentity is what the files of an engine's directory tell of an identity that
// is missing or no use.
type FoundIdentity struct {
	// Cluster is the cluster's id in hex, on which all segments agree whose header
	// can be read. Headers is their number.
	Cluster string
	Headers int
	// Shards is one for each directory of a shard, up to the last one: nothing tells
	// of a last shard whose directories are gone.
	Shards []ShardFiles

	id identity
}

// FindIdentity takes the identity of an engine's directory from the headers of its
// segments. It changes nothing. An error that wraps record.ErrCorrupt tells that they
// do not agree, or that none can be read.
func FindIdentity(fs vfs.FS, dir string) (*FoundIdentity, error) {
	r, err := findRemains(fs, dir)
	if err != nil {
		return nil, err
	}
	found := &FoundIdentity{id: identity{Version: 1, Shards: r.dirs}}
	var first record.Identity
	for _, f := range r.segments {
		h, err := segment.ReadHeader(fs, f.path)
		switch {
		case errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrShort) || errors.Is(err, record.ErrVersion):
			continue
		case err != nil:
			return nil, err
		case found.Headers == 0:
			first = h.Identity
		}
		if h.Identity.Cluster != first.Cluster {
			return nil, fmt.Errorf("segments of cluster %x and of cluster %x, as %s: %w",
				first.Cluster, h.Identity.Cluster, f.path, record.ErrCorrupt)
		}
		if int64(h.Identity.Shard) != int64(f.shard) {
			if err := r.inPlace(fs, dir, first.Cluster); err != nil {
				return nil, err
			}
			return nil, fmt.Errorf("segment %s is of shard %d: %w", f.path, h.Identity.Shard, record.ErrCorrupt)
		}
		found.Headers++
	}
	if found.Headers == 0 {
		return nil, fmt.Errorf("no segment in %s has a header that tells whose it is: %w", dir, record.ErrCorrupt)
	}
	found.Cluster = hex.EncodeToString(first.Cluster[:])
	found.id.Cluster = found.Cluster
	found.Shards = found.id.layout(fs, dir)
	return found, nil
}

// Restore writes what was found as the identity of the directory. One that is there
// is replaced: keep it elsewhere before.
func (f *FoundIdentity) Restore(fs vfs.FS, dir string) error { return f.id.write(fs, dir) }
