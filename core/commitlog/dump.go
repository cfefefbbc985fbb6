package commitlog

import (
	"errors"
	"fmt"
	"iter"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Entry is a record as Dump yields it.
type Entry struct {
	// LSN is the record's number, Pos the position of its frame in the file.
	LSN record.LSN
	Pos int64
	// Time is that of the batch in which it was committed, unix milliseconds.
	Time int64
	// Kind and Body are the record. The body is valid until the next entry.
	Kind record.Kind
	Body []byte
}

// errStop ends a walk that nobody follows any more.
var errStop = errors.New("stop")

// Dump yields the records in the sound frames of one segment file, named as
// [Verify] reports it, and at the end an error if there are ranges that are
// not sound. It reads the file alone: neither manifest nor checkpoint matter.
func Dump(cfg Config, name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r, ok := parseName(name)
		if !ok {
			yield(Entry{}, fmt.Errorf("dump %s: no segment's name: %w", name, ErrNotFound))
			return
		}
		v, err := segment.Walk(cfg.FS, cfg.path(name), cfg.Identity, r.base,
			func(pos int64, _ *record.Header, b *record.Batch) error {
				for i := range b.Len() {
					e := Entry{LSN: b.LSN(i), Pos: pos, Time: b.Time(i)}
					if e.Kind, e.Body = b.Record(i); !yield(e, nil) {
						return errStop
					}
				}
				return nil
			})
		switch {
		case errors.Is(err, errStop):
		case err != nil:
			yield(Entry{}, fmt.Errorf("dump: %w", err))
		case len(v.Faults) > 0:
			f := v.Faults[0]
			yield(Entry{}, fmt.Errorf("dump: %d faults: %w", len(v.Faults), &CorruptError{
				Segment: cfg.path(name), From: f.From, To: f.To, First: f.First, Last: f.Last, Err: f.Err,
			}))
		}
	}
}
