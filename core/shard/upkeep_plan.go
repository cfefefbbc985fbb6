package shard

import (
	"slices"

	"github.com/tidegate/tidegate/core/commitlog"
)

// smallShare is the part of a segment's usual length below which a rewritten
// segment is small: it is taken along when a neighbour is rewritten, so that
// segments do not become many and tiny.
const smallShare = 4

// smallEnough is the part of a segment, one of that many, that need not be stored
// with zstd: to rewrite it all for that would gain next to nothing.
const smallEnough = 4

// leastStale is the part of a segment's usual length that may be stale before any
// is rewritten for records that are no messages.
const leastStale = 16

// plan is what to do next: segments to give up, or neighbours to make one of.
type plan struct {
	drop    []commitlog.Info
	rewrite []commitlog.Info
	oldest  bool  // no segment is older than those that are rewritten
	lacks   int64 // bytes of the shortest segment to rewrite, when there is room for none
}

// candidate is a segment as the plan sees it.
type candidate struct {
	commitlog.Info
	counted  bool // the census knows it
	damaged  bool
	live     uint64 // records that are needed, about
	controls bool   // there may be records in it that only a rewrite can judge
	known    *kept  // what a rewrite has left; nil when it is not known
}

// candidate brings together what is known of a segment. first tells that no other
// is older. u.step is held.
func (s *Shard) candidate(i commitlog.Info, first bool) candidate {
	u := &s.upkeep
	c := candidate{Info: i, damaged: u.damaged[i.Base]}
	n := u.census.segments[i.Base]
	if n == nil {
		return c
	}
	c.counted, c.live, c.controls = true, n.live, n.controls
	if k, known := u.kept[i.Base]; known {
		c.known = &k
		c.live += k.controls
		if !first || k.oldest {
			c.live += k.ends
		}
		c.controls = k.controls+k.ends > 0
	}
	c.live = min(c.live, i.Records)
	return c
}

// dead tells whether nothing of the segment is of any use.
func (c *candidate) dead() bool { return c.counted && c.live == 0 && !c.controls }

// worn tells whether so little of the segment is needed that it is to be rewritten.
func (c *candidate) worn(percent int) bool {
	return c.counted && !c.damaged && (c.live == 0 || c.live*100 < c.Records*uint64(percent))
}

// plain tells whether the segment is still as it was appended, and most of it was
// not stored small then.
func (c *candidate) plain() bool {
	return c.counted && !c.damaged && !c.Rewritten && c.Zstd*smallEnough < c.Raw*(smallEnough-1)
}

// left is about how long the segment will be when it is rewritten.
func (c *candidate) left() int64 {
	if c.Records == 0 {
		return 0
	}
	left := float64(c.Bytes) * float64(c.live) / float64(c.Records)
	if c.plain() {
		left *= 0.7 // zstd in large blocks for s2 in those of the commits
	}
	return int64(left)
}

// judgeAgain finds the segments of which many records that are no messages may be
// stale by now. All of them are together as long as what is needed and what came
// since: so when half as much came as all have, about as much is stale as is needed,
// and it is time to look. That bounds both what is stale, and what is rewritten for
// it, by a share of what was written.
func (s *Shard) judgeAgain(all []candidate) {
	mostly := func(c *candidate) bool { // of records that may be stale
		if c.known == nil || !c.counted || c.known.controls+c.known.ends == 0 {
			return false
		}
		free := *c
		free.live = s.upkeep.census.segments[c.Base].live
		return free.worn(s.cfg.Upkeep.RewritePercent)
	}
	var bytes uint64
	for i := range all {
		if mostly(&all[i]) {
			bytes += uint64(all[i].Bytes)
		}
	}
	since, least := s.controlsSoFar(), uint64(s.cfg.SegmentBytes/leastStale)
	for i := range all {
		c := &all[i]
		if mostly(c) && since-c.known.at >= max(bytes/2, least) {
			c.live = s.upkeep.census.segments[c.Base].live
		}
	}
}

// plan decides what to do with the segments, which are in order. At most room bytes
// of them are rewritten.
func (s *Shard) plan(segments []commitlog.Info, room int64) plan {
	all := make([]candidate, 0, len(segments))
	var p plan
	for i, info := range segments {
		all = append(all, s.candidate(info, i == 0))
	}
	s.judgeAgain(all)
	for i := range all {
		if all[i].dead() {
			p.drop = append(p.drop, all[i].Info)
		}
	}
	if len(p.drop) > 0 {
		return p
	}
	cfg := &s.cfg.Upkeep
	wanted := func(c *candidate) bool {
		return c.worn(cfg.RewritePercent) || cfg.Compress && c.plain()
	}
	first := slices.IndexFunc(all, func(c candidate) bool { return c.Bytes <= room && wanted(&c) })
	if first < 0 {
		p.lacks = shortest(all, wanted)
		return p
	}
	begin, end := group(all, first, s.cfg.SegmentBytes, room, wanted)
	for _, c := range all[begin:end] {
		p.rewrite = append(p.rewrite, c.Info)
	}
	p.oldest = begin == 0
	return p
}

// group returns the range of segments to rewrite as one: the first one that wants
// it, those behind it that want it too or are small, and small ones before it,
// for as long as the result and the work are no more than a segment or two, and
// there is room for them.
func group(all []candidate, first int, size, room int64, wanted func(*candidate) bool) (begin, end int) {
	small := func(c *candidate) bool {
		return c.counted && !c.damaged && c.Rewritten && c.Bytes < size/smallShare
	}
	left, work := all[first].left(), all[first].Bytes
	joins := func(c *candidate) bool {
		if left+c.left() > size || work+c.Bytes > min(2*size, room) {
			return false
		}
		left, work = left+c.left(), work+c.Bytes
		return true
	}
	begin, end = first, first+1
	for end < len(all) && (small(&all[end]) || wanted(&all[end])) && joins(&all[end]) {
		end++
	}
	for begin > 0 && small(&all[begin-1]) && joins(&all[begin-1]) {
		begin--
	}
	return begin, end
}

// shortest is the length of the shortest segment that wants to be rewritten; 0
// when none does.
func shortest(all []candidate, wanted func(*candidate) bool) (bytes int64) {
	for i := range all {
		if c := &all[i]; wanted(c) && (bytes == 0 || c.Bytes < bytes) {
			bytes = c.Bytes
		}
	}
	return bytes
}
