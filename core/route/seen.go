package route

// seen is a set that costs no allocation as long as it is small.
type seen[T comparable] struct {
	few  [12]T
	n    int
	many map[T]struct{}
}

// add puts v in and tells whether it is new.
func (s *seen[T]) add(v T) bool {
	for i := range s.n {
		if s.few[i] == v {
			return false
		}
	}
	if s.n < len(s.few) {
		s.few[s.n] = v
		s.n++
		return true
	}
	if _, ok := s.many[v]; ok {
		return false
	}
	if s.many == nil {
		s.many = make(map[T]struct{}, 4*len(s.few))
	}
	s.many[v] = struct{}{}
	return true
}

// queue is first in, first out. It costs no allocation as long as few values go
// through it.
type queue[T any] struct {
	few     [8]T
	many    []T
	in, out int // how many were added and taken
}

func (q *queue[T]) add(v T) {
	if q.in < len(q.few) {
		q.few[q.in] = v
	} else {
		q.many = append(q.many, v)
	}
	q.in++
}

// take returns the oldest value that was not taken yet.
func (q *queue[T]) take() (v T, ok bool) {
	if q.out == q.in {
		return v, false
	}
	if q.out < len(q.few) {
		v = q.few[q.out]
	} else {
		v = q.many[q.out-len(q.few)]
	}
	q.out++
	return v, true
}
