package core_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
)

// onSync has each sync of the log ask what to do.
func (w *world) onSync(ask func() error) {
	fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSyncData {
			return ask()
		}
		return nil
	})
	w.fail.Store(&fail)
}

// leftSession is a world with a session that its client has left.
func leftSession(t *testing.T) *world {
	t.Helper()
	w := newWorldWith(t, 1, calm)
	s, _, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "a")
	w.must(s.Close(t.Context()))
	w.restart()
	return w
}

// A client that is told that its session is there again finds it after a crash,
// however long it had been away. So it is not told before that is on the disk: as
// the log has it until then, the session was left long ago and may have expired.
func TestReconnectIsDurable(t *testing.T) {
	w := leftSession(t)
	w.onSync(func() error { return syscall.EIO })
	_, present, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
		ClientID: "dev", Owner: "guest", Expiry: time.Hour, Notify: func() {},
	})
	if !errors.Is(err, core.ErrStorage) {
		t.Errorf("got present %t, %v, want ErrStorage", present, err)
	}
	w.reopenAfterFailure()
	if _, _, present := w.session("dev", time.Hour, false); !present {
		t.Error("the session is lost")
	}
}

// A client that gives up to reconnect leaves its session as at the end of a
// connection: it expires when the client has said.
func TestReconnectGivenUp(t *testing.T) {
	w := leftSession(t)
	synced := make(chan struct{})
	w.onSync(func() error {
		<-synced
		return nil
	})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := w.OpenSession(gone, "/", core.SessionSpec{
		ClientID: "dev", Owner: "guest", Expiry: time.Millisecond, Notify: func() {},
	})
	close(synced)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for w.Stats().Sessions > 0 {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the session that nobody has does not expire")
		}
	}
}
