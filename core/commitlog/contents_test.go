package commitlog_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// contents is what a log has to hold, record by record.
type contents map[record.LSN]string

func (c contents) add(batches ...*record.Batch) {
	for _, b := range batches {
		for i := range b.Len() {
			if kind, body := b.Record(i); kind != record.KindLoss {
				c[b.LSN(i)] = string(body)
			}
		}
	}
}

// drop forgets the records from first up to last that are not live.
func (c contents) drop(first, last record.LSN, live func(record.LSN) bool) {
	for lsn := first; lsn <= last; lsn++ {
		if live == nil || !live(lsn) {
			delete(c, lsn)
		}
	}
}

// check reads every LSN, alone and in a run.
func (c contents) check(l *commitlog.Log) error {
	for lsn := record.LSN(0); lsn < l.NextLSN()+2; lsn++ {
		for what, read := range map[string]func() (*record.Batch, error){
			"Read":      func() (*record.Batch, error) { return l.Read(lsn) },
			"ReadAhead": func() (*record.Batch, error) { return l.ReadAhead(lsn, 3000) },
		} {
			b, err := read()
			if err := c.compare(lsn, b, err); err != nil {
				return fmt.Errorf("%s %d of %d: %w", what, lsn, l.NextLSN(), err)
			}
		}
	}
	return nil
}

func (c contents) compare(lsn record.LSN, b *record.Batch, err error) error {
	if _, live := c[lsn]; !live {
		if !errors.Is(err, commitlog.ErrNotFound) {
			return fmt.Errorf("got %w, want ErrNotFound", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	i, ok := b.Find(lsn)
	if !ok {
		return fmt.Errorf("not in batch %d to %d", b.Base, b.Next())
	}
	for ; i < b.Len(); i++ {
		if kind, body := b.Record(i); kind != record.KindLoss && string(body) != c[b.LSN(i)] {
			return fmt.Errorf("other content of record %d", b.LSN(i))
		}
	}
	return nil
}

// differ tells how two contents differ, or nothing when they do not.
func (c contents) differ(got contents) string {
	if maps.Equal(c, got) {
		return ""
	}
	return cmp.Diff(slices.Sorted(maps.Keys(c)), slices.Sorted(maps.Keys(got))) + "or other records"
}

// replayed is all that a log replays.
func replayed(batches []*record.Batch) contents {
	c := contents{}
	c.add(batches...)
	return c
}

// messages keeps, of a rewritten segment, the message records for which live is
// true.
func messages(live func(record.LSN) bool) commitlog.Keep {
	return func(lsn record.LSN, kind record.Kind, body []byte) (record.Kind, []byte, error) {
		if kind != record.KindMessage || !live(lsn) {
			return 0, nil, nil
		}
		return kind, body, nil
	}
}
