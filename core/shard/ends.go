package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// The file ENDS lies beside the segments. It tells how to count offsets when an
// index is rebuilt from a log of which segments were dropped or rewritten: the
// messages of an original segment do not carry theirs, and those before them
// can't be counted any more. For each place where original segments begin behind
// such a gap, and each durable stream, it says which reference comes next.
//
//	magic "TGen" | version u16 (1) | 0 u16 | entries | CRC32C of the identity and all before
//
// An entry is five u64, little endian: stream, since, from, at, offset. It says of
// the stream that began with record since: what original segments refer to from
// the record from on and before the record at is settled by all; the reference to
// the record at, or the next one behind it, has the offset. Entries are ordered by
// stream and from; the one that counts for a record is the last with from at or
// below it. A stream queue has an entry with from 1 before the others: the offset
// is the one that it began at, and nothing below it is there any more, wherever
// its record is.
//
// Two kinds of entries are of no stream, which is 0 then. One of from alone, with
// at the same, says that all durable streams were asked for that gap: one without
// an entry had no reference. One of since alone says that acks and published
// offsets up to that record are of another count of offsets, see applyLoss.
//
// Version 2 has no entry and says that the file was lost, and that this was accepted:
// an index is rebuilt as if there were none.
//
// What an entry says stays true for ever, as settled stays settled. So the file is
// made durable before the log changes, and has the gaps from before the change
// beside those from after it: a crash in between does no harm.
const (
	endsName    = "ENDS"
	endsMagic   = "TGen"
	endsVersion = 1
	endsGivenUp = 2
	endsHeader  = 8
	endsEntry   = 40
	endsSum     = 4

	// endsStreams is how many streams are looked at without letting others have
	// the lock.
	endsStreams = 256
	// maxEnds bounds the file: 26 million entries.
	maxEnds = 1 << 30
)

// errManyEnds tells that ENDS would be longer than is ever read: then segments stay
// that could be dropped or rewritten.
var errManyEnds = errors.New("too many to be written down")

// end is an entry of ENDS.
type end struct {
	stream   record.StreamID
	since    record.LSN
	from, at record.LSN
	offset   record.Offset
}

// ends is what ENDS tells. The zero ends is of no file.
type ends struct {
	there     bool
	givenUp   bool
	highest   record.LSN // of all records that it tells of; they were durable before it
	of        map[record.StreamID][]end
	gaps      map[record.LSN]bool
	recounted record.LSN
}

// tellsOf tells whether original segments that begin there can be counted.
func (e *ends) tellsOf(gap record.LSN) bool { return e.gaps[gap] }

// add takes an entry.
func (e *ends) add(n end) {
	e.highest = max(e.highest, n.since, max(n.from, 1)-1, max(n.at, 1)-1)
	switch {
	case n.stream != 0:
		e.of[n.stream] = append(e.of[n.stream], n)
		e.gaps[n.from] = true // also of a file without entries for gaps
	case n.from != 0:
		e.gaps[n.from] = true
	default:
		e.recounted = n.since
	}
}

