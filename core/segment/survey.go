package segment

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
)

// Survey is all that can be said of a segment file, sound or not.
type Survey struct {
	// Header is the segment's header, all zero when HeaderErr is set, but for a stranger
	// of the same log: of that nothing else is read.
	Header Header
	// HeaderErr is what is wrong with the header. It wraps record.ErrVersion
	// when that is of a later version.
	HeaderErr error
	// Stranger tells that the header is a sound one, of another segment.
	Stranger bool
	// Size is the length of the file.
	Size int64
	// Base and Next are the range of LSNs that the file covers as far as its
	// frames and its footer tell.
	Base, Next record.LSN
	// Sealed tells that there is a sound footer, and Sum is the CRC that ends it.
	Sealed bool
	Sum    uint32
	// Watermark is the highest durable watermark that a sound frame or footer
	// proves.
	Watermark int64
	// Synced is the LSN behind the last record of which the watermark tells that it
	// was on stable storage.
	Synced record.LSN
	// Stats counts the sound frames, and Stored the bytes of their payloads as
	// stored; Codecs is the number of batches stored with each codec.
	Stats  Stats
	Stored uint64
	Codecs [3]uint64
	// Faults are the ranges that are no use, in order.
	Faults []Damage
	// End is the position behind the last sound frame.
	End int64

	unsynced []frameEnd // of frames that no watermark has covered yet, in order
}

// frameEnd is where a frame ends, and the LSN behind its last record.
type frameEnd struct {
	pos  int64
	next record.LSN
}

// Walk reads a whole segment file frame by frame, over all faults, and calls
// visit with every sound frame that holds a batch, in order. base is the LSN
// that the file's name begins with. The arguments of visit are valid until it
// returns. An error is one of reading, or of visit. Nothing is changed on disk.
func Walk(fs vfs.FS, path string, id record.Identity, base record.LSN,
	visit func(pos int64, h *record.Header, b *record.Batch) error,
) (*Survey, error) {
	file, err := fs.Open(path)
	if err != nil {
		return nil, fmt.Errorf("walk segment: %w", err)
	}
	v, err := walk(file, id, base, visit)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("walk segment %s: %w", path, err)
	}
	return v, nil
}

func walk(file vfs.File, id record.Identity, base record.LSN,
	visit func(pos int64, h *record.Header, b *record.Batch) error,
) (*Survey, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	v := &Survey{Size: info.Size(), Base: base, Next: base, Synced: base, End: HeaderSize, Watermark: HeaderSize}
	w := window{file: file, size: v.Size, chunk: HeaderSize}
	p, err := w.at(0, HeaderSize)
	if err != nil {
		return nil, err
	}
	if v.header(p, id); v.Stranger && v.Header.Identity == id {
		return v, nil
	}
	t, _, err := readFooter(file, v.Size, id)
	if err != nil && !errors.Is(err, record.ErrVersion) {
		return nil, err
	}
	end := v.Size
	if t != nil {
		end, v.Watermark, v.Sealed, v.Sum = t.end, v.Size, true, t.sum
	}
	s := newScanner(file, id, HeaderSize, end)
	for s.pos < end {
		ok, err := v.step(s, end)
		if err == nil && ok && !s.header.Mark {
			err = visit(s.start, &s.header, &s.batch)
		}
		if err != nil {
			return nil, err
		}
	}
	if t != nil && (t.next != v.Next || t.base != base) {
		v.short(t)
	}
	v.unsynced = nil
	return v, nil
}

func (v *Survey) header(p []byte, id record.Identity) {
	h, err := decodeHeader(p)
	sound := err == nil
	if sound && h.Identity != id {
		err = fmt.Errorf("segment of shard %d of cluster %x: %w", h.Identity.Shard, h.Identity.Cluster, record.ErrCorrupt)
	}
	if err == nil && h.Base != v.Base {
		err = fmt.Errorf("segment of %d in the place of %d: %w", h.Base, v.Base, record.ErrCorrupt)
	}
	if err != nil {
		v.HeaderErr, v.Stranger = err, sound
		if sound && h.Identity == id { // its frames are of other records
			v.Header = h
			v.Faults = append(v.Faults, Damage{To: v.Size, First: v.Base, Err: err})
			return
		}
		v.Faults = append(v.Faults, Damage{To: min(HeaderSize, v.Size), First: v.Base, Last: v.Base - 1, Err: err})
		return
	}
	v.Header = h
}

