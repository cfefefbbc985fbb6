package index

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// Info is what Inspect found in the index of a shard.
type Info struct {
	// Applied is the record that the state is as of; 0 when the index is empty.
	Applied record.LSN
	// Streams, Cursors, Sessions and Retained are numbers of entries, References
	// those of messages that streams refer to.
	Streams, Cursors, Sessions, Retained, References uint64
	// Held is the number of messages that are not due yet.
	Held uint64
	// Transfers are, by shard, the highest number of a transfer from that shard that
	// has taken effect here.
	Transfers map[uint32]record.LSN
	// Faults is the number of entries that are no use, and Err tells of the first.
	Faults uint64
	Err    error
}

// Inspect reads all of an index that is not open, and changes nothing. An error
// tells that it can't be opened or read, or belongs to another shard or version;
// os.ErrNotExist that there is none.
func Inspect(fs vfs.FS, dir string, id record.Identity) (info *Info, err error) {
	defer func() { // what is open then stays so: Pebble may hold its locks
		if f, ok := recover().(pebbleFailure); ok {
			info, err = nil, fmt.Errorf("inspect index %s: %s: %w", dir, string(f), record.ErrCorrupt)
		}
	}()
	if _, err := fs.Stat(fs.PathJoin(dir, "LOCK")); err != nil {
		return nil, fmt.Errorf("inspect index: %w", err)
	}
	db, err := pebble.Open(dir, &pebble.Options{
		FS: fs, ReadOnly: true, ErrorIfNotExists: true, MaxOpenFiles: 64, FormatMajorVersion: pebble.FormatNewest,
		Logger: pebbleLog{nil, slog.New(slog.DiscardHandler)},
	})
	if oserror.IsNotExist(err) { // a file of it, not all of it
		return nil, fmt.Errorf("inspect index %s: %v: %w", dir, err, record.ErrCorrupt) //nolint:errorlint // see above
	}
	if err != nil {
		return nil, fmt.Errorf("inspect index %s: %w", dir, err)
	}
	i := inspection{Info: Info{Transfers: map[uint32]record.LSN{}}, store: &Pebble{db: db}, streams: map[record.StreamID]*Stream{}}
	err = i.run(id)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, fmt.Errorf("inspect index %s: %w", dir, err)
	}
	return &i.Info, nil
}

// inspection is one walk over an index.
type inspection struct {
	Info
	store   *Pebble
	streams map[record.StreamID]*Stream
	lsns    []record.LSN // scratch
}

func (i *inspection) run(id record.Identity) error {
	v, err := i.store.Get(AppliedKey)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if i.Applied, err = DecodeLSN(v); err != nil {
		return err
	}
	v, err = i.store.Get(FormatKey)
	if err == nil {
		err = CheckFormat(v, id)
	}
	if err != nil {
		return fmt.Errorf("format: %w", err)
	}
	for _, part := range []struct {
		prefix []byte
		check  func(key, value []byte) error
	}{
		{StreamPrefix, i.stream},
		{CursorPrefix, i.cursor},
		{ChunkPrefix, i.chunk},
		{SizesPrefix, i.sizes},
		{TransientSizesPrefix, i.sizes},
		{KeptPrefix, i.kept},
		{PartsPrefix, i.part},
		{RetainedPrefix, i.retained},
		{RetainedCopyPrefix, i.retainedCopy},
		{OncePrefix, i.once},
		{TransferredPrefix, i.transferred},
		{SessionPrefix, i.session},
		{HeldPrefix, i.held},
		{HeldDuePrefix, i.due},
		{FiredPrefix, func(_, v []byte) error { return DecodeFired(v, new(Fired)) }},
		{HeldCountPrefix, func(k, v []byte) error { _, _, err := DecodeHeldCount(k, v); return err }},
		{DeadlinePrefix, func(k, v []byte) error { return DecodeDeadline(k, v, new(Deadline)) }},
		{SubscriptionPrefix, func(_, v []byte) error { return record.DecodeSubscription(v, new(record.Subscription)) }},
		{ValuePrefix, func(_, v []byte) error { return record.DecodeValue(v, new(record.Value)) }},
	} {
		err := i.store.Scan(part.prefix, func(k, v []byte) error {
			if err := part.check(k, v); err != nil {
				i.fault(fmt.Errorf("key %x: %w", k, err))
			}
			return nil
		})
		if err != nil {
			i.fault(err)
		}
	}
	return nil
}

