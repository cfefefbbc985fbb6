package segment

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// ReadHeader reads the header of a segment file, whosever it is. An error that
// wraps record.ErrCorrupt, record.ErrShort or record.ErrVersion tells that
// there is none.
func ReadHeader(fs vfs.FS, path string) (Header, error) {
	file, err := fs.Open(path)
	if err != nil {
		return Header{}, fmt.Errorf("read segment header: %w", err)
	}
	p := make([]byte, HeaderSize)
	_, err = file.ReadAt(p, 0)
	if errors.Is(err, io.EOF) {
		err = record.ErrShort
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return Header{}, fmt.Errorf("read segment header of %s: %w", path, err)
	}
	h, err := decodeHeader(p)
	if err != nil {
		return Header{}, fmt.Errorf("segment %s: %w", path, err)
	}
	return h, nil
}
