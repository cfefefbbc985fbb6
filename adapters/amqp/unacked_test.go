package amqp

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core"
)

func tags(list []unackedDelivery) []uint64 {
	all := []uint64{}
	for _, d := range list {
		all = append(all, d.tag)
	}
	return all
}

// The model of unacked is a sorted list of tags.
func TestUnackedModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u unacked
		s := &settler{}
		model := []uint64{}
		last := uint64(0)
		for range rapid.IntRange(1, 400).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "what") > 0 {
				last += uint64(rapid.IntRange(1, 2).Draw(t, "step")) // deliveries without ack take tags too
				u.add(unackedDelivery{tag: last, settler: s})
				model = append(model, last)
				continue
			}
			tag := rapid.Uint64Range(0, last+1).Draw(t, "tag")
			multiple := rapid.Bool().Draw(t, "multiple")
			at, known := slices.BinarySearch(model, tag)
			want := []uint64{}
			switch {
			case tag == 0 && multiple:
				want, model, known = model, nil, true
			case known && multiple:
				want, model = model[:at+1], model[at+1:]
			case known:
				want = []uint64{tag}
				model = slices.Delete(slices.Clone(model), at, at+1)
			}
			got, ok := u.take(nil, tag, multiple)
			if ok != known || !slices.Equal(tags(got), want) {
				t.Fatalf("take %d multiple %v: got %v %v, want %v %v", tag, multiple, ok, tags(got), known, want)
			}
			if u.len() != len(model) {
				t.Fatalf("len: got %d, want %d", u.len(), len(model))
			}
			if len(u.all)-u.head > 2*len(model)+64 {
				t.Fatalf("list of %d for %d deliveries", len(u.all)-u.head, len(model))
			}
		}
	})
}

// engine notes what it was asked to settle.
type engine struct {
	core.Holder
	calls []call
}

type call struct {
	outcome core.Outcome
	offsets []core.Offset
}

func (e *engine) AckTimeout() (time.Duration, bool) { return 0, false }

func (e *engine) Settle(outcome core.Outcome, positions ...core.Position) {
	c := call{outcome: outcome}
	for _, p := range positions {
		c.offsets = append(c.offsets, p.Offset)
	}
	e.calls = append(e.calls, c)
}

func TestSettlementsGoTogether(t *testing.T) {
	var a, b engine
	sa, sb := &settler{engine: &a}, &settler{engine: &b}
	var s settlements
	for i := range 6 {
		s.add(core.Ack, unackedDelivery{settler: []*settler{sa, sb}[i%2], pos: core.Position{Offset: core.Offset(i)}})
	}
	s.add(core.Requeue, unackedDelivery{settler: sa, pos: core.Position{Offset: 9}})
	if len(a.calls) != 1 || len(b.calls) != 1 || !slices.Equal(a.calls[0].offsets, []core.Offset{0, 2, 4}) {
		t.Fatalf("a change of the outcome: got %v, %v", a.calls, b.calls)
	}
	s.flush()
	s.flush()
	if len(a.calls) != 2 || len(b.calls) != 1 || a.calls[1].outcome != core.Requeue {
		t.Fatalf("flush: got %v, %v", a.calls, b.calls)
	}
}
