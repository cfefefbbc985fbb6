package commitlog

import (
	"fmt"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Faults reads the sealed segment that begins with the LSN from front to back
// and returns what is damaged in it, none when it is sound. Its frames are
// sound apart from these ranges.
func (l *Log) Faults(base record.LSN) ([]*CorruptError, error) {
	l.mu.RLock()
	i := after(l.sealed, base)
	if i == 0 || l.sealed[i-1].base != base {
		l.mu.RUnlock()
		return nil, fmt.Errorf("segment %d: %w", base, ErrNotFound)
	}
	f := l.sealed[i-1]
	l.mu.RUnlock()
	path := l.cfg.path(f.name())
	survey, err := segment.Walk(l.cfg.FS, path, l.cfg.Identity, base,
		func(int64, *record.Header, *record.Batch) error { return nil })
	if err != nil {
		return nil, fmt.Errorf("examine segment %d: %w", base, err)
	}
	var all []*CorruptError
	for _, d := range survey.Faults {
		last := d.Last
		if last == 0 { // nothing sound follows
			last = f.next - 1
		}
		all = append(all, &CorruptError{Segment: path, From: d.From, To: d.To, First: d.First, Last: last, Err: d.Err})
	}
	return all, nil
}
