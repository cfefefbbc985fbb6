package commitlog

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/segment"
)

// errUncertain tells that nobody knows which manifest a crash would leave.
var errUncertain = errors.New("manifest uncertain")

// writeCategory is the name under which a file system may count our writes.
const writeCategory vfs.DiskWriteCategory = "log"

// readManifest returns the manifest of a directory, or that of a log without
// one. Damage is a *CorruptError.
func readManifest(cfg *Config) (*manifest, error) {
	path := cfg.FS.PathJoin(cfg.Dir, manifestName)
	p, err := readWhole(cfg.FS, path)
	if oserror.IsNotExist(err) {
		return &manifest{end: firstLSN}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	m, err := decodeManifest(p, cfg.Identity)
	if errors.Is(err, ErrCorrupt) {
		return nil, &CorruptError{Segment: path, To: int64(len(p)), Err: err}
	}
	return m, err
}

func readWhole(fs vfs.FS, path string) (p []byte, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	if info.Size() > maxManifest {
		return nil, fmt.Errorf("%s of %d bytes: %w", path, info.Size(), ErrCorrupt)
	}
	p = make([]byte, info.Size())
	if _, err := io.ReadFull(f, p); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}

// writeManifest puts a manifest in the place of the last one, which is the
// moment at which what it says becomes so: a crash leaves the one or the other,
// whole. The files that it lists must be on stable storage with their names.
// After an error the last manifest is in place, unless that is errUncertain.
func writeManifest(cfg *Config, m *manifest) error {
	fs, path := cfg.FS, cfg.FS.PathJoin(cfg.Dir, manifestName)
	temp := path + segment.TempSuffix
	if err := writeTemp(fs, temp, m.encode(cfg.Identity)); err != nil {
		return fmt.Errorf("write manifest %d: %w", m.generation, errors.Join(err, removeIfThere(fs, temp)))
	}
	if err := fs.Rename(temp, path); err != nil {
		return fmt.Errorf("rename manifest %d: %w", m.generation, uncertain(cfg, m, err))
	}
	if err := segment.SyncDir(fs, cfg.Dir); err != nil {
		return fmt.Errorf("manifest %d: %w: %w", m.generation, errUncertain, err)
	}
	return nil
}

// uncertain looks whether a rename that reports an error has left the last
// manifest in its place.
func uncertain(cfg *Config, m *manifest, cause error) error {
	present, err := readManifest(cfg)
	if err == nil && present.generation < m.generation {
		return errors.Join(cause, removeIfThere(cfg.FS, cfg.FS.PathJoin(cfg.Dir, manifestName+segment.TempSuffix)))
	}
	return fmt.Errorf("%w: %w", errUncertain, errors.Join(cause, err))
}

func writeTemp(fs vfs.FS, path string, content []byte) error {
	f, err := fs.Create(path, writeCategory)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func removeIfThere(fs vfs.FS, path string) error {
	if err := fs.Remove(path); err != nil && !oserror.IsNotExist(err) {
		return fmt.Errorf("remove: %w", err)
	}
	return nil
}

// quarantine moves a file out of the log's way and never deletes it. The log's
// directory is synced by the caller.
func quarantine(cfg *Config, name string) error {
	fs := cfg.FS
	dir := fs.PathJoin(cfg.Dir, quarantineName)
	if err := makeDir(fs, dir); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	target := fs.PathJoin(dir, name)
	for i := 1; ; i++ {
		if _, err := fs.Stat(target); oserror.IsNotExist(err) {
			break
		} else if err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		target = fs.PathJoin(dir, fmt.Sprintf("%s.%d", name, i))
	}
	if err := fs.Rename(fs.PathJoin(cfg.Dir, name), target); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return segment.SyncDir(fs, dir)
}
