package core_test

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
)

// TestStorageErrorNeverConfirms fails a write or a sync under publishes: none is
// confirmed from then on, whoever waits is told, and after a restart all that
// was confirmed before is there.
func TestStorageErrorNeverConfirms(t *testing.T) {
	for _, tt := range []struct {
		name string
		op   errorfs.OpKind
		err  error
	}{
		{"sync", errorfs.OpFileSyncData, syscall.EIO},
		{"write", errorfs.OpFileWriteAt, syscall.EIO},
		{"full", errorfs.OpFileWriteAt, syscall.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			w.queue("q")
			p := w.publisher(nil)
			p.send(amqp("", "q", "before"))
			p.confirmed()
			fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind == tt.op {
					return tt.err
				}
				return nil
			})
			w.fail.Store(&fail)
			m := amqp("", "q", "after")
			if _, err := p.p.Publish(&m); err != nil {
				t.Fatal(err) // the batch is open, nothing has failed yet
			}
			deadline := time.After(time.Minute)
			for {
				n, err := p.p.Settled()
				if n != 1 {
					t.Fatalf("%d confirmed after the error, want 1", n)
				}
				if err != nil {
					if !errors.Is(err, core.ErrStorage) || !errors.Is(err, tt.err) {
						t.Fatalf("got %v, want ErrStorage for %v", err, tt.err)
					}
					break
				}
				select {
				case <-p.c:
				case <-deadline:
					t.Fatal("the publisher was not told")
				}
			}
			if _, err := p.p.Publish(&m); !errors.Is(err, core.ErrStorage) {
				t.Errorf("publish after the error: got %v, want ErrStorage", err)
			}
			if err := w.Err(); !errors.Is(err, core.ErrStorage) {
				t.Errorf("Err: got %v, want ErrStorage", err)
			}
			w.reopenAfterFailure()
			c, wake := w.consume("q")
			want(t, w.take(c, wake, 1), "before")
		})
	}
}

// reopenAfterFailure restarts on what was synced.
func (w *world) reopenAfterFailure() {
	w.t.Helper()
	after := w.cut(0)
	_ = w.Close() // says again what has failed
	w.must(w.cat.Close())
	w.fail.Store(nil)
	w.store.SetAway(false)
	w.fs = after
	w.open()
}
