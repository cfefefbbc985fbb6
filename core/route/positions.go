package route

import "math/bits"

// positions is a set of places in a key, 0 before the first word up to MaxWords
// after the last.
type positions [MaxWords/64 + 1]uint64

func (p *positions) add(i int) { p[i/64] |= 1 << (i % 64) }

func (p *positions) drop(i int) { p[i/64] &^= 1 << (i % 64) }

func (p *positions) has(i int) bool { return p[i/64]&(1<<(i%64)) != 0 }

// min returns the lowest place, or -1 for the empty set.
func (p *positions) min() int { return p.from(0) }

// from returns the lowest place that is not below i, or -1.
func (p *positions) from(i int) int {
	w := i / 64
	if w >= len(p) {
		return -1
	}
	if rest := p[w] >> (i % 64); rest != 0 {
		return i + bits.TrailingZeros64(rest)
	}
	for w++; w < len(p); w++ {
		if p[w] != 0 {
			return w*64 + bits.TrailingZeros64(p[w])
		}
	}
	return -1
}

// upFrom returns all places from first to last.
func upFrom(first, last int) (p positions) {
	for i := first; i <= last; i++ {
		p.add(i)
	}
	return p
}

// afterWord returns the places one word on.
func (p *positions) afterWord() (after positions) {
	carry := uint64(0)
	for w := range p {
		after[w] = p[w]<<1 | carry
		carry = p[w] >> 63
	}
	return after
}