// sizes checks an entry of sizes, which may outlive its stream's references.
func (i *inspection) sizes(k, v []byte) error {
	first, err := Uint64(k, 1)
	if err != nil {
		return err
	}
	sizes, err := DecodeSizes(v, nil)
	if err == nil && (len(sizes) == 0 || first%ChunkLen+uint64(len(sizes)) > ChunkLen) {
		err = fmt.Errorf("%d sizes from %d on: %w", len(sizes), first, record.ErrCorrupt)
	}
	return err
}

func (i *inspection) fault(err error) {
	if i.Faults++; i.Err == nil {
		i.Err = err
	}
}

func (i *inspection) stream(k, v []byte) error {
	i.Streams++
	s := new(Stream)
	if err := DecodeStream(v, s); err != nil {
		return err
	}
	if id, err := Uint64(k, 0); err != nil || record.StreamID(id) != s.ID || s.Low > s.End || s.Since > i.Applied {
		return fmt.Errorf("stream %x, offsets %d to %d, since %d: %w", uint64(s.ID), s.Low, s.End, s.Since, record.ErrCorrupt)
	}
	s.Name, s.Namespace = "", "" // a million of them may be there
	i.streams[s.ID] = s
	return nil
}

func (i *inspection) cursor(k, v []byte) error {
	i.Cursors++
	id, err := Uint64(k, 0)
	if err != nil {
		return err
	}
	var c Cursor
	if err := DecodeCursor(v, &c); err != nil {
		return err
	}
	s := i.streams[record.StreamID(id)]
	if n := len(c.Ranges); s == nil || c.Floor > s.End || n > 0 && c.Ranges[n-1].End > s.End {
		return fmt.Errorf("cursor at %d of stream %x is past its end: %w", c.Floor, id, record.ErrCorrupt)
	}
	return nil
}

func (i *inspection) chunk(k, v []byte) (err error) {
	id, err := Uint64(k, 0)
	if err != nil {
		return err
	}
	no, err := Uint64(k, 1)
	if err != nil {
		return err
	}
	if i.lsns, err = DecodeChunk(v, i.lsns[:0]); err != nil {
		return err
	}
	s := i.streams[record.StreamID(id)]
	if s == nil {
		return fmt.Errorf("references of stream %x, which is not there: %w", id, record.ErrCorrupt)
	}
	var last record.LSN
	for n, lsn := range i.lsns {
		o := record.Offset(no<<chunkBits) + record.Offset(n)
		if o < s.Low || o >= s.End {
			continue
		}
		if lsn < last || lsn > i.Applied {
			return fmt.Errorf("reference %d to record %d behind %d: %w", o, lsn, last, record.ErrCorrupt)
		}
		if lsn > last { // else a hole, see List.Fill
			i.References++
		}
		last = lsn
	}
	return nil
}

func (i *inspection) retained(k, v []byte) error {
	i.Retained++
	if _, _, err := SplitRetainedKey(k); err != nil {
		return err
	}
	return i.lsn(v)
}

// retainedCopy checks a copy, which may be of a value that is none any more.
func (i *inspection) retainedCopy(k, v []byte) error {
	if _, _, err := SplitRetainedKey(k); err != nil {
		return err
	}
	var c RetainedCopy
	err := DecodeRetainedCopy(v, &c)
	if err == nil {
		err = record.DecodeMessage(c.Body, new(record.Message))
	}
	if err == nil && c.LSN > i.Applied {
		err = fmt.Errorf("record %d is above %d: %w", c.LSN, i.Applied, record.ErrCorrupt)
	}
	return err
}

