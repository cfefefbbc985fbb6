package bench

import "math/bits"

// sequence is what one consumer saw of every publisher's numbers. One
// goroutine owns it until the run is over.
type sequence struct {
	publishers []*window // bounds the numbers that can exist
	seen       [][]uint64
	high       []uint64

	received   uint64
	duplicates uint64 // came again without a mark
	flagged    uint64 // came again, marked
	reordered  uint64 // first came after a later one
	invented   uint64 // never sent
}

func newSequence(publishers []*window) *sequence {
	return &sequence{
		publishers: publishers,
		seen:       make([][]uint64, len(publishers)),
		high:       make([]uint64, len(publishers)),
	}
}

// note counts one delivery.
func (s *sequence) note(st stamp, flagged bool) {
	s.received++
	if st.publisher >= len(s.publishers) || st.n == 0 || st.n > s.publishers[st.publisher].sent.Load() {
		s.invented++
		return
	}
	word, bit := st.n/64, uint64(1)<<(st.n%64)
	seen := s.seen[st.publisher]
	for uint64(len(seen)) <= word {
		seen = append(seen, 0)
	}
	s.seen[st.publisher] = seen
	switch {
	case seen[word]&bit == 0:
		seen[word] |= bit
		if st.n < s.high[st.publisher] {
			s.reordered++
		}
		s.high[st.publisher] = max(s.high[st.publisher], st.n)
	case flagged:
		s.flagged++
	default:
		s.duplicates++
	}
}

// old counts a delivery of a message that another run published.
func (s *sequence) old(flagged bool) {
	s.received++
	if flagged {
		s.flagged++
	}
}

// join adds what a competing consumer saw; what both saw is a duplicate.
func (s *sequence) join(other *sequence) {
	for p, words := range other.seen {
		for i, w := range words {
			if i >= len(s.seen[p]) {
				s.seen[p] = append(s.seen[p], 0)
			}
			s.duplicates += uint64(bits.OnesCount64(s.seen[p][i] & w))
			s.seen[p][i] |= w
		}
	}
	s.received += other.received
	s.duplicates += other.duplicates
	s.flagged += other.flagged
	s.reordered += other.reordered
	s.invented += other.invented
}

// lost counts the confirmed messages that never came.
func (s *sequence) lost() uint64 {
	lost := uint64(0)
	for p, w := range s.publishers {
		for n := uint64(1); n < w.low.Load(); n++ {
			if word := int(n / 64); word >= len(s.seen[p]) || s.seen[p][word]&(1<<(n%64)) == 0 {
				lost++
			}
		}
	}
	return lost
}
