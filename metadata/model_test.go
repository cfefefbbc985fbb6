package metadata_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// mirror rebuilds the catalog from what the listener is told, and refuses an
// order that a router could not follow.
type mirror struct {
	mu      sync.Mutex
	objects map[string]bool
	faults  []string
}

func (m *mirror) listen(changes []metadata.Change) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		name := objectName(c)
		switch {
		case c.Lost:
			m.faults = append(m.faults, name+" lost")
		case c.Deleted && !m.objects[name]:
			m.faults = append(m.faults, name+" deleted but unknown")
		case !c.Deleted && c.Binding != nil && !m.bothEnds(c.Binding):
			m.faults = append(m.faults, name+" put before its ends")
		case c.Deleted && c.Binding == nil && m.bound(c):
			m.faults = append(m.faults, name+" deleted before its bindings")
		}
		if c.Deleted {
			delete(m.objects, name)
		} else {
			m.objects[name] = true
		}
	}
}

func objectName(c metadata.Change) string {
	switch {
	case c.Namespace != nil:
		return "namespace"
	case c.Exchange != nil:
		return "x:" + c.Exchange.Name
	case c.Queue != nil:
		return "q:" + c.Queue.Name
	default:
		dest := "q:" + c.Binding.Dest
		if c.Binding.ToExchange {
			dest = "x:" + c.Binding.Dest
		}
		return fmt.Sprintf("b:x:%s>%s>%s", c.Binding.Source, dest, c.Binding.Key)
	}
}

func (m *mirror) bothEnds(b *metadata.Binding) bool {
	dest := "q:" + b.Dest
	if b.ToExchange {
		dest = "x:" + b.Dest
	}
	return m.objects["x:"+b.Source] && m.objects[dest]
}

func (m *mirror) bound(c metadata.Change) bool {
	name := objectName(c)
	for object := range m.objects {
		var source, dest, key string
		if n, _ := fmt.Sscanf(object, "b:%1s:%1s>%1s", &source, &dest, &key); n == 0 {
			continue
		}
		if object[2:5] == name || object[6:9] == name {
			return true
		}
	}
	return false
}

func state(c *metadata.Catalog) []string {
	l := &mirror{objects: map[string]bool{}}
	c.Listen(l.listen)
	return slices.Sorted(maps.Keys(l.objects))
}

// TestListenerFollows does random things from two catalogs while the store
// comes and goes and forgets its history. What one listener was told adds up to
// what a catalog opened afterwards reads.
func TestListenerFollows(t *testing.T) {
	for seed := range uint64(150) {
		synctest.Test(t, func(t *testing.T) { follow(t, rand.New(rand.NewPCG(seed, 1))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func follow(t *testing.T, r *rand.Rand) {
	store := memory.New()
	mine := &swapStore{Store: store}
	told, other := open(t, mine), open(t, store)
	m := &mirror{objects: map[string]bool{}}
	told.Listen(m.listen)
	declare(t, other, "namespace")
	gone := memory.New()
	gone.SetAway(true)
	apart := false
	for range 120 {
		if r.IntN(12) == 0 {
			if apart {
				if err := store.Compact(t.Context(), other.Status().Revision); err != nil {
					t.Fatal(err)
				}
				mine.swap(store)
				store.SetAway(false)
				settle(t, told, true)
			} else {
				mine.swap(gone) // makes the store away, which ends both watches
				settle(t, told, false)
				settle(t, other, false)
				store.SetAway(false)
			}
			settle(t, other, true)
			apart = !apart
		}
		c := other
		if !apart && r.IntN(2) == 0 {
			c = told
		}
		if err := act(t, c, r); err != nil && !errors.Is(err, metadata.ErrNotFound) {
			t.Fatal(err)
		}
	}
	mine.swap(store)
	store.SetAway(false)
	settle(t, told, true)
	settle(t, other, true)
	declare(t, told, "queue last")
	fresh := open(t, store)
	m.mu.Lock()
	defer m.mu.Unlock()
	wantLines(t, "told", slices.Sorted(maps.Keys(m.objects)), state(fresh)...)
	wantLines(t, "faults", m.faults)
}

func act(t *testing.T, c *metadata.Catalog, r *rand.Rand) (err error) {
	x := func() string { return string(rune('a' + r.IntN(3))) }
	switch r.IntN(7) {
	case 0:
		kinds := []string{"direct", "topic"}
		_, _, err = c.CreateExchange(t.Context(), metadata.Exchange{Namespace: "n", Name: x(), Type: kinds[r.IntN(2)]})
	case 1:
		_, _, err = c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: x(), Stream: r.Uint64()})
	case 2:
		_, err = c.DeleteExchange(t.Context(), "n", x())
	case 3:
		_, err = c.DeleteQueue(t.Context(), "n", x())
	case 4:
		_, err = c.DeleteBinding(t.Context(), binding(x(), x(), "k", r.IntN(2) == 0))
	default:
		_, err = c.CreateBinding(t.Context(), binding(x(), x(), "k", r.IntN(2) == 0))
	}
	return err
}
