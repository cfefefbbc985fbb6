package schedule

import "github.com/tidegate/tidegate/core/record"

// heap is a min-heap of entries.
type heap []Entry

func (h *heap) push(e Entry) {
	*h = append(*h, e)
	q := *h
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(q[up]) {
			break
		}
		q[up], q[i] = q[i], q[up]
		i = up
	}
}

func (h *heap) pop() Entry {
	q := *h
	first, end := q[0], len(q)-1
	q[0] = q[end]
	q = q[:end]
	*h = q
	for i := 0; ; {
		least := i
		for down := 2*i + 1; down <= 2*i+2 && down < len(q); down++ {
			if q[down].before(q[least]) {
				least = down
			}
		}
		if least == i {
			return first
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}

// has looks for an entry by its record, one by one.
func (h heap) has(lsn record.LSN) bool {
	for i := range h {
		if h[i].LSN == lsn {
			return true
		}
	}
	return false
}
