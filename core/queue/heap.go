package queue

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// returned is a message that waits to be handed out again.
type returned struct {
	offset      record.Offset
	redelivered bool
}

// heap is a binary min-heap by offset, so that what comes back goes out in its
// original order.
type heap []returned

func (h *heap) push(r returned) {
	*h = append(*h, r)
	s := *h
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if s[up].offset <= s[i].offset {
			break
		}
		s[up], s[i] = s[i], s[up]
		i = up
	}
}

// remove takes an offset out, if it is in.
func (h *heap) remove(o record.Offset) {
	i := slices.IndexFunc(*h, func(r returned) bool { return r.offset == o })
	if i < 0 {
		return
	}
	rest := slices.Delete(slices.Clone(*h), i, i+1)
	*h = (*h)[:0]
	for _, r := range rest {
		h.push(r)
	}
}

func (h *heap) pop() returned {
	s := *h
	top := s[0]
	n := len(s) - 1
	s[0] = s[n]
	s = s[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && s[child+1].offset < s[child].offset {
			child++
		}
		if s[i].offset <= s[child].offset {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	*h = s
	return top
}
