package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// TempSuffix ends the name of the file that Cut works in. Such a file is of no
// use after a crash.
const TempSuffix = ".tmp"

// Resume opens a segment for appending behind its sound run, which must reach
// to the end of the file: rec is what [Recover] found, or [Cut] left. On return
// all of the file is on stable storage, as after [Harden].
func Resume(fs vfs.FS, path string, rec *Recovery) (*Writer, error) {
	file, err := fs.OpenReadWrite(path, writeCategory)
	if err != nil {
		return nil, fmt.Errorf("resume segment: %w", err)
	}
	if err := rec.rewrite(file); err != nil {
		return nil, errors.Join(fmt.Errorf("resume segment %s: %w", path, err), file.Close())
	}
	return &Writer{
		file: file, header: rec.Header,
		synced: rec.End, carried: rec.carried, dataEnd: rec.dataEnd, lastSum: rec.lastSum,
		index: rec.index, stats: rec.Stats, end: rec.End, next: rec.Next,
	}, nil
}

// Harden brings all of a recovered segment to stable storage.
//
// Bytes that no watermark covers are written anew, with the same content,
// before they are synced: after a failed sync the operating system may hold
// them as clean pages that are not on the disk, and a sync alone would do
// nothing.
func Harden(fs vfs.FS, path string, rec *Recovery) error {
	file, err := fs.OpenReadWrite(path, writeCategory)
	if err != nil {
		return fmt.Errorf("harden segment: %w", err)
	}
	if err := errors.Join(rec.rewrite(file), file.Close()); err != nil {
		return fmt.Errorf("harden segment %s: %w", path, err)
	}
	return nil
}

// rewrite writes what is above the watermark once more and syncs the file. A
// file without a watermark of its own may not even have its header on disk.
func (rec *Recovery) rewrite(file vfs.File) error {
	pos := rec.carried
	if pos == HeaderSize {
		pos = 0
	}
	w := window{file: file, size: rec.Size, chunk: scanChunk}
	for pos < rec.Size {
		p, err := w.rest(pos, 1)
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return fmt.Errorf("read at %d: %w", pos, io.ErrUnexpectedEOF)
		}
		if _, err := file.WriteAt(p, pos); err != nil {
			return fmt.Errorf("write at %d: %w", pos, err)
		}
		pos += int64(len(p))
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// Cut shortens a segment to its sound run and updates rec to that. A crash
// leaves the old file or the new one: the run is copied to a file of its own,
// which is synced and renamed over the old one.
func Cut(fs vfs.FS, path string, rec *Recovery) error {
	if err := copyRun(fs, path, rec.End); err != nil {
		return fmt.Errorf("cut segment %s at %d: %w", path, rec.End, err)
	}
	rec.Size, rec.Damage, rec.Watermark = rec.End, nil, rec.carried
	return nil
}

func copyRun(fs vfs.FS, path string, end int64) (err error) {
	src, err := fs.Open(path)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	temp := path + TempSuffix
	dst, err := fs.Create(temp, writeCategory)
	if err != nil {
		return fmt.Errorf("create copy: %w", err)
	}
	_, err = io.CopyN(dst, io.NewSectionReader(src, 0, end), end)
	if err == nil {
		err = dst.Sync()
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("write copy: %w", err)
	}
	if err := fs.Rename(temp, path); err != nil {
		return fmt.Errorf("rename copy: %w", err)
	}
	return SyncDir(fs, fs.PathDir(path))
}

// Torn tells whether the file is what a crash left of a segment's creation:
// no more than a header, and not a sound one. Such a file never held a frame.
func (rec *Recovery) Torn() bool {
	return rec.End == 0 && rec.Size <= HeaderSize && rec.Damage != nil && !rec.Damage.Gap &&
		!errors.Is(rec.Damage.Err, record.ErrVersion)
}

// TornTail tells whether the damage can be the trace of a crash, so that it
// may be cut away: it begins at or above the durable watermark of a file that
// was the last one written.
func (rec *Recovery) TornTail() bool {
	return rec.End > 0 && rec.Damage != nil && !rec.Damage.Gap && rec.End >= rec.Watermark &&
		!errors.Is(rec.Damage.Err, record.ErrVersion)
}