func (i *inspection) once(k, v []byte) error {
	if _, err := SplitOnceKey(k); err != nil {
		return err
	}
	return i.lsn(v)
}

func (i *inspection) lsn(v []byte) error {
	lsn, err := DecodeLSN(v)
	if err == nil && lsn > i.Applied {
		err = fmt.Errorf("record %d is above %d: %w", lsn, i.Applied, record.ErrCorrupt)
	}
	return err
}

func (i *inspection) session(_, v []byte) error {
	i.Sessions++
	return record.DecodeSession(v, new(record.Session))
}

// keptStream finds the stream queue that a key belongs to. One that was dropped
// before it was stored may have left parts; the log behind takes them out.
func (i *inspection) keptStream(k []byte) (*Stream, error) {
	id, err := Uint64(k, 0)
	if err != nil {
		return nil, err
	}
	s := i.streams[record.StreamID(id)]
	if s == nil {
		return &Stream{End: math.MaxUint64}, nil
	}
	if s.Kept {
		return s, nil
	}
	return nil, fmt.Errorf("stream %x is no stream queue: %w", id, record.ErrCorrupt)
}

func (i *inspection) kept(k, v []byte) error {
	if _, err := i.keptStream(k); err != nil {
		return err
	}
	cursor, err := Uint64(k, 1)
	if err != nil {
		return err
	}
	if cursor == 0 {
		return DecodeKept(v, new(Kept))
	}
	g, err := DecodeGroup(v)
	if err == nil && g.Since > i.Applied {
		err = fmt.Errorf("consumer group since record %d above %d: %w", g.Since, i.Applied, record.ErrCorrupt)
	}
	return err
}

func (i *inspection) part(k, v []byte) error {
	s, err := i.keptStream(k)
	if err != nil {
		return err
	}
	if len(k) == partAt {
		return fmt.Errorf("key of no part: %w", record.ErrCorrupt)
	}
	switch k[partAt] {
	case partLast:
		var l Last
		if err = DecodeLast(v, &l); err == nil && l.Offset >= s.End {
			err = fmt.Errorf("last message of a key at %d of %d: %w", l.Offset, s.End, record.ErrCorrupt)
		}
		return err
	case partChunk:
		err = DecodeChunkInfo(v, new(Chunk))
	case partTombstone:
		_, _, err = DecodeTombstone(v)
	case partDue:
	default:
		return fmt.Errorf("part %q: %w", k[partAt], record.ErrCorrupt)
	}
	if err == nil {
		_, err = PartNumber(k)
	}
	return err
}

// held checks a held message: it is there by its time too.
func (i *inspection) held(k, v []byte) error {
	lsn, err := Uint64(k, 0)
	if err != nil {
		return err
	}
	due, err := DecodeDue(v)
	if err == nil && record.LSN(lsn) > i.Applied {
		err = fmt.Errorf("record %d is above %d: %w", lsn, i.Applied, record.ErrCorrupt)
	}
	if err == nil {
		i.Held++
		_, err = i.store.Get(HeldDueKey(due, record.LSN(lsn)))
	}
	return err
}

func (i *inspection) due(k, _ []byte) error {
	due, lsn, err := SplitHeldDueKey(k)
	if err != nil {
		return err
	}
	v, err := i.store.Get(HeldKey(lsn))
	if err != nil {
		return err
	}
	if at, err := DecodeDue(v); err != nil || at != due {
		return fmt.Errorf("held message is due at %d and at %d: %w", due, at, record.ErrCorrupt)
	}
	return nil
}

func (i *inspection) transferred(k, _ []byte) error {
	source, err := Uint64(k, 0)
	if err != nil {
		return err
	}
	number, err := Uint64(k, 1)
	if err == nil {
		i.Transfers[uint32(source)] = max(i.Transfers[uint32(source)], record.LSN(number))
	}
	return err
}
