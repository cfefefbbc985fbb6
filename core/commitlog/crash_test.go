package commitlog_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// script is what a log was asked to do, and what it has answered.
type script struct {
	proposed []*record.Batch
	acked    int // batches that are durable by the log's word
}

// check tells whether a recovered log holds all acked batches, in order, once,
// and nothing else but the proposed ones that follow.
func (s *script) check(got []*record.Batch) error {
	if len(got) < s.acked {
		return fmt.Errorf("%d batches recovered, %d acked", len(got), s.acked)
	}
	if len(got) > len(s.proposed) {
		return fmt.Errorf("%d batches recovered, %d proposed", len(got), len(s.proposed))
	}
	if !slices.EqualFunc(s.proposed[:len(got)], got, sameBatch) {
		return errors.New("other batches recovered than proposed")
	}
	return nil
}

// run does steps on the log until an error.
func (s *script) run(l *commitlog.Log, rng *rand.Rand, steps int) error {
	for range steps {
		var err error
		switch rng.IntN(10) {
		case 0:
			err = l.WriteWatermark()
		case 1:
			err = l.Sync()
		case 2:
			err = l.SyncTo(l.NextLSN() - 1)
		default:
			b := batchAt(l.NextLSN(), 1+rng.IntN(3), rng.IntN(4000), rng.IntN(3) > 0)
			s.proposed = append(s.proposed, clone(b))
			if err = l.Append(b); err == nil && !b.Sync {
				continue
			}
		}
		if err != nil {
			return err
		}
		s.acked = len(s.proposed)
	}
	return nil
}

// hook is an injector that calls fn before each operation that changes the disk.
func hook(fn func(op errorfs.Op) error) errorfs.Injector {
	return errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFileSync, errorfs.OpFileSyncData,
			errorfs.OpCreate, errorfs.OpRename, errorfs.OpRemove, errorfs.OpMkdirAll:
			return fn(op)
		default:
			return nil
		}
	})
}

// crash is a disk as a crash at some operation may have left it.
type crash struct {
	what string
	fs   *vfs.MemFS
	script
}

// crashes returns disks after a crash before each operation that do makes, with
// none, all, and a random part of what was not synced.
func crashes(rng *rand.Rand, fs *vfs.MemFS, s *script, do func(fs vfs.FS)) (found []crash) {
	do(errorfs.Wrap(fs, hook(func(op errorfs.Op) error {
		for _, percent := range []int{0, 30, 70, 100} {
			found = append(found, crash{
				what:   fmt.Sprintf("crash before operation %d on %s, %d %% kept", op.Kind, op.Path, percent),
				fs:     fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}),
				script: script{slices.Clone(s.proposed), s.acked},
			})
		}
		return nil
	})))
	return found
}

// TestCrashEverywhere crashes before every write and sync of a log's life, and
// again before every write and sync of the recovery from some of these.
func TestCrashEverywhere(t *testing.T) {
	for seed := range uint64(3) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s script
		first := crashes(rng, vfs.NewCrashableMem(), &s, func(fs vfs.FS) {
			for range 3 {
				l, got := mustOpen(t, config(fs))
				if err := s.check(got); err != nil {
					t.Fatal(err)
				}
				s.acked = len(got)
				if err := s.run(l, rng, 12); err != nil {
					t.Fatal(err)
				}
				mustClose(t, l)
				s.acked = len(s.proposed)
			}
		})
		for i, c := range first {
			// The order of death: recovered, dead while recovering, recovered.
			twice := crashes(rng, c.fs, &c.script, func(fs vfs.FS) { c.survive(t, fs, seed) })
			if i%8 != 0 {
				continue
			}
			for _, d := range twice {
				d.what = c.what + ", then " + d.what
				d.survive(t, d.fs, seed)
			}
		}
	}
}

// survive opens the log after the crash, checks it, goes on with it, and does
// so once more.
func (c *crash) survive(t *testing.T, fs vfs.FS, seed uint64) {
	t.Helper()
	for range 2 {
		l, got, err := openAll(config(fs))
		if err == nil {
			err = c.check(got)
		}
		if err != nil {
			t.Fatalf("seed %d: %s: %v", seed, c.what, err)
		}
		// What is recovered is durable now, and what is not never was.
		c.proposed, c.acked = got, len(got)
		b := batchAt(l.NextLSN(), 2, 50, true)
		c.proposed = append(c.proposed, clone(b))
		if err := l.Append(b); err != nil {
			t.Fatalf("seed %d: %s: append: %v", seed, c.what, err)
		}
		c.acked++
		mustClose(t, l)
	}
}

// TestCrashWhileCutting crashes before every write and sync of a start that cuts
// a torn tail: what stood before the tail must stay.
func TestCrashWhileCutting(t *testing.T) {
	mem, rng := vfs.NewCrashableMem(), rand.New(rand.NewPCG(5, 5))
	l, _ := mustOpen(t, config(mem))
	s := script{proposed: fill(t, l, 3), acked: 3}
	tail := l.Bytes()
	disk := mem.CrashClone(vfs.CrashCloneCfg{})
	mustClose(t, l)
	f, err := disk.OpenReadWrite(segments(t, disk)[0], vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("the beginning of a frame"), tail); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	found := crashes(rng, disk, &s, func(fs vfs.FS) {
		l, got := mustOpen(t, config(fs))
		if err := s.check(got); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
	})
	for _, c := range found {
		c.survive(t, c.fs, 0)
	}
}

