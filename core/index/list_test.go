package index_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// chunks is a list's store as a map.
type chunks map[uint64][]byte

func (c chunks) LoadChunk(no uint64, dst []record.LSN) ([]record.LSN, error) {
	return index.DecodeChunk(c[no], dst)
}

// TestListAgainstModel appends, trims, spills and restores a list beside a slice.
func TestListAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, store := index.List{}, chunks{}
		var model []record.LSN
		var low record.Offset
		spill := func(t *rapid.T) {
			err := l.Spill(store, func(no uint64, lsns []record.LSN) {
				store[no] = index.AppendChunk(nil, lsns)
			}, func(first, end uint64) {
				for no := first; no < end; no++ {
					delete(store, no)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			l.Spilled()
			if l.Dirty() {
				t.Fatal("dirty after a spill")
			}
			if n := (len(model)-int(low))/index.ChunkLen + 2; len(store) > n {
				t.Fatalf("%d chunks in the store for %d references", len(store), len(model)-int(low))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				for range rapid.IntRange(1, 700).Draw(t, "n") {
					lsn := record.LSN(3*len(model) + 7)
					if o := l.Append(lsn); o != record.Offset(len(model)) {
						t.Fatalf("offset %d, want %d", o, len(model))
					}
					model = append(model, lsn)
				}
			},
			"trim": func(t *rapid.T) {
				o := record.Offset(rapid.IntRange(0, len(model)+3).Draw(t, "below"))
				l.Trim(o)
				low = max(low, min(o, record.Offset(len(model))))
			},
			"trim all": func(*rapid.T) {
				low = record.Offset(len(model))
				l.Trim(low)
			},
			"spill": spill,
			"restore": func(t *rapid.T) {
				spill(t)
				l = index.Restore(low, record.Offset(len(model)))
			},
			"": func(t *rapid.T) {
				if l.End() != record.Offset(len(model)) || l.Low() != low {
					t.Fatalf("low %d end %d, want %d %d", l.Low(), l.End(), low, len(model))
				}
				for o := range record.Offset(len(model)) {
					got, ok, err := l.Get(o, store)
					if err != nil || ok != (o >= low) || ok && got != model[o] {
						t.Fatalf("offset %d: got %d %v %v, want %d", o, got, ok, err, model[o])
					}
				}
				if low < l.End() {
					o := record.Offset(rapid.IntRange(int(low), len(model)-1).Draw(t, "find"))
					if got, ok, err := l.Find(model[o], new(index.Search), store); !ok || got != o || err != nil {
						t.Fatalf("record %d: found at %d %v %v, want %d", model[o], got, ok, err, o)
					}
					if got, ok, _ := l.Find(model[o]+1, new(index.Search), store); ok {
						t.Fatalf("record %d, which is not there, found at %d", model[o]+1, got)
					}
				}
				if _, ok, _ := l.Get(l.End(), store); ok {
					t.Fatal("got an offset that is not there yet")
				}
			},
		})
	})
}
