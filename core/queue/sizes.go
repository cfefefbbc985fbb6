package queue

import (
	"slices"

	"github.com/tidegate/tidegate/core/record"
)

// spareSizes is how many sizes a Sizes keeps room for while it has none.
const spareSizes = 4096

// Sizes are the sizes of a queue's messages in bytes, by offset: those that the
// store does not have yet, and all of them where they are counted. An offset that
// never had a message has size 0.
type Sizes struct {
	runs   []sizeRun // ascending; usually one
	stored record.Offset
	// dropped is the offset below which the store has none any more.
	dropped record.Offset
}

// sizeRun is the sizes of neighbours.
type sizeRun struct {
	first record.Offset
	sizes []uint32
}

func (r *sizeRun) end() record.Offset { return r.first + record.Offset(len(r.sizes)) }

// NewSizes makes one of which the store has all below an offset.
func NewSizes(stored record.Offset) *Sizes { return &Sizes{stored: stored} }

// Add notes the size of a message. Offsets are ascending.
func (s *Sizes) Add(o record.Offset, size uint32) {
	if n := len(s.runs); n > 0 {
		if last := &s.runs[n-1]; last.end() == o || len(last.sizes) == 0 {
			last.first = o - record.Offset(len(last.sizes))
			last.sizes = append(last.sizes, size)
			return
		}
	}
	s.runs = append(s.runs, sizeRun{o, []uint32{size}})
}

// Of returns the size of a message.
func (s *Sizes) Of(o record.Offset) uint32 {
	for i := len(s.runs) - 1; i >= 0; i-- {
		if r := &s.runs[i]; o >= r.first {
			if o < r.end() {
				return r.sizes[o-r.first]
			}
			break
		}
	}
	return 0
}

// Trim forgets the sizes below an offset.
func (s *Sizes) Trim(below record.Offset) {
	n := 0
	for n < len(s.runs)-1 && s.runs[n].end() <= below {
		n++
	}
	s.runs = slices.Delete(s.runs, 0, n)
	if len(s.runs) == 0 {
		return
	}
	r := &s.runs[0]
	switch gone := min(below, r.end()) - min(below, r.first); {
	case gone == record.Offset(len(r.sizes)):
		r.first, r.sizes = r.end(), r.sizes[:0]
	case gone > spareSizes && gone > record.Offset(len(r.sizes)/2): // each is moved once on the average
		rest := copy(r.sizes, r.sizes[gone:])
		r.first, r.sizes = r.first+gone, r.sizes[:rest]
	}
}

// Spill gives the sizes that the store does not have, and that are not below low,
// to put, in pieces that cross no multiple of piece. It tells by drop which of the
// offsets in the store are of no use any more. Call Spilled when all that is done.
func (s *Sizes) Spill(
	low record.Offset, piece int, put func(first record.Offset, sizes []uint32), drop func(first, end record.Offset),
) {
	length := record.Offset(piece)
	if to := low / length * length; s.dropped < to {
		drop(s.dropped, to)
		s.dropped = to
	}
	for i := range s.runs {
		r := &s.runs[i]
		for from := max(r.first, s.stored, low); from < r.end(); {
			to := min(r.end(), from/length*length+length)
			put(from, r.sizes[from-r.first:to-r.first])
			from = to
		}
	}
}

// Spilled notes that the store has all below an offset. They are forgotten unless
// they are to be kept.
func (s *Sizes) Spilled(end record.Offset, keep bool) {
	if s.stored = end; keep {
		return
	}
	if len(s.runs) == 1 && cap(s.runs[0].sizes) <= spareSizes {
		s.runs[0].first, s.runs[0].sizes = end, s.runs[0].sizes[:0]
		return
	}
	s.runs = nil
}

// Stored returns the offset below which the store has the sizes.
func (s *Sizes) Stored() record.Offset { return s.stored }

// Load puts sizes that the store has before those that are there: first fills a
// fresh Sizes with them.
func (s *Sizes) Load(first func(into *Sizes) error) error {
	all := &Sizes{stored: s.stored, dropped: s.dropped}
	if err := first(all); err != nil {
		return err
	}
	for i := range s.runs {
		for j, size := range s.runs[i].sizes {
			all.Add(s.runs[i].first+record.Offset(j), size)
		}
	}
	*s = *all
	return nil
}

// load is how many bytes wait in a queue whose bytes are counted. A nil load counts
// nothing.
type load struct {
	sizes *Sizes
	ready uint64
}

func (l *load) came(o record.Offset) {
	if l != nil {
		l.ready += uint64(l.sizes.Of(o))
	}
}

func (l *load) went(o record.Offset) {
	if l != nil {
		l.ready -= uint64(l.sizes.Of(o))
	}
}

// CountBytes counts the bytes of the messages below end that wait, from now on. The
// sizes have all of those; each message that comes later is to be told by Came.
func (c *Cursor) CountBytes(sizes *Sizes, end record.Offset) {
	w := c.write()
	w.load = &load{sizes: sizes}
	for o := w.open(c.floor); o < end; o = w.open(o + 1) {
		if !w.out.has(o) {
			w.load.came(o)
		}
	}
}

// CountNoBytes ends CountBytes.
func (c *Cursor) CountNoBytes() {
	if c.w != nil {
		c.w.load = nil
	}
}

// CountsBytes tells whether the bytes are counted.
func (c *Cursor) CountsBytes() bool { return c.read().load != nil }

// Came tells of a new message whose size is known.
func (c *Cursor) Came(o record.Offset) { c.read().load.came(o) }

// ReadyBytes returns how many bytes wait, 0 when they are not counted.
func (c *Cursor) ReadyBytes() uint64 {
	l := c.read().load
	if l == nil {
		return 0
	}
	return l.ready
}
