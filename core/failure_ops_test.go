package core_test

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core"
)

// failing lets one kind of operation fail, from some moment on, in files whose
// path holds a text.
type failing struct {
	op    errorfs.OpKind
	where string
	err   error

	hits  atomic.Int32 // operations that failed
	after atomic.Int32 // writes and syncs of the log after the first
}

func (f *failing) inject(op errorfs.Op) error {
	if op.Kind == f.op && strings.Contains(op.Path, f.where) {
		f.hits.Add(1)
		return f.err
	}
	if f.hits.Load() > 0 && f.where == "shard-0" && strings.Contains(op.Path, "shard-0") {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			f.after.Add(1)
		default:
		}
	}
	return nil
}

// publishUntilFailure publishes numbered messages one after the other until one
// is refused or n are confirmed. It returns how many were sent and confirmed.
func publishUntilFailure(t *testing.T, p *publisher, n int) (sent, confirmed int, failure error) {
	t.Helper()
	noise := rand.NewChaCha8([32]byte{1})
	body := make([]byte, 2000)
	for sent < n {
		_, _ = noise.Read(body)
		m := amqp("", "q", strconv.Itoa(sent)+" "+string(body))
		if _, err := p.p.Publish(&m); err != nil {
			return sent, confirmed, err
		}
		sent++
		for confirmed < sent {
			settled, err := p.p.Settled()
			if confirmed = int(settled); err != nil {
				return sent, confirmed, err
			}
			if confirmed == sent {
				break
			}
			select {
			case <-p.c:
			case <-time.After(time.Minute):
				t.Fatalf("message %d is neither confirmed nor refused", sent)
			}
		}
	}
	return sent, confirmed, nil
}

// TestEveryOperationFails lets each operation on the files of the log and of the
// index fail while messages are published and segments rolled: none is confirmed
// that is not there after a restart on what was synced, a failed write or sync
// of the log is not tried again, and nothing that was refused comes instead.
func TestEveryOperationFails(t *testing.T) {
	index := map[string]errorfs.OpKind{
		"create": errorfs.OpCreate, "open": errorfs.OpOpen, "write": errorfs.OpFileWrite,
		"sync data": errorfs.OpFileSyncData, "sync": errorfs.OpFileSync, "sync to": errorfs.OpFileSyncTo,
		"open directory": errorfs.OpOpenDir, "rename": errorfs.OpRename, "remove": errorfs.OpRemove,
		"preallocate": errorfs.OpFilePreallocate,
	}
	log := map[string]errorfs.OpKind{ // what a log without upkeep does
		"open": errorfs.OpOpen, "write": errorfs.OpFileWriteAt, "sync data": errorfs.OpFileSyncData,
		"sync": errorfs.OpFileSync, "open directory": errorfs.OpOpenDir,
	}
	manifest := map[string]errorfs.OpKind{ // of Pebble: one that it can't write ends it
		"write": errorfs.OpFileWrite, "sync data": errorfs.OpFileSyncData, "sync": errorfs.OpFileSync,
	}
	for where, ops := range map[string]map[string]errorfs.OpKind{"shard-0": log, "index-0": index, "index-0/MANIFEST": manifest} {
		for name, op := range ops {
			for _, failure := range []error{syscall.EIO, syscall.ENOSPC} {
				t.Run(where+"/"+name+"/"+failure.Error(), func(t *testing.T) {
					f := &failing{op: op, where: where, err: failure}
					failOperation(t, f)
					if where == "shard-0" && f.hits.Load() != 1 {
						t.Errorf("%d operations failed, want one and no other try", f.hits.Load())
					}
					if where == "index-0/MANIFEST" && name != "sync data" && f.hits.Load() == 0 {
						t.Error("the MANIFEST was not met")
					}
				})
			}
		}
	}
}

func failOperation(t *testing.T, f *failing) {
	w := newWorldWith(t, 1, func(cfg *core.Config, _ *core.Deps) {
		cfg.SegmentBytes, cfg.CheckpointBytes, cfg.CheckpointInterval = 1<<16, 32<<10, 10*time.Millisecond
		cfg.SpillRefs = 16
	})
	w.queue("q")
	p := w.publisher(nil)
	if _, _, err := publishUntilFailure(t, p, 5); err != nil {
		t.Fatal(err)
	}
	inject := errorfs.InjectorFunc(f.inject)
	w.fail.Store(&inject)
	sent, confirmed, err := publishUntilFailure(t, w.publisher(nil), 120)
	switch {
	case err != nil && (!errors.Is(err, core.ErrStorage) || !errors.Is(err, f.err)):
		t.Fatalf("got %v, want ErrStorage for %v", err, f.err)
	case err != nil && w.Err() == nil:
		t.Error("the broker says that all is well")
	case err == nil && confirmed != 120:
		t.Fatalf("%d of 120 confirmed", confirmed)
	}
	if err != nil {
		m := amqp("", "q", "late")
		if _, again := p.p.Publish(&m); !errors.Is(again, core.ErrStorage) {
			t.Errorf("publish after the error: got %v, want ErrStorage", again)
		}
		if n := f.after.Load(); n > 0 {
			t.Errorf("%d writes and syncs of the log after the one that failed", n)
		}
	}
	t.Logf("%d operations failed; %d sent, %d confirmed; %v", f.hits.Load(), sent, confirmed, err)
	w.reopenAfterFailure()
	c, wake := w.consume("q")
	for i, d := range w.take(c, wake, 5+confirmed) {
		want := strconv.Itoa(i)
		if i >= 5 {
			want = strconv.Itoa(i - 5)
		}
		if got, _, _ := strings.Cut(string(d.Message.Payload), " "); got != want {
			t.Fatalf("delivery %d is message %s, want %s", i, got, want)
		}
	}
	rest, err := c.Next(nil, 10)
	if err != nil || len(rest) > sent-confirmed {
		t.Errorf("%d deliveries more, %d were sent and not confirmed: %v", len(rest), sent-confirmed, err)
	}
}
