package commitlog_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// upkeepScript drops and rewrites segments of a log, and knows what may be on
// disk at any moment.
type upkeepScript struct {
	must contents // records that nobody gave up
	may  contents // records that are being given up
}

func (s *upkeepScript) clone() *upkeepScript {
	return &upkeepScript{maps.Clone(s.must), maps.Clone(s.may)}
}

// check tells whether a log has all that it must have, and of the rest all or
// nothing.
func (s *upkeepScript) check(got contents) error {
	some := 0
	for lsn := range s.may {
		if _, ok := got[lsn]; ok {
			some++
		}
	}
	if some != 0 && some != len(s.may) {
		return fmt.Errorf("%d of %d records that were given up together", some, len(s.may))
	}
	want := maps.Clone(s.must)
	if some > 0 {
		maps.Copy(want, s.may)
	}
	if diff := want.differ(got); diff != "" {
		return fmt.Errorf("records (-want +got):\n%s", diff)
	}
	return nil
}

// giveUp moves records from must to may while do runs, and forgets them when
// it went well.
func (s *upkeepScript) giveUp(infos []commitlog.Info, live func(record.LSN) bool, do func() error) error {
	s.may = contents{}
	for _, i := range infos {
		for lsn := i.Base; lsn <= i.Last; lsn++ {
			if body, ok := s.must[lsn]; ok && (live == nil || !live(lsn)) {
				s.may[lsn] = body
				delete(s.must, lsn)
			}
		}
	}
	err := do()
	if err == nil {
		s.may = contents{}
	}
	return err
}

// run does steps on the log until an error.
func (s *upkeepScript) run(t testing.TB, l *commitlog.Log, rng *rand.Rand, steps int) error {
	for range steps {
		all := l.Segments()
		i := rng.IntN(max(1, len(all)-1))
		switch rng.IntN(4) {
		case 0:
			if !all[i].Sealed {
				continue
			}
			if err := s.giveUp(all[i:i+1], nil, func() error { return l.Drop(all[i].Base) }); err != nil {
				return err
			}
		case 1, 2:
			n := min(1+rng.IntN(2), len(all)-1-i)
			if n <= 0 {
				continue
			}
			var bases []record.LSN
			for _, info := range all[i : i+n] {
				bases = append(bases, info.Base)
			}
			mod := record.LSN(2 + rng.IntN(3))
			live := func(lsn record.LSN) bool { return lsn%mod == 0 }
			err := s.giveUp(all[i:i+n], live, func() error {
				_, err := l.Rewrite(t.Context(), bases, messages(live))
				return err
			})
			if err != nil {
				return err
			}
		default:
			for range 3 {
				b := batchAt(l.NextLSN(), 1+rng.IntN(3), 3000, true)
				s.may = contents{}
				s.may.add(b) // a batch is there or not, too
				if err := l.Append(b); err != nil {
					return err
				}
				maps.Copy(s.must, s.may)
				s.may = contents{}
			}
		}
	}
	return nil
}

// begun is a log of a few segments on a crashable disk.
func begun(t testing.TB) (*vfs.MemFS, *upkeepScript) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	l, _ := mustOpen(t, config(fs))
	s := &upkeepScript{must: contents{}, may: contents{}}
	for len(l.Segments()) < 5 {
		s.must.add(mustAppend(t, l, batchAt(l.NextLSN(), 2, 3000, true)))
	}
	mustClose(t, l)
	return fs, s
}

// reopened opens a log after a crash and checks it, twice.
func reopened(fs vfs.FS, s *upkeepScript) error {
	for range 2 {
		l, got, err := openAll(config(fs))
		if err != nil {
			return err
		}
		c := replayed(got)
		if err := s.check(c); err != nil {
			return errors.Join(err, l.Close())
		}
		if err := c.check(l); err != nil {
			return errors.Join(err, l.Close())
		}
		// What is there now stays.
		s.must, s.may = c, contents{}
		b := batchAt(l.NextLSN(), 1, 30, true)
		s.may.add(b)
		if err := l.Append(b); err != nil {
			return err
		}
		s.must.add(b)
		s.may = contents{}
		if err := l.Close(); err != nil {
			return err
		}
		names, err := fs.List("data/log")
		if err != nil {
			return err
		}
		for _, name := range names {
			if strings.HasSuffix(name, ".tmp") {
				return fmt.Errorf("%s is left", name)
			}
		}
	}
	return nil
}

