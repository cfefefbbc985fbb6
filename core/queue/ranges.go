package queue

import (
	"cmp"
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// normalize sorts disjoint ranges and joins neighbours, in place.
func normalize(rs []record.Range) []record.Range {
	if len(rs) < 2 {
		return rs
	}
	byFirst := func(a, b record.Range) int { return cmp.Compare(a.First, b.First) }
	if !slices.IsSortedFunc(rs, byFirst) {
		slices.SortFunc(rs, byFirst)
	}
	out := rs[:1]
	for _, r := range rs[1:] {
		if last := &out[len(out)-1]; last.End == r.First {
			last.End = r.End
		} else {
			out = append(out, r)
		}
	}
	return out
}
