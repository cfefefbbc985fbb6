package index

import (
	"errors"
	"testing"

	"github.com/tidegate/tidegate/core/record"
)

type skippedStore map[uint64][]record.LSN

func (m skippedStore) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	return append(dst, m[no]...), nil
}

type awayOf struct{ no *uint64 }

func (a awayOf) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	*a.no = no
	return dst, ErrAway
}

// TestFindAfterSeek seeks as who reads chunks while it holds its lock does, and then
// finds as who does not: with a loader that answers ErrAway, and Install.
func TestFindAfterSeek(t *testing.T) {
	var l List
	st := skippedStore{}
	spill := func() {
		if err := l.Spill(st, func(no uint64, lsns []record.LSN) { st[no] = append([]record.LSN(nil), lsns...) }, func(uint64, uint64) {}); err != nil {
			t.Fatal(err)
		}
		l.Spilled()
	}
	for i := range 256 {
		l.Append(record.LSN(i + 1))
	}
	spill()
	for no := uint64(1); no < 6; no++ { // as Shard.skipFar does
		st[no] = []record.LSN{256}
	}
	l.Skip(6*ChunkLen, 256)
	for i := range 100 {
		l.Append(record.LSN(100_000 + i))
	}
	spill()
	find := func() error {
		var search Search
		for {
			var no uint64
			o, ok, err := l.Find(100_050, &search, awayOf{&no})
			if err == nil {
				if !ok || o != 6*ChunkLen+50 {
					t.Errorf("found %d, %v", o, ok)
				}
				return nil
			}
			if !errors.Is(err, ErrAway) {
				return err
			}
			l.Install(no, Unskip(append([]record.LSN(nil), st[no]...), l.Stored(no)))
		}
	}
	if err := find(); err != nil {
		t.Fatalf("before: %v", err)
	}
	l.Rest()
	if _, _, _, err := l.Seek(100_050, new(Search), st); err != nil {
		t.Fatal(err)
	}
	if err := find(); err != nil {
		t.Errorf("after Seek: %v", err)
	}
}
