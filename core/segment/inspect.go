package segment

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// Inspect tells from header, footer and length alone what a sealed segment
// holds, and reads no frame. It returns nil where these do not suffice: the
// segment is not sealed, has an old footer without statistics, or is damaged.
// [Recover] then tells.
func Inspect(fs vfs.FS, path string, id record.Identity) (*Recovery, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("inspect segment: %w", err)
	}
	rec, err := inspect(file, id)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("inspect segment %s: %w", path, err)
	}
	return rec, nil
}

func inspect(file vfs.File, id record.Identity) (*Recovery, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	size := info.Size()
	w := window{file: file, size: size, chunk: HeaderSize}
	p, err := w.at(0, HeaderSize)
	if err != nil {
		return nil, err
	}
	h, err := decodeHeader(p)
	if err != nil || h.Identity != id {
		return nil, nil //nolint:nilerr,nilnil // Recover explains what is wrong
	}
	t, _, err := readFooter(file, size, id)
	if err != nil || t == nil || !t.counted || t.base != h.Base {
		return nil, err
	}
	return &Recovery{
		Header: h, Size: size, End: t.end, Next: t.next, Sealed: true, Sum: t.sum, Watermark: size, Stats: t.stats,
	}, nil
}
