package core_test

import (
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
)

// TestWillsWaitForRoom loses more clients than are sent for at once while the disk is
// full: none of the wills is given up, and all are sent when there is room.
func TestWillsWaitForRoom(t *testing.T) {
	const n = 1100
	w := newWillWorld(t, 1)
	w.allow()
	sessions := make([]*core.Session, n)
	for i := range sessions {
		sessions[i], _ = w.client(strconv.Itoa(i), 0, 0)
	}
	alarm := make(chan bool, 16)
	stop := w.OnPressure(func(p core.Pressure) { alarm <- p.Disk })
	defer stop()
	w.disk(1 << 20)
	for !<-alarm {
		continue
	}
	for _, s := range sessions {
		w.must(s.Close(t.Context()))
	}
	if kept := w.Stats().WillsKept; kept != n {
		t.Errorf("%d wills wait while the disk is full, want %d", kept, n)
	}
	w.disk(90 * gib)
	for <-alarm {
		continue
	}
	w.settled()
	if got := len(w.sent()); got != n {
		t.Errorf("%d wills were sent, want %d", got, n)
	}
}

// TestWillsOfAFailedLogStay has the log fail as a will is sent: it is not given up, and
// the next start sends it.
func TestWillsOfAFailedLogStay(t *testing.T) {
	w := newWillWorld(t, 1)
	w.allow()
	s, _ := w.client("c", 0, 0)
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	})
	w.fail.Store(&fail)
	_ = s.Close(t.Context()) // the log has failed
	if kept := w.Stats().WillsKept; kept != 1 {
		t.Errorf("%d wills are kept, want 1", kept)
	}
	w.reopenAfterFailure()
	w.allow()
	w.settled()
	w.wantSent("after the start", "c")
}
