// Package index maps the references of a stream to records: offset → LSN.
//
// A List holds one stream's references in memory, from the lowest unsettled
// offset on. It is a view of the log and is rebuilt by replaying it.
package index

import (
	"sort"

	"github.com/tidegate/tidegate/core/record"
)

const (
	chunkBits = 8
	chunkLen  = 1 << chunkBits
)

// List is the references of one stream in order. The zero List is empty and
// begins at offset 0. It is not safe for concurrent use.
type List struct {
	// base is the offset of chunks[0][0]. All chunks but the last are full.
	base   record.Offset
	end    record.Offset
	chunks [][]record.LSN
}

// Append adds a reference at the end and returns its offset.
func (l *List) Append(lsn record.LSN) record.Offset {
	i := int((l.end - l.base) >> chunkBits)
	if i == len(l.chunks) {
		l.chunks = append(l.chunks, nil)
	}
	l.chunks[i] = append(l.chunks[i], lsn)
	l.end++
	return l.end - 1
}

// Get returns the record of an offset; false if it was trimmed or is not there yet.
func (l *List) Get(o record.Offset) (record.LSN, bool) {
	if o < l.base || o >= l.end {
		return 0, false
	}
	o -= l.base
	return l.chunks[o>>chunkBits][o&(chunkLen-1)], true
}

// Find returns the offset of the reference to a record, if the list still has
// one. References ascend with their records.
func (l *List) Find(lsn record.LSN) (record.Offset, bool) {
	n := sort.Search(int(l.end-l.base), func(i int) bool {
		return l.chunks[i>>chunkBits][i&(chunkLen-1)] >= lsn
	})
	o := l.base + record.Offset(n)
	got, ok := l.Get(o)
	return o, ok && got == lsn
}

// End returns the offset that the next reference will get.
func (l *List) End() record.Offset { return l.end }

// First returns the lowest offset that Get still knows; End when there is none.
func (l *List) First() record.Offset { return l.base }

// Trim forgets references below the offset. It frees whole chunks, and reuses
// the last one when nothing is left, so a queue that runs empty costs nothing.
func (l *List) Trim(below record.Offset) {
	if below >= l.end {
		if n := len(l.chunks); n > 0 {
			last := l.chunks[n-1][:0]
			clear(l.chunks)
			l.chunks = append(l.chunks[:0], last)
		}
		l.base = l.end
		return
	}
	if below <= l.base {
		return
	}
	n := int((below - l.base) >> chunkBits)
	if n == 0 {
		return
	}
	clear(l.chunks[:n])
	l.chunks = l.chunks[n:]
	l.base += record.Offset(n) << chunkBits
}
