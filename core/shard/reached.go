package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// The file REACHED lies beside the segments of a log that a start has refused because
// marks or offsets in the metadata tell of a later record than its last one. It says which record that
// is: the offsets lie in the metadata, which an offline tool does not have, and which may
// be away at the next start.
//
//	magic "TGre" | version u16 (1) | 0 u16 | LSN u64 | CRC32C of the identity and all before
//
// An offset is published as of an ack that is on stable storage with all before it,
// whatever the durability of messages. So a log that ends before has lost what it had
// kept, and no power cut takes it there. What the file says stays true for ever: it
// stays when the log is whole again, or the loss accepted, see commitlog.AcceptLoss.
const (
	reachedName    = "REACHED"
	reachedMagic   = "TGre"
	reachedVersion = 1
	reachedSize    = 20
)

// ReachedName is the file in a log's directory of the record that the log had reached.
const ReachedName = reachedName

// ReadReached returns the record that the log in a directory had reached, as its file
// REACHED tells; 0 without that file. An error wraps record.ErrCorrupt when the file is no
// use, and record.ErrVersion when a later version wrote it.
func ReadReached(fs vfs.FS, dir string, id record.Identity) (record.LSN, error) {
	f, err := fs.Open(fs.PathJoin(dir, reachedName))
	if oserror.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", reachedName, err)
	}
	p, err := io.ReadAll(io.LimitReader(f, reachedSize+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, fmt.Errorf("read %s: %w", reachedName, err)
	}
	le := binary.LittleEndian
	switch body := len(p) - endsSum; {
	case body < endsHeader || string(p[:4]) != reachedMagic:
		err = record.ErrCorrupt
	case le.Uint16(p[4:]) > reachedVersion:
		err = record.ErrVersion
	case len(p) != reachedSize || le.Uint16(p[4:]) != reachedVersion || le.Uint32(p[body:]) != id.Checksum(p[:body]):
		err = record.ErrCorrupt
	}
	if err != nil {
		return 0, fmt.Errorf("%s in %s: %w", reachedName, dir, err)
	}
	return record.LSN(le.Uint64(p[endsHeader:])), nil
}

// writeReached has REACHED tell of a record.
func writeReached(fs vfs.FS, dir string, id record.Identity, lsn record.LSN) error {
	p := append([]byte(reachedMagic), reachedVersion, 0, 0, 0)
	p = binary.LittleEndian.AppendUint64(p, uint64(lsn))
	return replaceFile(fs, dir, reachedName, binary.LittleEndian.AppendUint32(p, id.Checksum(p)))
}

// reachesKnown refuses a log whose end is before the record of which REACHED tells. A file
// that is no use tells nothing: as long as there is an index, nothing else asks for it,
// and without one the published offsets are asked again.
func (s *Shard) reachesKnown(end record.LSN) error {
	lsn, err := ReadReached(s.fs, s.cfg.Dir, s.cfg.Identity)
	if err != nil {
		s.logger.Warn("record that the log had reached not read",
			slog.Any("shard", s.cfg.Identity.Shard), slog.Any("error", err))
		return nil
	}
	return reaches(s.cfg.Identity.Shard, end, lsn, reachedName+" tells that it had")
}

// offsetsTell is why published offsets refuse a log.
const offsetsTell = "offsets published in the metadata are as of"

// reachesPublished refuses a log whose end is before a record of which the metadata tells,
// and writes that record down.
func (s *Shard) reachesPublished(end, lsn record.LSN, told string) error {
	err := reaches(s.cfg.Identity.Shard, end, lsn, told)
	if err == nil {
		return nil
	}
	if writeErr := writeReached(s.fs, s.cfg.Dir, s.cfg.Identity, lsn); writeErr != nil {
		return errors.Join(err, writeErr)
	}
	return err
}

// reaches tells what is missing of a log that ends before a record.
func reaches(shard uint32, end, lsn record.LSN, told string) error {
	if end >= lsn {
		return nil
	}
	return fmt.Errorf("log of shard %d ends at LSN %d, %s LSN %d, which was on stable storage: "+
		"records %d to %d are missing, with all that was confirmed of them: %w",
		shard, end, told, lsn, end+1, lsn, commitlog.ErrBehind)
}