// writeEnds makes ENDS say what a rebuild needs once the segments that begin with
// the LSNs are dropped or rewritten. Call it before that, and carry on only if it
// succeeds.
func (s *Shard) writeEnds(gone []record.LSN) error {
	// A crash may come before the drop or the rewrite, so the gaps that there are
	// count as well as those that will be.
	segments := s.log.Segments()
	gaps := append(gapsWithout(segments, nil), gapsWithout(segments, gone)...)
	slices.Sort(gaps)
	gaps = slices.Compact(gaps)
	s.mu.Lock()
	if len(gaps)+len(s.keptStreams) == 0 {
		s.mu.Unlock()
		return nil // no original segment is or will be behind a gap
	}
	recounted := s.recounted
	ids := make([]record.StreamID, 0, len(s.streams))
	for id, st := range s.streams {
		if st.durable {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	slices.Sort(ids)
	p := append([]byte(endsMagic), endsVersion, 0, 0, 0)
	if recounted > 0 {
		p = appendEnd(p, &end{since: recounted})
	}
	for _, from := range gaps {
		p = appendEnd(p, &end{from: from, at: from})
	}
	var err error
	for some := range slices.Chunk(ids, endsStreams) {
		if p, err = s.appendEnds(p, some, gaps); err != nil {
			return fmt.Errorf("ends of streams: %w", err)
		}
		if len(p)+endsSum > maxEnds {
			return fmt.Errorf("ends of %d streams and %d gaps: %w", len(ids), len(gaps), errManyEnds)
		}
	}
	if err := s.roomForEnds(len(p)); err != nil {
		return fmt.Errorf("ends of streams: %w", err)
	}
	// What has been said rests on acks and records that may not be durable yet.
	if err := s.Await(s.FlushAcks()); err != nil {
		return fmt.Errorf("ends of streams: %w", err)
	}
	if err := s.log.Sync(); err != nil {
		return fmt.Errorf("ends of streams: %w", err)
	}
	p = binary.LittleEndian.AppendUint32(p, s.cfg.Identity.Checksum(p))
	return replaceFile(s.fs, s.cfg.Dir, endsName, p)
}

// roomForEnds tells whether the disk has room for the file and as much again.
func (s *Shard) roomForEnds(size int) error {
	usage, err := s.fs.GetDiskUsage(s.cfg.Dir)
	if err != nil { // not known: then the write will tell
		return nil //nolint:nilerr // a file system that can't tell is no reason to stop
	}
	if need := 2 * uint64(size); usage.AvailBytes < need {
		return fmt.Errorf("%w: %d bytes", errNoRoom, need)
	}
	return nil
}

// gapsWithout returns where original segments begin behind a gap, once some are
// gone.
func gapsWithout(segments []commitlog.Info, gone []record.LSN) (gaps []record.LSN) {
	next := record.LSN(1) // behind the last original segment in a row
	for i := range segments {
		g := &segments[i]
		if g.Rewritten || slices.Contains(gone, g.Base) {
			continue
		}
		if g.Base != next {
			gaps = append(gaps, g.Base)
		}
		next = g.Last + 1
	}
	if n := len(segments); n > 0 && next != segments[n-1].Last+1 {
		gaps = append(gaps, segments[n-1].Last+1) // where the next original segment begins
	}
	return gaps
}

// appendEnds appends the entries of some streams.
func (s *Shard) appendEnds(p []byte, ids []record.StreamID, gaps []record.LSN) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		all := gaps
		if st := s.streams[id]; st != nil && st.kept != nil {
			all = append([]record.LSN{1}, gaps...)
		}
		for _, from := range all {
			e, ok, err := s.endOf(id, from)
			if err != nil {
				return nil, err
			}
			if ok {
				p = appendEnd(p, &e)
			}
		}
	}
	return p, nil
}

// endOf returns the entry of a stream for a gap; false when it has none. mu is
// held, but not while the store is read.
func (s *Shard) endOf(id record.StreamID, from record.LSN) (end, bool, error) {
	st := s.streams[id]
	if st == nil || st.refs.End() == 0 {
		return end{}, false, nil
	}
	var search index.Search
	for !st.gone {
		e := end{stream: id, since: st.since, from: from, at: s.Committed() + 1, offset: st.refs.End()}
		o, at, ok, err := st.refs.Seek(from, &search, inMemory{st})
		if err == nil {
			if ok {
				e.at, e.offset = at, o
			}
			return e, true, nil
		}
		if err := s.bring(err, uint64(id), nil); err != nil {
			return end{}, false, err
		}
	}
	return end{}, false, nil
}

