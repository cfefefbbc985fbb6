package core_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// TestNameIsTaken has nobody replace a message of another topic without being allowed to.
func TestNameIsTaken(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newHeldWorld(t, 3)
			w.hold(w.schedule("s", "x", time.Second))
			if restart {
				w.restart()
			}
			other := w.schedule("s", "y", time.Second)
			other.ReplacesAny = false
			if _, err := w.publisher(nil).p.Publish(&other); !errors.Is(err, core.ErrNotOwner) {
				t.Errorf("another topic: got %v, want ErrNotOwner", err)
			}
			own := w.schedule("s", "x", 2*time.Second)
			own.ReplacesAny = false
			w.hold(own, own)
			w.wantHeld("after the same topic", 1)
			until(1500 * time.Millisecond)
			w.wantCame("at the time of the first")
			until(time.Second)
			w.wantCame("at last", "x")
			other = w.schedule("s", "y", time.Second)
			other.ReplacesAny = false
			w.hold(other) // the name is free
			until(2 * time.Second)
			w.wantCame("at last", "x", "y")
		})
	}
}

// heldIn holds a message in another namespace.
func (w *heldWorld) heldIn(namespace string, in time.Duration) {
	w.t.Helper()
	_, err := w.cat.CreateNamespace(w.t.Context(), metadata.Namespace{Name: namespace})
	w.must(err)
	c := make(chan struct{}, 1)
	p, err := w.NewPublisher(namespace, nil, signal(c))
	w.must(err)
	pub := &publisher{w: w.world, p: p, c: c}
	pub.send(w.later("x", in))
	pub.confirmed()
}

// TestHeldOfAnUnknownNamespace loses the metadata of what is held, and gets it back.
func TestHeldOfAnUnknownNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 1)
		w.heldIn("n", time.Second)
		good := w.store
		w.close()
		w.store = memory.New()
		w.open()
		until(5 * time.Second)
		if got := w.HeldMessages("n"); got != 1 {
			t.Fatalf("%d messages are held while nobody knows their namespace, want 1", got)
		}
		w.close()
		w.store = good
		w.open()
		until(5 * time.Second)
		if got := w.HeldMessages("n"); got != 0 {
			t.Errorf("%d messages are held when their namespace is back, want 0", got)
		}
	})
}

// TestHeldWaitsForItsNamespace makes the namespace known while a message waits for it.
func TestHeldWaitsForItsNamespace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newHeldWorld(t, 1)
		w.heldIn("n", time.Second)
		w.close()
		w.store = memory.New()
		w.open()
		until(5 * time.Second)
		_, err := w.cat.CreateNamespace(t.Context(), metadata.Namespace{Name: "n"})
		w.must(err)
		until(2 * time.Second)
		if got := w.HeldMessages("n"); got != 0 {
			t.Errorf("%d messages are held, want 0", got)
		}
	})
}

// TestDeletedNamespaceEndsWhatItHolds deletes a namespace, and makes one of its name.
func TestDeletedNamespaceEndsWhatItHolds(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newHeldWorld(t, 3)
			w.hold(w.later("kept", time.Second))
			w.heldIn("n", time.Second)
			if restart {
				w.restart()
			}
			w.must(w.EndSessions(t.Context(), "n"))
			if got := w.HeldMessages("n"); got != 0 {
				t.Errorf("%d messages are held after the end of their namespace", got)
			}
			w.restart()
			if got := w.HeldMessages("n"); got != 0 {
				t.Errorf("%d messages are held after a start", got)
			}
			until(2 * time.Second)
			w.wantCame("of the other namespace", "kept")
		})
	}
}
