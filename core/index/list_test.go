package index_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

func TestListAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l index.List
		var model []record.LSN
		var low record.Offset
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
			"": func(t *rapid.T) {
				if l.End() != record.Offset(len(model)) {
					t.Fatalf("end %d, want %d", l.End(), len(model))
				}
				for o := low; o < l.End(); o++ {
					if got, ok := l.Get(o); !ok || got != model[o] {
						t.Fatalf("offset %d: got %d %v, want %d", o, got, ok, model[o])
					}
					if got, ok := l.Find(model[o]); !ok || got != o {
						t.Fatalf("record %d: found at %d %v, want %d", model[o], got, ok, o)
					}
					if got, ok := l.Find(model[o] + 1); ok {
						t.Fatalf("record %d, which is not there, found at %d", model[o]+1, got)
					}
				}
				if l.First() > low {
					t.Fatalf("first %d is above what was trimmed, %d", l.First(), low)
				}
				if _, ok := l.Get(l.End()); ok {
					t.Fatal("got an offset that is not there yet")
				}
			},
		})
	})
}