// step takes the frame at the scanner's place, or the fault that is there, and
// moves behind it. It tells whether there is a frame to use.
func (v *Survey) step(s *Scanner, end int64) (bool, error) {
	s.start = s.pos
	header := false
	frame, err := s.frame(s.pos)
	if err == nil {
		header = true
		_, err = record.DecodeFrame(frame, s.id, &s.batch)
	}
	switch {
	case err != nil && !isDamage(err):
		return false, err
	case err == nil && s.header.Base == v.Next:
		v.take(s)
		return true, nil
	case err == nil && s.header.Base > v.Next:
		v.fault(s.pos, s.pos, s.header.Base, fmt.Errorf("frame %d where %d should be: %w",
			s.header.Base, v.Next, record.ErrCorrupt))
		v.Faults[len(v.Faults)-1].Gap = true
		v.take(s)
		return true, nil
	case err == nil:
		// Its LSNs were there before.
		v.fault(s.pos, s.pos+int64(len(frame)), v.Next, fmt.Errorf("frame %d where %d should be: %w",
			s.header.Base, v.Next, record.ErrCorrupt))
		s.pos += int64(len(frame))
		return false, nil
	case header && s.header.Base == v.Next && s.header.Next() > v.Next:
		// The header is sound and says what is lost.
		v.fault(s.pos, s.pos+int64(s.header.Size()), s.header.Next(), err)
		s.pos += int64(s.header.Size())
		return false, nil
	}
	return v.hunt(s, end, err)
}

// hunt looks for the frame behind damage that does not tell its own length.
func (v *Survey) hunt(s *Scanner, end int64, fault error) (bool, error) {
	from := s.pos
	found, err := s.hunt(from+1, end, v.Next)
	if err != nil {
		return false, err
	}
	if !found {
		v.Faults = append(v.Faults, Damage{From: from, To: end, First: v.Next, Err: fault})
		s.pos = end
		return false, nil
	}
	v.fault(from, s.start, s.header.Base, fault)
	v.take(s)
	return true, nil
}

// fault notes a range of bytes that ends the records up to next.
func (v *Survey) fault(from, to int64, next record.LSN, err error) {
	v.Faults = append(v.Faults, Damage{From: from, To: to, First: v.Next, Last: next - 1, Err: err})
	v.Next = next
}

// take counts the scanner's present frame.
func (v *Survey) take(s *Scanner) {
	h := &s.header
	v.Next, v.End = h.Next(), s.start+int64(h.Size())
	s.pos = v.End
	v.Watermark = max(v.Watermark, s.watermark())
	v.unsynced = append(v.unsynced, frameEnd{v.End, v.Next})
	for len(v.unsynced) > 0 && v.unsynced[0].pos <= v.Watermark {
		v.Synced, v.unsynced = v.unsynced[0].next, v.unsynced[1:]
	}
	if !h.Mark {
		v.Stats.note(h)
		v.Stored += uint64(h.Stored)
		v.Codecs[h.Codec]++
	}
}

// short notes that the footer promises other records than the frames hold.
func (v *Survey) short(t *trailer) {
	if n := len(v.Faults); n > 0 && v.Faults[n-1].To == t.end && v.Faults[n-1].Last == 0 && t.next > v.Next {
		v.Faults[n-1].Last, v.Next = t.next-1, t.next
		return
	}
	v.fault(t.end, v.Size, max(t.next, v.Next), fmt.Errorf("footer of %d to %d: %w", t.base, t.next, record.ErrCorrupt))
}