// TestErrorPoisons lets each operation on the disk fail in turn. From then on
// the log must not touch the disk, and a healthy one must find all that was acked.
func TestErrorPoisons(t *testing.T) {
	for failing := 0; ; failing++ {
		mem := vfs.NewCrashableMem()
		rng := rand.New(rand.NewPCG(7, 7))
		var s script
		ops, after := 0, 0
		var live *commitlog.Log
		fs := errorfs.Wrap(mem, hook(func(errorfs.Op) error {
			ops++
			switch {
			case ops == failing+1 && live != nil:
				return errorfs.ErrInjected
			case ops > failing+1 && live != nil:
				after++
			}
			return nil
		}))
		l, _ := mustOpen(t, config(fs))
		live = l
		ops = 0
		err := s.run(l, rng, 40)
		if err == nil {
			err = l.Close()
			if err == nil && ops > failing {
				t.Fatalf("operation %d failed, and nobody was told", failing)
			}
			if err == nil {
				if ops < 50 {
					t.Fatalf("only %d operations failed", ops)
				}
				return
			}
		}
		if !errors.Is(err, commitlog.ErrPoisoned) || !errors.Is(err, errorfs.ErrInjected) {
			t.Fatalf("operation %d fails: got %v, want ErrPoisoned and its cause", failing, err)
		}
		for what, err := range map[string]error{
			"Append":         l.Append(batchAt(l.NextLSN(), 1, 1, true)),
			"WriteWatermark": l.WriteWatermark(),
			"Sync":           l.Sync(),
		} {
			if !errors.Is(err, commitlog.ErrPoisoned) && !errors.Is(err, commitlog.ErrClosed) {
				t.Errorf("operation %d failed, then %s: got %v, want ErrPoisoned", failing, what, err)
			}
		}
		_ = l.Close()
		if after != 0 {
			t.Fatalf("operation %d failed, then %d operations on the disk", failing, after)
		}
		for _, percent := range []int{0, 50, 100} {
			c := crash{
				what:   fmt.Sprintf("operation %d failed, %d %% kept", failing, percent),
				fs:     mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}),
				script: script{slices.Clone(s.proposed), s.acked},
			}
			c.survive(t, c.fs, 0)
		}
	}
}

// TestReadAfterPoison checks that what was committed is still served.
func TestReadAfterPoison(t *testing.T) {
	broken := false
	fs := errorfs.Wrap(vfs.NewMem(), hook(func(op errorfs.Op) error {
		if broken && op.Kind == errorfs.OpFileSyncData {
			return errorfs.ErrInjected
		}
		return nil
	}))
	l, _ := mustOpen(t, config(fs))
	want := fill(t, l, 5)
	broken = true
	next := l.NextLSN()
	if err := l.Append(batchAt(next, 1, 1, true)); !errors.Is(err, commitlog.ErrPoisoned) {
		t.Fatalf("Append: got %v, want ErrPoisoned", err)
	}
	if got, err := l.Read(1); err != nil || !sameBatch(want[0], got) {
		t.Errorf("Read 1: %v", err)
	}
	if _, err := l.Read(next); !errors.Is(err, commitlog.ErrNotFound) {
		t.Errorf("Read of what was not committed: got %v, want ErrNotFound", err)
	}
	if err := l.Close(); !errors.Is(err, commitlog.ErrPoisoned) {
		t.Errorf("Close: got %v, want ErrPoisoned", err)
	}
}

// TestRecoveredIsDurable kills the process alone, so that the next one finds
// what was never synced, and then cuts the power: what the second process has
// replayed must stay.
func TestRecoveredIsDurable(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		mem := vfs.NewCrashableMem()
		broken := false
		fs := errorfs.Wrap(mem, hook(func(op errorfs.Op) error {
			if broken && op.Kind == errorfs.OpFileSync {
				return errorfs.ErrInjected
			}
			return nil
		}))
		l, _ := mustOpen(t, config(fs))
		mustAppend(t, l, batchAt(1, 1, 10, true))
		for l.Bytes() < config(nil).SegmentBytes {
			mustAppend(t, l, batchAt(l.NextLSN(), 1, 3000, false))
		}
		if broken = sealed; sealed {
			// The footer is written, and its sync fails.
			if err := l.Append(batchAt(l.NextLSN(), 1, 10, true)); !errors.Is(err, commitlog.ErrPoisoned) {
				t.Fatalf("Append at a full segment: got %v, want ErrPoisoned", err)
			}
		}
		var rewritten int64
		second, want := mustOpen(t, config(errorfs.Wrap(mem, hook(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWriteAt {
				rewritten++
			}
			return nil
		}))))
		if len(want) < 3 || rewritten == 0 {
			t.Fatalf("%d batches replayed, %d writes", len(want), rewritten)
		}
		disk := mem.CrashClone(vfs.CrashCloneCfg{})
		_ = second.Close()
		_ = l.Close()
		third, got := mustOpen(t, config(disk))
		if !slices.EqualFunc(want, got, sameBatch) {
			t.Errorf("sealed %v: %d batches after the power cut, %d were replayed before", sealed, len(got), len(want))
		}
		mustClose(t, third)
	}
}
