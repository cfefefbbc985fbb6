package queue_test

import (
	"math/rand/v2"
	"testing"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// weighed is a queue whose bytes are counted, with what a store would have of its
// sizes, and what is known of each message.
type weighed struct {
	q      queue.Queue
	sizes  *queue.Sizes
	stored map[record.Offset]uint32
	all    []uint32
	low    record.Offset
}

func (w *weighed) end() record.Offset { return record.Offset(len(w.all)) }

// ready is the bytes that wait, looked at one by one.
func (w *weighed) ready() (n uint64) {
	for o := range w.end() {
		if !w.q.Settled(o) && !w.q.InFlight(o) && !w.q.Dead(o) {
			n += uint64(w.all[o])
		}
	}
	return n
}

func (w *weighed) spill(keep bool) {
	w.sizes.Spill(w.low, 16, func(first record.Offset, sizes []uint32) {
		if len(sizes) == 0 || first/16 != (first+record.Offset(len(sizes))-1)/16 {
			panic("a piece crosses a border")
		}
		for i, size := range sizes {
			w.stored[first+record.Offset(i)] = size
		}
	}, func(first, end record.Offset) {
		for o := first; o < end; o++ {
			delete(w.stored, o)
		}
	})
	w.sizes.Spilled(w.end(), keep)
}

// restart counts anew, of the store and what is in memory.
func (w *weighed) restart() error {
	w.q.CountNoBytes()
	w.sizes.Trim(w.sizes.Stored())
	err := w.sizes.Load(func(into *queue.Sizes) error {
		for o := w.low; o < w.sizes.Stored(); o++ {
			if size, ok := w.stored[o]; ok {
				into.Add(o, size)
			}
		}
		return nil
	})
	w.q.CountBytes(w.sizes, w.end())
	return err
}

// TestReadyBytes does random things to a queue whose bytes are counted.
func TestReadyBytes(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		w := &weighed{sizes: queue.NewSizes(0), stored: map[record.Offset]uint32{}}
		w.q.CountBytes(w.sizes, 0)
		var out []record.Offset
		take := func() record.Offset {
			i := rng.IntN(len(out))
			o := out[i]
			out[i] = out[len(out)-1]
			out = out[:len(out)-1]
			return o
		}
		for step := range 4000 {
			switch k := rng.IntN(21); {
			case k < 8:
				o := w.end()
				w.all = append(w.all, rng.Uint32N(100))
				w.sizes.Add(o, w.all[o])
				w.q.Came(o)
			case k < 13:
				if o, _, ok := w.q.Take(w.end()); ok {
					out = append(out, o)
				}
			case k < 14 && len(out) > 0:
				w.q.Return(take(), true)
			case k < 16 && len(out) > 0:
				w.q.Settle(take())
			case k == 16 && len(out) > 0:
				w.q.Die(take())
			case k == 17 && w.end() > 0:
				if o := record.Offset(rng.Uint64N(uint64(w.end()))); !w.q.InFlight(o) {
					w.q.Settle(o)
				}
			case k == 18:
				w.spill(true)
			case k == 20 && w.end() > 0:
				if o := record.Offset(rng.Uint64N(uint64(w.end()))); !w.q.InFlight(o) {
					w.q.Die(o)
				}
			case k == 19:
				most := rng.Uint64N(3000)
				drop := w.q.Settle
				if rng.IntN(2) == 0 {
					drop = w.q.Die
				}
				w.q.Shorten(w.end(), &queue.Bounds{Weighed: true, Bytes: most}, drop)
				if n := w.q.ReadyBytes(); n > most {
					t.Fatalf("step %d: %d bytes wait, want at most %d", step, n, most)
				}
				w.low = w.q.Floor()
				w.sizes.Trim(w.low)
			}
			if step%500 == 499 {
				w.spill(false)
			}
			if step%50 == 49 || step%500 == 499 {
				if err := w.restart(); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := w.q.ReadyBytes(), w.ready(); got != want {
				t.Fatalf("seed %d, step %d: %d bytes wait, want %d", seed, step, got, want)
			}
		}
	}
}
