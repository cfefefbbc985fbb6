package segment

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// Recovery is what [Recover] found in a segment file.
type Recovery struct {
	// Header is the segment's header, all zero when it is damaged.
	Header Header
	// Size is the length of the file.
	Size int64
	// End is the position behind the last frame of the sound run that begins
	// behind the header; 0 when the header is damaged.
	End int64
	// Next is the LSN behind the last record of the sound run.
	Next record.LSN
	// Sealed tells that the sound run reaches up to a sound footer.
	Sealed bool
	// Sum is the CRC that ends a sealed segment.
	Sum uint32
	// Watermark is the highest durable watermark that a sound frame or footer
	// anywhere in the file proves. Bytes below it were on stable storage.
	Watermark int64
	// Stats counts what the sound run holds.
	Stats Stats
	// Damage is what follows the sound run when that is not the end of the file.
	Damage *Damage

	carried int64 // the highest watermark within the sound run
	dataEnd int64 // behind the last frame of the run that is no mark
	lastSum uint32
	index   index
}

// Damage is a range of bytes that are no frames.
type Damage struct {
	From, To int64
	// First is the LSN of the first record that is missing, Last that of the
	// last one; Last is 0 when nothing sound follows in the file.
	First, Last record.LSN
	// Gap tells that the bytes at From are a sound frame, but not the one that
	// has to follow. That is never the trace of a crash.
	Gap bool
	// Err is what is wrong with the first of the bytes. It wraps
	// record.ErrVersion when they are sound but of a later version.
	Err error
}

// Recover reads a whole segment and calls replay with every batch of the sound
// run, in order. The batch is valid until replay returns. Damage is no error:
// an error is one of reading, or of replay. Nothing is changed on disk.
func Recover(fs vfs.FS, path string, id record.Identity, replay func(*record.Batch) error) (*Recovery, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("recover segment: %w", err)
	}
	rec, err := recoverFile(file, id, replay)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("recover segment %s: %w", path, err)
	}
	return rec, nil
}

func recoverFile(file vfs.File, id record.Identity, replay func(*record.Batch) error) (*Recovery, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	rec := &Recovery{Size: info.Size()}
	w := window{file: file, size: rec.Size, chunk: HeaderSize}
	p, err := w.at(0, HeaderSize)
	if err != nil {
		return nil, err
	}
	if rec.begin(p, id); rec.Damage != nil {
		return rec, nil
	}
	rec.End, rec.dataEnd, rec.Next = HeaderSize, HeaderSize, rec.Header.Base
	rec.Watermark, rec.carried = HeaderSize, HeaderSize
	s := newScanner(file, id, HeaderSize, rec.Size)
	if err := rec.run(s, replay); err != nil {
		return nil, err
	}
	return rec, rec.footer(file, id, s)
}

// begin reads the header. One that is sound and of another log is no trace of
// a crash.
func (rec *Recovery) begin(p []byte, id record.Identity) {
	h, err := decodeHeader(p)
	stranger := err == nil && h.Identity != id
	if stranger {
		err = fmt.Errorf("segment of shard %d of cluster %x: %w", h.Identity.Shard, h.Identity.Cluster, record.ErrCorrupt)
	}
	if err != nil {
		rec.Damage = &Damage{To: min(HeaderSize, rec.Size), Gap: stranger, Err: err}
		return
	}
	rec.Header = h
}

// run replays the sound run.
func (rec *Recovery) run(s *Scanner, replay func(*record.Batch) error) error {
	for s.Next() {
		h := s.Header()
		if h.Base != rec.Next {
			rec.Damage = &Damage{
				From: s.Pos(), To: s.Pos(), First: rec.Next, Last: max(h.Base, rec.Next) - 1, Gap: true,
				Err: fmt.Errorf("frame %d where %d should be: %w", h.Base, rec.Next, record.ErrCorrupt),
			}
			return nil
		}
		if h.Sparse() != rec.Header.Rewritten {
			rec.Damage = &Damage{
				From: s.Pos(), To: s.Pos() + int64(h.Size()), First: h.Base, Last: h.Next() - 1, Gap: true,
				Err: fmt.Errorf("frame %d, sparse %v: %w", h.Base, h.Sparse(), record.ErrCorrupt),
			}
			return nil
		}
		rec.note(s)
		if h.Mark {
			continue
		}
		if err := replay(s.Batch()); err != nil {
			return fmt.Errorf("replay batch %d: %w", h.Base, err)
		}
	}
	if err := s.Err(); err != nil {
		if !isDamage(err) {
			return err
		}
		rec.Damage = &Damage{From: rec.End, To: rec.Size, First: rec.Next, Err: err}
	}
	return nil
}

