package route

// chunkSize is the number of values that a slab allocates at once.
const chunkSize = 1 << chunkBits

const chunkBits = 7

// slab keeps values by number, so that links between millions of them cost
// four bytes and the garbage collector has few objects to visit. It grows by
// whole chunks and never moves a value: growth costs no pause. Number 0 is
// never given out and means none. Freed numbers are used again; the memory
// stays with the slab.
type slab[T any] struct {
	chunks []*[chunkSize]T
	last   uint32 // highest number ever given out
	free   []uint32
}

// alloc gives out a number for a zero value.
func (s *slab[T]) alloc() uint32 {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return i
	}
	s.last++
	if int(s.last>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkSize]T))
	}
	return s.last
}

// at returns the value of a number that is in use; it stays in its place until
// the number is released.
func (s *slab[T]) at(i uint32) *T {
	return &s.chunks[i>>chunkBits][i&(chunkSize-1)]
}

// release takes a number back and clears its value.
func (s *slab[T]) release(i uint32) {
	var zero T
	*s.at(i) = zero
	s.free = append(s.free, i)
}
