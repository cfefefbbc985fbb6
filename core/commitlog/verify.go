package commitlog

import (
	"fmt"

	"github.com/cockroachdb/errors/oserror"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Progress tells how far Verify has got.
type Progress struct {
	// Segment is the name of the file at work.
	Segment string
	// Done and Total are bytes of all files.
	Done, Total int64
}

// Report is what Verify found.
type Report struct {
	// Generation is that of the manifest; 0 without one.
	Generation uint64
	// First and Next are the first LSN of the log and the one behind its last.
	First, Next record.LSN
	// Synced is the LSN behind the last record that is known to have been on stable
	// storage: by what the segments tell, and by cfg.From.
	Synced record.LSN
	// Transfers are, by shard, the highest number of a transfer from that shard that
	// has taken effect here: a record that its log had on stable storage.
	Transfers map[uint32]record.LSN
	// Segments are all segments that there are or should be, in order.
	Segments []SegmentReport
	// Unknown are names of segment files that are no part of the log.
	Unknown []string
}

// Faults is the number of faults in all segments. A log without faults opens.
func (r *Report) Faults() (n int) {
	for i := range r.Segments {
		n += len(r.Segments[i].Faults)
	}
	return n
}

// SegmentReport is what Verify found of one segment.
type SegmentReport struct {
	// Name is that of the file in the log's directory.
	Name string
	// Info is taken from the sound frames.
	Info
	// Batches is the number of sound frames that hold a batch, Stored the bytes
	// of their payloads in the file.
	Batches, Stored uint64
	// Codecs is the number of batches by [record.Codec].
	Codecs [3]uint64
	// Watermark is the durable watermark: bytes below it were on stable storage.
	Watermark int64
	// Faults are ranges that are lost, in order.
	Faults []Fault
	// Torn is what is no use behind the last sound frame of the last segment and
	// behind all that is known to have been on stable storage, as a crash leaves it.
	// Open cuts it away. When a fault has the same range, the log was known to go on.
	Torn *Fault
}

// Fault is a range of a segment that is no use.
type Fault struct {
	// From and To are the range of bytes. It is empty where bytes are sound but
	// do not follow those before, and where a file is missing.
	From, To int64
	// First and Last are the LSNs that are lost: Last is First-1 when none is,
	// and 0 when nothing tells where they end.
	First, Last record.LSN
	// Foreign tells that the file may be sound in itself but is no part of this
	// log.
	Foreign bool
	// Err is what was found. It wraps ErrCorrupt, record.ErrShort or
	// record.ErrVersion.
	Err error
}

// Verify reads every frame of every segment of a log that is not open, and
// tells what is there and what is not. A log that ends below cfg.From has lost
// its end, a fault that its last segment is charged with. It changes nothing.
// progress may be nil.
// An error is one of reading, or tells of a manifest that is no use.
func Verify(cfg Config, progress func(Progress)) (*Report, error) {
	cfg.setDefaults()
	dir, m, c, err := load(&cfg)
	if err != nil {
		return nil, fmt.Errorf("verify log %s: %w", cfg.Dir, err)
	}
	r := &Report{Generation: m.generation, First: m.end, Transfers: map[uint32]record.LSN{}}
	var done Progress
	for _, e := range c.expected {
		if size, err := sizeOf(&cfg, e.file.name()); err == nil {
			done.Total += size
		} else if !oserror.IsNotExist(err) {
			return nil, fmt.Errorf("verify log %s: %w", cfg.Dir, err)
		}
	}
	for i, e := range c.expected {
		done.Segment = e.file.name()
		s, v, err := verifySegment(c, e, r.noteTransfers, func(bytes int64) {
			if done.Done += bytes; progress != nil {
				progress(done)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("verify log %s: %w", cfg.Dir, err)
		}
		if i == 0 {
			r.First = s.Base
		}
		r.Segments = append(r.Segments, *s)
		r.Synced = max(r.Synced, s.Base)
		if v != nil {
			r.Synced = max(r.Synced, v.Synced)
		}
	}
	behind := c.next
	c.close()
	r.Next = max(c.next, behind)
	r.Synced = max(r.Synced, m.end, cfg.From+1)
	replaced, unknown := dir.unlisted(m)
	for _, f := range append(replaced, unknown...) {
		r.Unknown = append(r.Unknown, f.name())
	}
	return r, nil
}

// noteTransfers looks for transfers from other shards.
func (r *Report) noteTransfers(_ int64, _ *record.Header, b *record.Batch) error {
	for i := range b.Len() {
		kind, body := b.Record(i)
		if kind != record.KindTransferred {
			continue
		}
		if ref, err := record.DecodeTransferRef(body); err == nil { // else a start tells
			r.Transfers[ref.Source] = max(r.Transfers[ref.Source], ref.Number)
		}
	}
	return nil
}

func sizeOf(cfg *Config, name string) (int64, error) {
	info, err := cfg.FS.Stat(cfg.path(name))
	if err != nil {
		return 0, fmt.Errorf("stat: %w", err)
	}
	return info.Size(), nil
}

// visitor is called with each sound frame of a segment.
type visitor func(pos int64, h *record.Header, b *record.Batch) error

// verifySegment walks through the next expected segment. The survey is nil
// when the file is missing.
func verifySegment(c *court, e *expected, visit visitor, progress func(bytes int64)) (*SegmentReport, *segment.Survey, error) {
	c.enter(e)
	s := &SegmentReport{Name: e.file.name()}
	s.Base, s.Last, s.Rewritten = e.file.base, max(e.following, 1)-1, e.file.generation > 0
	if c.next < e.file.base {
		s.Faults = append(s.Faults, Fault{
			First: c.next, Last: e.file.base - 1, Foreign: true,
			Err: fmt.Errorf("segment where that of %d should be: %w", c.next, ErrCorrupt),
		})
		c.free = true
	}
	if !c.present.has(e.file) {
		s.Faults = append(s.Faults, Fault{First: e.file.base, Last: s.Last, Err: errMissing})
		c.next, c.free = e.following, true
		s.behind(c, e, 0)
		return s, nil, nil
	}
	last := int64(0)
	v, err := segment.Walk(c.cfg.FS, c.cfg.path(s.Name), c.cfg.Identity, e.file.base,
		func(pos int64, h *record.Header, b *record.Batch) error {
			if pos-last >= progressBytes {
				progress(pos - last)
				last = pos
			}
			if visit == nil {
				return nil
			}
			return visit(pos, h, b)
		})
	if err != nil {
		return nil, nil, err
	}
	progress(v.Size - last)
	s.count(v)
	s.faults(c, e, v)
	if c.next = v.Next; !v.Sealed {
		c.next = max(v.Next, e.following)
	}
	s.behind(c, e, v.Size)
	c.sealedTo, c.chain, c.free = v.Next, v.Sum, e.file.generation > 0 || !v.Sealed
	return s, v, nil
}

// behind notes that the log ends before the checkpoint with its last segment, be
// it one that the manifest lists: what followed, in the file or in others, is gone
// without a trace. end is where the file ends.
func (s *SegmentReport) behind(c *court, e *expected, end int64) {
	next := c.next
	if e.listed != nil {
		next = max(next, c.m.end)
	}
	if n := len(s.Faults); !c.isLast(e) || c.cfg.From < next || n > 0 && s.Faults[n-1].Last == 0 {
		return
	}
	from := end
	if s.Torn != nil {
		from = s.Torn.From
	}
	s.Faults = append(s.Faults, Fault{
		From: from, To: end, First: next, Last: c.cfg.From,
		Err: fmt.Errorf("%w: %w", ErrBehind, ErrCorrupt),
	})
	c.next, s.Last = c.cfg.From+1, c.cfg.From
}

// progressBytes is the distance of two calls of progress.
const progressBytes = 4 << 20

func (s *SegmentReport) count(v *segment.Survey) {
	s.Records, s.Raw, s.Bytes, s.Sealed = v.Stats.Records, int64(v.Stats.Raw), v.Size, v.Sealed
	s.First, s.Latest, s.Batches = v.Stats.First, v.Stats.Last, v.Stats.Batches
	s.Stored, s.Codecs, s.Watermark = v.Stored, v.Codecs, v.Watermark
	if s.Last = max(s.Last, v.Next-1); v.Sealed {
		s.Last = v.Next - 1
	}
}

// faults completes what the walk found by what stands around the segment.
func (s *SegmentReport) faults(c *court, e *expected, v *segment.Survey) {
	last := e.following == 0
	for _, d := range v.Faults {
		f := Fault{From: d.From, To: d.To, First: d.First, Last: d.Last, Err: d.Err}
		if f.Last == 0 && !last {
			f.Last = e.following - 1
		}
		if last && v.HeaderErr == nil && !d.Gap && f.From >= v.Watermark && !isVersion(d.Err) {
			f.To, f.Last = v.Size, 0
			s.Torn, v.Next, s.Last = &f, f.First, f.First-1
			break // Open cuts here, whatever follows
		}
		s.Faults = append(s.Faults, f)
	}
	if last && v.HeaderErr != nil && !v.Stranger && v.Size <= segment.HeaderSize && !isVersion(v.HeaderErr) {
		torn := s.Faults[0]
		s.Faults, s.Torn = s.Faults[1:], &torn
		return
	}
	if v.HeaderErr != nil {
		s.mergeHeader(v)
	} else if !c.follows(e, &v.Header) {
		s.foreign(e, v, fmt.Errorf("header does not follow the segment before: %w", ErrCorrupt))
		return
	}
	told := v.Next - 1 // up to which it is there, or told to be lost
	if n := len(s.Faults); n > 0 {
		told = max(told, s.Faults[n-1].Last)
	}
	if n := len(s.Faults); !last && !v.Sealed && (n == 0 || s.Faults[n-1].To < v.Size || told+1 < e.following) {
		s.Faults = append(s.Faults, Fault{
			From: min(v.End, v.Size), To: v.Size, First: told + 1, Last: e.following - 1,
			Err: fmt.Errorf("segment ends without a footer: %w", ErrCorrupt),
		})
	}
	if f := e.listed; f != nil && len(s.Faults) == 0 && (f.next != v.Next || f.size != v.Size || f.sum != v.Sum) {
		s.foreign(e, v, fmt.Errorf("another segment than the manifest lists: %w", ErrCorrupt))
	}
}

// mergeHeader makes one fault of a header that is not the segment's and of all that
// follows it, where no frame of the segment does: then nothing tells how many there
// were. A crash leaves no such file, since a segment begins with its header on disk.
func (s *SegmentReport) mergeHeader(v *segment.Survey) {
	if len(s.Faults) != 2 || v.End > segment.HeaderSize || s.Faults[1].To < v.Size {
		return
	}
	s.Faults[1].From, s.Faults[1].Err = 0, s.Faults[0].Err
	s.Faults = s.Faults[1:]
}

// foreign notes that no record of the file is one of this log.
func (s *SegmentReport) foreign(e *expected, v *segment.Survey, err error) {
	s.Faults = append(s.Faults, Fault{
		To: v.Size, First: e.file.base, Last: max(v.Next, e.following) - 1, Foreign: true, Err: err,
	})
}