// note takes the scanner's present frame into the run.
func (rec *Recovery) note(s *Scanner) {
	h := s.Header()
	rec.End, rec.Next, rec.lastSum = s.Pos()+int64(h.Size()), h.Next(), h.Sum
	rec.carried = max(rec.carried, s.watermark())
	rec.Watermark = rec.carried
	if h.Count > 0 {
		rec.index.add(h.Base, s.Pos())
	}
	if !h.Mark {
		rec.dataEnd = rec.End
		rec.Stats.note(h)
	}
}

// watermark is that of the present frame. No frame can know of a sync behind
// its own place.
func (s *Scanner) watermark() int64 {
	if w := s.header.Watermark; w <= uint64(s.start) {
		return int64(w)
	}
	return 0
}

func isDamage(err error) bool {
	return errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrShort) || errors.Is(err, record.ErrVersion)
}

// footer explains what follows the run: a footer, or damage whose reach it
// finds out.
func (rec *Recovery) footer(file vfs.File, id record.Identity, s *Scanner) error {
	if rec.Damage == nil {
		return nil
	}
	t, _, err := readFooter(file, rec.Size, id)
	if errors.Is(err, record.ErrVersion) {
		rec.Damage.Err = err
		return nil
	}
	if err != nil {
		return err
	}
	end := rec.Size
	if t != nil {
		if t.end == rec.End && t.next == rec.Next && t.base == rec.Header.Base && t.lastSum == rec.lastSum {
			rec.Damage, rec.Sealed, rec.Sum = nil, true, t.sum
			rec.Watermark = rec.Size
			return nil
		}
		end = t.end
		rec.Watermark = max(rec.Watermark, t.end)
	}
	if err := rec.survey(s, end); err != nil {
		return err
	}
	if t != nil && rec.Damage.Last == 0 && t.next > rec.Next {
		rec.Damage.To, rec.Damage.Last = max(t.end, rec.Damage.From), t.next-1
	}
	return nil
}

// survey looks for sound frames behind the damage: the first one ends the
// range, and each may prove a higher watermark.
func (rec *Recovery) survey(s *Scanner, end int64) error {
	found := rec.Damage.Gap
	for pos := rec.Damage.From + 1; ; pos = s.start + int64(s.header.Size()) {
		ok, err := s.hunt(pos, end, rec.Next)
		if err != nil || !ok {
			return err
		}
		rec.Watermark = max(rec.Watermark, s.watermark())
		if !found {
			found, rec.Damage.To, rec.Damage.Last = true, s.start, s.header.Base-1
		}
	}
}

// hunt looks from pos up to end for a sound frame that does not begin below
// the LSN, and makes it the present one.
func (s *Scanner) hunt(pos, end int64, low record.LSN) (bool, error) {
	const magic = record.FrameMagic
	for pos < end {
		p, err := s.win.rest(pos, record.HeaderSize)
		if err != nil {
			return false, err
		}
		i := bytes.Index(p, []byte(magic))
		if i < 0 {
			pos += int64(max(1, len(p)-len(magic)+1))
			continue
		}
		s.start = pos + int64(i)
		frame, err := s.frame(s.start)
		if err == nil {
			_, err = record.DecodeFrame(frame, s.id, &s.batch)
		}
		if err != nil && !isDamage(err) {
			return false, err
		}
		if err == nil && s.header.Base >= low {
			return true, nil
		}
		pos = s.start + 1
	}
	return false, nil
}
