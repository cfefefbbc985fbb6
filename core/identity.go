package core

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// identity is what the directory of an engine is, written once as JSON. The
// cluster id is in every checksum of the log, so files of another engine are
// never taken for own ones.
//
//	{"v":1,"cluster":"32 hex digits","shards":3,"crc":"8 hex digits"}
//
// The CRC32C is that of all bytes before `,"crc"`. Later versions keep it at the end
// of the file, and v first. The first brokers wrote none: such a file is exactly the
// above without `,"crc":"…"`, is held against the files of the shards more closely,
// and written with a checksum by a start that reads the same cluster of a segment.
type identity struct {
	Version int    `json:"v"`
	Cluster string `json:"cluster"` // 16 bytes in hex
	Shards  int    `json:"shards"`

	unchecked bool // it was read without a checksum
}

// The CRC stands between these, at the end of the file.
const (
	sumBefore = `,"crc":"`
	sumBehind = `"}`
)

// identityName is the file of the identity in the engine's directory.
const identityName = "IDENTITY"

// maxShards bounds the number of shards.
const maxShards = 1024

// openIdentity reads the identity of a directory, or makes one for a new one. One
// with files of shards is never given another: an identity that is missing, or that
// is not theirs, is an error that wraps record.ErrCorrupt, and nothing is changed.
func openIdentity(fs vfs.FS, dir string, shards int, random io.Reader) (identity, error) {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	if err := syncDir(fs, fs.PathDir(dir)); err != nil {
		return identity{}, err
	}
	there, err := findRemains(fs, dir)
	if err != nil {
		return identity{}, err
	}
	id, err := there.identity(fs, dir)
	if errors.Is(err, os.ErrNotExist) {
		return newIdentity(fs, dir, shards, random)
	}
	if err == nil {
		err = there.complete(fs, dir, id)
	}
	if err != nil {
		return identity{}, err
	}
	if shards != 0 && shards != id.Shards {
		return identity{}, fmt.Errorf("%d shards asked for, but the data has %d: the number is fixed", shards, id.Shards)
	}
	if id.unchecked && there.agrees { // else the logs judge it, and a later start asks again
		return id, id.write(fs, dir)
	}
	return id, nil
}

// readIdentity reads an identity. os.ErrNotExist when there is none, an error that
// wraps record.ErrCorrupt when it is none, and record.ErrVersion when it is one of a
// later version.
func readIdentity(fs vfs.FS, path string) (identity, error) {
	raw, err := readFile(fs, path)
	if err != nil {
		return identity{}, fmt.Errorf("read identity: %w", err)
	}
	var id identity
	body := raw[:max(0, len(raw)-len(sumBefore)-8-len(sumBehind))]
	if !bytes.Equal(raw, appendSum(bytes.Clone(body))) {
		if id, ok := readUnchecked(raw); ok {
			return id, nil
		}
		return identity{}, fmt.Errorf("read identity %s: checksum: %w", path, record.ErrCorrupt)
	}
	if err := json.Unmarshal(raw, &id); err != nil {
		return identity{}, fmt.Errorf("read identity %s: %w: %w", path, err, record.ErrCorrupt)
	}
	if id.Version > 1 {
		return identity{}, fmt.Errorf("identity %s of version %d: %w", path, id.Version, record.ErrVersion)
	}
	if !id.valid() {
		return identity{}, fmt.Errorf("%s is not an identity of version 1: %w", path, record.ErrCorrupt)
	}
	return id, nil
}

// readUnchecked reads an identity of before there were checksums; false when it is not
// one to the byte.
func readUnchecked(raw []byte) (id identity, ok bool) {
	if err := json.Unmarshal(raw, &id); err != nil || !id.valid() {
		return identity{}, false
	}
	cluster := id.cluster()
	same, err := json.Marshal(identity{Version: 1, Cluster: hex.EncodeToString(cluster[:]), Shards: id.Shards})
	id.unchecked = true
	return id, err == nil && bytes.Equal(raw, same)
}

func (id identity) valid() bool {
	cluster, err := hex.DecodeString(id.Cluster)
	return err == nil && len(cluster) == 16 && id.Version == 1 && id.Shards >= 1 && id.Shards <= maxShards
}

func newIdentity(fs vfs.FS, dir string, shards int, random io.Reader) (identity, error) {
	var cluster [16]byte
	if _, err := io.ReadFull(random, cluster[:]); err != nil {
		return identity{}, fmt.Errorf("make identity: %w", err)
	}
	id := identity{Version: 1, Cluster: hex.EncodeToString(cluster[:]), Shards: max(shards, 1)}
	return id, id.write(fs, dir)
}

// write makes the identity that of the directory, durably.
func (id identity) write(fs vfs.FS, dir string) error {
	raw, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	raw = appendSum(bytes.TrimSuffix(raw, []byte("}")))
	return writeFile(fs, dir, fs.PathJoin(dir, identityName), raw)
}

// appendSum ends an identity by the CRC of what is there.
func appendSum(p []byte) []byte {
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	return fmt.Appendf(p, "%s%08x%s", sumBefore, sum, sumBehind)
}

func readFile(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was read
	}
	raw, err := io.ReadAll(f)
	return raw, errors.Join(err, f.Close())
}

// writeFile writes a file so that after a crash it is there whole or not at all.
func writeFile(fs vfs.FS, dir, path string, raw []byte) error {
	temp := path + ".new"
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", temp, err)
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", temp, err)
	}
	if err := fs.Rename(temp, path); err != nil {
		return fmt.Errorf("rename %s: %w", temp, err)
	}
	return syncDir(fs, dir)
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("open directory %s: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, err)
	}
	return nil
}

func (id identity) cluster() (c [16]byte) {
	raw, _ := hex.DecodeString(id.Cluster) // checked when it was read
	copy(c[:], raw)
	return c
}
