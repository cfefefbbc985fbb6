package core

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// identity is what the directory of an engine is, written once as JSON. The
// cluster id is in every checksum of the log, so files of another engine are
// never taken for own ones.
type identity struct {
	Version int    `json:"v"`
	Cluster string `json:"cluster"` // 16 bytes in hex
	Shards  int    `json:"shards"`
}

// identityName is the file of the identity in the engine's directory.
const identityName = "IDENTITY"

// openIdentity reads the identity of a directory, or makes one for a new one.
func openIdentity(fs vfs.FS, dir string, shards int, random io.Reader) (identity, error) {
	if err := fs.MkdirAll(dir, 0o755); err != nil {
		return identity{}, fmt.Errorf("data directory: %w", err)
	}
	if err := syncDir(fs, fs.PathDir(dir)); err != nil {
		return identity{}, err
	}
	path := fs.PathJoin(dir, identityName)
	id, err := readIdentity(fs, path)
	if errors.Is(err, os.ErrNotExist) {
		return newIdentity(fs, dir, path, shards, random)
	}
	if err != nil {
		return identity{}, err
	}
	if shards != 0 && shards != id.Shards {
		return identity{}, fmt.Errorf("%d shards asked for, but the data has %d: the number is fixed", shards, id.Shards)
	}
	return id, nil
}

// readIdentity reads an identity. os.ErrNotExist when there is none.
func readIdentity(fs vfs.FS, path string) (identity, error) {
	raw, err := readFile(fs, path)
	if err != nil {
		return identity{}, fmt.Errorf("read identity: %w", err)
	}
	var id identity
	if err := json.Unmarshal(raw, &id); err != nil {
		return identity{}, fmt.Errorf("read %s: %w", path, err)
	}
	if cluster, err := hex.DecodeString(id.Cluster); err != nil || len(cluster) != 16 || id.Version != 1 || id.Shards < 1 {
		return identity{}, fmt.Errorf("%s is not an identity of version 1", path)
	}
	return id, nil
}

func newIdentity(fs vfs.FS, dir, path string, shards int, random io.Reader) (identity, error) {
	var cluster [16]byte
	if _, err := io.ReadFull(random, cluster[:]); err != nil {
		return identity{}, fmt.Errorf("make identity: %w", err)
	}
	id := identity{Version: 1, Cluster: hex.EncodeToString(cluster[:]), Shards: max(shards, 1)}
	raw, err := json.Marshal(id)
	if err != nil {
		return identity{}, fmt.Errorf("make identity: %w", err)
	}
	return id, writeFile(fs, dir, path, raw)
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
