package commitlog

import (
	"fmt"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// ErrCorrupt is what a CorruptError wraps.
var ErrCorrupt = record.ErrCorrupt

// expected is a segment that has to be there, or that is there behind the
// manifest's end.
type expected struct {
	file      leftover
	following record.LSN // base of what follows; 0 for the last original segment
	listed    *file      // what the manifest says of it, if it rules it
}

// court goes through the segments of a log in order and tells whether each is
// as it must be, or as a crash may leave the last one.
type court struct {
	cfg      *Config
	m        *manifest
	expected []*expected
	present  *listing

	next     record.LSN // LSN behind what was judged
	chain    uint32     // CRC that the next original segment repeats
	free     bool       // nothing tells what the next one repeats
	sealedTo record.LSN // LSN behind the last sealed segment
	ruled    bool       // next has passed the manifest's end
}

// newCourt takes the segments that there have to be from the manifest, and
// those behind its end from the directory.
func newCourt(cfg *Config, dir *listing, m *manifest) (*court, error) {
	if len(dir.rewritten) > 0 && !dir.manifest {
		return nil, &CorruptError{
			Segment: cfg.path(manifestName),
			Err:     fmt.Errorf("manifest is missing beside rewritten segments: %w", ErrCorrupt),
		}
	}
	c := &court{cfg: cfg, m: m, present: dir, next: firstLSN, sealedTo: firstLSN}
	for _, f := range m.files {
		c.expected = append(c.expected, &expected{file: f.leftover(), following: f.next, listed: f})
	}
	for i, base := range dir.originals {
		if base < m.end {
			continue
		}
		e := &expected{file: leftover{base: base}}
		if i+1 < len(dir.originals) {
			e.following = dir.originals[i+1]
		}
		c.expected = append(c.expected, e)
	}
	return c, nil
}

// errMissing tells that a file that the manifest lists is not there.
var errMissing = fmt.Errorf("segment is missing: %w", ErrCorrupt)

// missing tells of the first segment that the manifest lists and that is not
// there.
func (c *court) missing() error {
	for _, e := range c.expected {
		if !c.present.has(e.file) {
			return &CorruptError{
				Segment: c.cfg.path(e.file.name()), First: e.file.base, Last: e.following - 1, Err: errMissing,
			}
		}
	}
	return nil
}

// judge takes what was found of the next expected segment.
func (c *court) judge(e *expected, rec *segment.Recovery) error {
	path := c.cfg.path(e.file.name())
	if d := rec.Damage; d != nil && isVersion(d.Err) {
		return fmt.Errorf("segment %s at %d: %w", path, d.From, d.Err)
	}
	c.enter(e)
	if bad := c.fault(e, rec); bad != nil {
		bad.Segment = path
		return bad
	}
	if rec.End > 0 {
		c.next = rec.Next
	}
	if rec.Sealed {
		c.sealedTo, c.chain, c.free = rec.Next, rec.Sum, e.file.generation > 0
	}
	return nil
}

// isLast tells that nothing is expected behind a segment.
func (c *court) isLast(e *expected) bool { return e == c.expected[len(c.expected)-1] }

// enter moves to where the segment has to begin: a listed one follows a hole
// or the one before, and the first that is not listed the manifest's end.
func (c *court) enter(e *expected) {
	switch {
	case e.listed != nil:
		c.free = c.free || c.next != e.file.base
		c.next = e.file.base
	default:
		c.close()
	}
}

// close ends the part that the manifest rules.
func (c *court) close() {
	if !c.ruled && c.m.end > firstLSN {
		c.next, c.chain, c.free, c.sealedTo = c.m.end, c.m.chain, false, c.m.end
	}
	c.ruled = true
}

func (c *court) fault(e *expected, rec *segment.Recovery) *CorruptError {
	base, d := e.file.base, rec.Damage
	last := e.following == 0
	bad := &CorruptError{To: segment.HeaderSize, First: c.next, Last: base - 1}
	switch {
	case base != c.next:
		bad.To, bad.Err = 0, fmt.Errorf("segment where that of %d should be: %w", c.next, ErrCorrupt)
		return bad
	case rec.End == 0 && last && rec.Torn():
		return nil
	case rec.End == 0:
		bad.To, bad.Last, bad.Err = d.To, max(e.following, 1)-1, d.Err
		return bad
	case !c.follows(e, &rec.Header):
		bad.Err = fmt.Errorf("header of segment %d does not follow the one before: %w", rec.Header.Base, ErrCorrupt)
		return bad
	case last && (d == nil || rec.TornTail()):
		return nil
	case d == nil && rec.Sealed:
		return e.differs(rec)
	}
	bad.From, bad.To, bad.First, bad.Last = rec.Size, rec.Size, rec.Next, max(e.following, 1)-1
	bad.Err = fmt.Errorf("segment ends without a footer: %w", ErrCorrupt)
	if d != nil {
		bad.From, bad.To, bad.Err = d.From, d.To, d.Err
		if d.Last > 0 {
			bad.Last = d.Last
		}
	}
	return bad
}

// follows tells whether a header is that of the segment, and repeats the CRC
// of the one before where that is known.
func (c *court) follows(e *expected, h *segment.Header) bool {
	return h.Base == e.file.base && h.Generation == e.file.generation && h.Rewritten == (h.Generation > 0) &&
		(c.free || h.Rewritten || h.Previous == c.chain)
}

// differs compares a sound segment with what the manifest says of it.
func (e *expected) differs(rec *segment.Recovery) *CorruptError {
	f := e.listed
	if f == nil || (f.next == rec.Next && f.size == rec.Size && f.sum == rec.Sum) {
		return nil
	}
	return &CorruptError{
		To: rec.Size, First: f.base, Last: f.next - 1,
		Err: fmt.Errorf("another segment than the manifest lists: %w", ErrCorrupt),
	}
}
