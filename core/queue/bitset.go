package queue

import (
	"math/bits"

	"github.com/tidegate/tidegate/core/record"
)

const (
	blockBits = 4096
	blockLen  = blockBits / 64
)

type block struct {
	words [blockLen]uint64
	count int
}

// full stands for every block whose bits are all set, so that a long settled
// stretch above one unsettled message costs a pointer per 4,096 messages.
var full = &block{count: blockBits}

// bitset is a set of offsets at or above a rising base. The zero bitset is empty.
type bitset struct {
	base   record.Offset // a multiple of blockBits
	blocks []*block      // nil is an empty block
	count  int
	spare  *block // an empty block for reuse, or nil
}

func (s *bitset) has(o record.Offset) bool {
	if o < s.base {
		return false
	}
	i := int((o - s.base) / blockBits)
	if i >= len(s.blocks) || s.blocks[i] == nil {
		return false
	}
	if s.blocks[i] == full {
		return true
	}
	bit := o % blockBits
	return s.blocks[i].words[bit/64]&(1<<(bit%64)) != 0
}

// grow returns the index of the block of o, making room for it.
func (s *bitset) grow(o record.Offset) int {
	if s.count == 0 {
		s.blocks = s.blocks[:0]
		s.base = o &^ (blockBits - 1)
	}
	if o < s.base { // all at once: it may be far
		first := o &^ (blockBits - 1)
		s.blocks = append(make([]*block, int((s.base-first)/blockBits)), s.blocks...)
		s.base = first
	}
	i := int((o - s.base) / blockBits)
	for i >= len(s.blocks) {
		s.blocks = append(s.blocks, nil)
	}
	return i
}

// set adds o and tells whether it was new.
func (s *bitset) set(o record.Offset) bool {
	i := s.grow(o)
	b := s.blocks[i]
	if b == full {
		return false
	}
	if b == nil {
		b = s.empty()
		s.blocks[i] = b
	}
	bit := o % blockBits
	if b.words[bit/64]&(1<<(bit%64)) != 0 {
		return false
	}
	b.words[bit/64] |= 1 << (bit % 64)
	b.count++
	s.count++
	if b.count == blockBits {
		s.blocks[i] = full
		s.recycle(b)
	}
	return true
}

func (s *bitset) empty() *block {
	if b := s.spare; b != nil {
		s.spare = nil
		return b
	}
	return new(block)
}

func (s *bitset) recycle(b *block) {
	if s.spare == nil && b != full {
		*b = block{}
		s.spare = b
	}
}

// setRange adds all offsets from first up to, but not with, end. It costs time
// by the block, so a range may be long.
func (s *bitset) setRange(first, end record.Offset) {
	for first < end {
		next := min(end, first&^(blockBits-1)+blockBits)
		if next-first == blockBits {
			i := s.grow(first)
			if b := s.blocks[i]; b != full {
				s.count += blockBits
				if b != nil {
					s.count -= b.count
					s.recycle(b)
				}
				s.blocks[i] = full
			}
			first = next
		}
		for ; first < next; first++ {
			s.set(first)
		}
	}
}

// ranges appends up to limit ranges of neighbours in the set, ascending.
func (s *bitset) ranges(dst []record.Range, limit int) []record.Range {
	add := func(first, end record.Offset) bool {
		if n := len(dst); n > 0 && dst[n-1].End == first {
			dst[n-1].End = end
			return true
		}
		if len(dst) == limit {
			return false
		}
		dst = append(dst, record.Range{First: first, End: end})
		return true
	}
	for i, b := range s.blocks {
		at := s.base + record.Offset(i)*blockBits
		if b == full {
			if !add(at, at+blockBits) {
				return dst
			}
			continue
		}
		for w := 0; b != nil && w < blockLen; w++ {
			if b.words[w] == 0 {
				continue
			}
			for o := range record.Offset(64) {
				if o += record.Offset(w) * 64; b.words[w]&(1<<(o%64)) != 0 && !add(at+o, at+o+1) {
					return dst
				}
			}
		}
	}
	return dst
}

// remove takes o out and tells whether it was in.
func (s *bitset) remove(o record.Offset) bool {
	if !s.has(o) {
		return false
	}
	i := int((o - s.base) / blockBits)
	if s.blocks[i] == full {
		b := &block{count: blockBits}
		for w := range b.words {
			b.words[w] = ^uint64(0)
		}
		s.blocks[i] = b
	}
	b := s.blocks[i]
	bit := o % blockBits
	b.words[bit/64] &^= 1 << (bit % 64)
	b.count--
	s.count--
	if b.count == 0 {
		s.blocks[i] = nil
		s.recycle(b)
		for len(s.blocks) > 1 && s.blocks[0] == nil {
			s.blocks = s.blocks[1:]
			s.base += blockBits
		}
	}
	return true
}

// next returns the first offset at or after o that is not in the set.
func (s *bitset) next(o record.Offset) record.Offset {
	for o >= s.base {
		i := int((o - s.base) / blockBits)
		if i >= len(s.blocks) || s.blocks[i] == nil {
			return o
		}
		if s.blocks[i] == full {
			o = (o &^ (blockBits - 1)) + blockBits
			continue
		}
		bit := o % blockBits
		if w := ^s.blocks[i].words[bit/64] >> (bit % 64); w != 0 {
			return o + record.Offset(bits.TrailingZeros64(w))
		}
		o = (o &^ 63) + 64
	}
	return o
}

// trim removes everything below o.
func (s *bitset) trim(o record.Offset) {
	for len(s.blocks) > 0 && s.base+blockBits <= o {
		if b := s.blocks[0]; b != nil {
			s.count -= b.count
			s.blocks[0] = nil
			s.recycle(b)
		}
		s.blocks = s.blocks[1:]
		s.base += blockBits
	}
	if len(s.blocks) > 0 && s.base < o {
		s.trimBlock(o)
	}
}

// trimBlock removes what lies below o in the first block.
func (s *bitset) trimBlock(o record.Offset) {
	b := s.blocks[0]
	if b == nil || b == full {
		return // a full block below o+4096 is harmless: its owner's floor is past it
	}
	bit := o - s.base
	for w := range bit / 64 {
		b.count -= bits.OnesCount64(b.words[w])
		s.count -= bits.OnesCount64(b.words[w])
		b.words[w] = 0
	}
	low := b.words[bit/64] & (1<<(bit%64) - 1)
	b.words[bit/64] &^= low
	b.count -= bits.OnesCount64(low)
	s.count -= bits.OnesCount64(low)
	if b.count == 0 {
		s.blocks[0] = nil
		s.recycle(b)
	}
}

// each calls fn for each offset in the set, ascending; fn must not change the set.
func (s *bitset) each(fn func(record.Offset)) {
	for i, b := range s.blocks {
		if b == nil {
			continue
		}
		at := s.base + record.Offset(i)*blockBits
		for o := range record.Offset(blockBits) {
			if b == full || b.words[o/64]&(1<<(o%64)) != 0 {
				fn(at + o)
			}
		}
	}
}