func appendEnd(p []byte, e *end) []byte {
	for _, n := range [...]uint64{uint64(e.stream), uint64(e.since), uint64(e.from), uint64(e.at), uint64(e.offset)} {
		p = binary.LittleEndian.AppendUint64(p, n)
	}
	return p
}

// EndsName is the file of the ends of streams in a log's directory.
const EndsName = endsName

// EndsInfo is what CheckEnds found.
type EndsInfo struct {
	// Present tells that the file tells something, GivenUp that it tells of its loss.
	Present, GivenUp bool
	// Highest is the last record of which it tells; the log had it on stable storage.
	Highest record.LSN
}

// CheckEnds reads the file of the ends of streams in a log's directory as a start
// without index does.
func CheckEnds(fs vfs.FS, dir string, id record.Identity) (EndsInfo, error) {
	all, err := readEnds(fs, dir, id)
	return EndsInfo{Present: all.there, GivenUp: all.givenUp, Highest: all.highest}, err
}

// GiveUpEnds writes that the file of the ends of streams is lost and that this is
// accepted, in the place of one that is no use or not there.
func GiveUpEnds(fs vfs.FS, dir string, id record.Identity) error {
	p := append([]byte(endsMagic), endsGivenUp, 0, 0, 0)
	return replaceFile(fs, dir, endsName, binary.LittleEndian.AppendUint32(p, id.Checksum(p)))
}

// readEnds reads ENDS; none when there is no such file.
func readEnds(fs vfs.FS, dir string, id record.Identity) (ends, error) {
	f, err := fs.Open(fs.PathJoin(dir, endsName))
	if oserror.IsNotExist(err) {
		return ends{}, nil
	}
	if err != nil {
		return ends{}, fmt.Errorf("read ends of streams: %w", err)
	}
	p, err := io.ReadAll(io.LimitReader(f, maxEnds))
	if err = errors.Join(err, f.Close()); err != nil {
		return ends{}, fmt.Errorf("read ends of streams: %w", err)
	}
	all, err := decodeEnds(p, id)
	if err != nil {
		return ends{}, fmt.Errorf("ends of streams in %s, without which all that the log holds behind a gap comes again: %w",
			fs.PathJoin(dir, endsName), err)
	}
	return all, nil
}

func decodeEnds(p []byte, id record.Identity) (ends, error) {
	le := binary.LittleEndian
	body := len(p) - endsSum
	switch {
	case body < endsHeader || string(p[:4]) != endsMagic || le.Uint32(p[body:]) != id.Checksum(p[:body]):
		return ends{}, record.ErrCorrupt
	case le.Uint16(p[4:]) == endsGivenUp && body == endsHeader:
		return ends{givenUp: true}, nil
	case le.Uint16(p[4:]) != endsVersion:
		return ends{}, record.ErrVersion
	case (body-endsHeader)%endsEntry != 0:
		return ends{}, record.ErrCorrupt
	}
	all := ends{there: true, of: map[record.StreamID][]end{}, gaps: map[record.LSN]bool{}}
	for p = p[endsHeader:body]; len(p) > 0; p = p[endsEntry:] {
		all.add(end{
			record.StreamID(le.Uint64(p)), record.LSN(le.Uint64(p[8:])), record.LSN(le.Uint64(p[16:])),
			record.LSN(le.Uint64(p[24:])), record.Offset(le.Uint64(p[32:])),
		})
	}
	return all, nil
}

// replaceFile writes a file so that after a crash it is there as it was or as it
// shall be.
func replaceFile(fs vfs.FS, dir, name string, p []byte) error {
	path := fs.PathJoin(dir, name)
	temp := path + segment.TempSuffix
	f, err := fs.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("create %s: %w", name, err)
	}
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = fs.Rename(temp, path)
	}
	if err == nil {
		err = segment.SyncDir(fs, dir)
	}
	if err != nil {
		if gone := fs.Remove(temp); !oserror.IsNotExist(gone) { // else it takes room that the disk may not have
			err = errors.Join(err, gone)
		}
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