// TestUpkeepCrashEverywhere crashes before each write, sync, rename and unlink
// of drops and rewrites, and before each one of the recovery from some of these.
func TestUpkeepCrashEverywhere(t *testing.T) {
	crashed := 0
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 5))
		fs, s := begun(t)
		type state struct {
			what string
			fs   *vfs.MemFS
			s    *upkeepScript
		}
		var states []state
		watch := func(mem *vfs.MemFS, s *upkeepScript, before string) vfs.FS {
			return errorfs.Wrap(mem, hook(func(op errorfs.Op) error {
				for _, percent := range []int{0, 40, 100} {
					states = append(states, state{
						fmt.Sprintf("%scrash before operation %d on %s, %d %% kept", before, op.Kind, op.Path, percent),
						mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}), s.clone(),
					})
				}
				return nil
			}))
		}
		l, _ := mustOpen(t, config(watch(fs, s, "")))
		states = nil
		if err := s.run(t, l, rng, 6); err != nil {
			t.Fatal(err)
		}
		mustClose(t, l)
		first := states
		for i, st := range first {
			states = nil
			mem := st.fs
			s := st.s.clone()
			open := vfs.FS(mem)
			if i%23 == 0 {
				open = watch(mem, s, st.what+", then ")
			}
			if err := reopened(open, s); err != nil {
				t.Fatalf("seed %d: %s: %v", seed, st.what, err)
			}
			crashed++
			for _, again := range states {
				if err := reopened(again.fs, again.s.clone()); err != nil {
					t.Fatalf("seed %d: %s: %v", seed, again.what, err)
				}
				crashed++
			}
		}
	}
	if crashed < 500 {
		t.Errorf("only %d crashes", crashed)
	}
}

// TestUpkeepErrors lets each operation of drops and rewrites fail in turn. The
// log stays sound and goes on, unless it says that it is poisoned, and then a
// healthy one finds everything.
func TestUpkeepErrors(t *testing.T) {
	poisoned, survived := 0, 0
	for failing := 0; ; failing++ {
		fs, s := begun(t)
		ops, armed := 0, false
		broken := errorfs.Wrap(fs, hook(func(errorfs.Op) error {
			if !armed {
				return nil
			}
			if ops++; ops == failing+1 {
				return errorfs.ErrInjected
			}
			return nil
		}))
		l, _ := mustOpen(t, config(broken))
		all := l.Segments()
		armed = true
		err := s.giveUp(all[:1], nil, func() error { return l.Drop(all[0].Base) })
		if err == nil {
			err = s.giveUp(all[1:3], everyThird, func() error {
				_, err := l.Rewrite(t.Context(), []record.LSN{all[1].Base, all[2].Base}, messages(everyThird))
				return err
			})
		}
		armed = false
		switch {
		case err == nil && ops <= failing:
			mustClose(t, l)
			if poisoned == 0 || survived < 10 {
				t.Errorf("poisoned %d times, survived %d", poisoned, survived)
			}
			return
		case err == nil: // an unlink failed, and the next one made up for it
		case errors.Is(err, commitlog.ErrPoisoned):
			poisoned++
			if err := l.Append(batchAt(l.NextLSN(), 1, 1, true)); !errors.Is(err, commitlog.ErrPoisoned) {
				t.Errorf("operation %d failed: Append: %v", failing, err)
			}
		default:
			survived++
			maps.Copy(s.must, s.may) // an error leaves all as it was
			s.may = contents{}
			if err := s.must.check(l); err != nil {
				t.Fatalf("operation %d failed: %v", failing, err)
			}
			s.must.add(mustAppend(t, l, batchAt(l.NextLSN(), 1, 1, true)))
			all := l.Segments()
			err := s.giveUp(all[:1], nil, func() error { return l.Drop(all[0].Base) })
			if err != nil {
				t.Fatalf("operation %d failed, then drop: %v", failing, err)
			}
		}
		disk := fs.CrashClone(vfs.CrashCloneCfg{})
		_ = l.Close()
		for _, d := range []*vfs.MemFS{disk, fs} {
			if err := reopened(d, s.clone()); err != nil {
				t.Fatalf("operation %d failed: %v", failing, err)
			}
		}
	}
}
