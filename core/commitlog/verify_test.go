package commitlog_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// mixed is a closed log of original segments, a rewritten one and a hole.
func mixed(t testing.TB) (*vfs.MemFS, contents, []commitlog.Info) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	l, want := aged(t, config(fs))
	all := l.Segments()
	if _, err := l.Rewrite(t.Context(), []record.LSN{all[1].Base, all[2].Base}, messages(everyThird)); err != nil {
		t.Fatal(err)
	}
	want.drop(all[1].Base, all[2].Last, everyThird)
	if err := l.Drop(all[3].Base); err != nil {
		t.Fatal(err)
	}
	want.drop(all[3].Base, all[3].Last, nil)
	want.add(fill(t, l, 40)...)
	all = l.Segments()
	mustClose(t, l)
	return fs, want, all
}

func mustVerify(t testing.TB, cfg commitlog.Config) *commitlog.Report {
	t.Helper()
	r, err := commitlog.Verify(cfg, nil)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return r
}

func TestVerifySound(t *testing.T) {
	fs, want, all := mixed(t)
	var last commitlog.Progress
	r, err := commitlog.Verify(config(fs), func(p commitlog.Progress) { last = p })
	if err != nil || r.Faults() != 0 || len(r.Unknown) != 0 || r.Generation == 0 || r.First != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	records := uint64(0)
	for i, s := range r.Segments {
		records += s.Records
		info := all[i]
		info.Sealed = s.Sealed // the last one is not, and has a mark more
		info.Bytes = s.Bytes
		if s.Info != info || s.Torn != nil {
			t.Errorf("segment %d: got %+v, want %+v", i, s.Info, info)
		}
	}
	if int(records) != len(want) || last.Done != last.Total || last.Total == 0 {
		t.Errorf("%d records, want %d; progress %+v", records, len(want), last)
	}
}

// TestDump yields every record of every segment, once and in order.
func TestDump(t *testing.T) {
	fs, want, _ := mixed(t)
	got := contents{}
	for _, s := range mustVerify(t, config(fs)).Segments {
		for e, err := range commitlog.Dump(config(fs), s.Name) {
			if err != nil {
				t.Fatal(err)
			}
			got[e.LSN] = string(e.Body)
		}
		for range commitlog.Dump(config(fs), s.Name) {
			break
		}
	}
	if diff := want.differ(got); diff != "" {
		t.Errorf("dumped (-want +got):\n%s", diff)
	}
}

// accept gives up what a report says, and tells how many records that are.
func accept(cfg commitlog.Config, r *commitlog.Report, want contents) error {
	for _, s := range r.Segments {
		if len(s.Faults) == 0 {
			continue
		}
		lost := commitlog.Loss{First: s.Faults[0].First}
		for _, f := range s.Faults {
			lost.Last = max(lost.Last, f.Last, f.First)
			for lsn := f.First; lsn <= f.Last || (f.Last == 0 && lsn < r.Next+100); lsn++ {
				delete(want, lsn)
			}
		}
		if err := commitlog.AcceptLoss(cfg, s.Name, lost); err != nil {
			return err
		}
	}
	return nil
}

// TestAcceptLoss flips bits anywhere below the watermark of original and
// rewritten segments: the log is refused, the report tells which records are
// lost, and when that is accepted exactly these are gone.
func TestAcceptLoss(t *testing.T) {
	fs, whole, _ := mixed(t)
	rng := rand.New(rand.NewPCG(8, 8))
	paths := segments(t, fs)
	lossless := 0
	for i := range 250 {
		fs, want := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng}), maps.Clone(whole)
		which := rng.IntN(len(paths))
		path := paths[which]
		bad := readFile(t, fs, path)
		end := len(bad)
		if which == len(paths)-2 { // the last segment; the manifest is behind it
			end -= record.HeaderSize
		}
		bit := rng.IntN(8 * end)
		bad[bit/8] ^= 1 << (bit % 8)
		writeFile(t, fs, path, bad)
		what := fmt.Sprintf("flip %d, %s bit %d of %d bytes", i, path, bit, len(bad))
		if l, _, err := openAll(config(fs)); err == nil {
			mustClose(t, l)
			t.Fatalf("%s: opened", what)
		} else if _, ok := errors.AsType[*commitlog.CorruptError](err); !ok {
			t.Fatalf("%s: %v", what, err)
		}
		if strings.HasSuffix(path, "MANIFEST") {
			continue
		}
		r := mustVerify(t, config(fs))
		if r.Faults() != 1 {
			t.Fatalf("%s: %d faults", what, r.Faults())
		}
		if err := accept(config(fs), r, want); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if strings.HasSuffix(path, ".seg") && len(whole)-len(want) > 4 {
			t.Fatalf("%s: %d records lost, a batch has at most 4", what, len(whole)-len(want))
		} else if len(whole) == len(want) {
			lossless++
		}
		l, got, err := openAll(config(fs))
		if err != nil {
			t.Fatalf("%s: accepted, then: %v", what, err)
		}
		if diff := want.differ(replayed(got)); diff != "" {
			t.Fatalf("%s: %s", what, diff)
		}
		want.add(fill(t, l, 3)...)
		l = reopen(t, l, config(fs), want)
		if err := want.check(l); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		mustClose(t, l)
		kept, err := fs.List("data/log/quarantine")
		if err != nil || len(kept) != 1 || !slices.Equal(readFile(t, fs, "data/log/quarantine/"+kept[0]), bad) {
			t.Fatalf("%s: quarantine holds %v, %v", what, kept, err)
		}
	}
	if lossless == 0 {
		t.Error("no flip in a header or footer")
	}
}

// TestAcceptLossOfFile takes a whole segment away.
func TestAcceptLossOfFile(t *testing.T) {
	fs, whole, all := mixed(t)
	names := mustVerify(t, config(fs)).Segments
	for i, s := range names[:len(names)-1] {
		fs, want := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), maps.Clone(whole)
		if err := fs.Remove("data/log/" + s.Name); err != nil {
			t.Fatal(err)
		}
		if _, _, err := openAll(config(fs)); !errors.Is(err, commitlog.ErrCorrupt) {
			t.Fatalf("without %s: got %v, want ErrCorrupt", s.Name, err)
		}
		if err := accept(config(fs), mustVerify(t, config(fs)), want); err != nil {
			t.Fatalf("without %s: %v", s.Name, err)
		}
		expected := maps.Clone(whole)
		expected.drop(all[i].Base, all[i].Last, nil)
		l, got, err := openAll(config(fs))
		if err != nil {
			t.Fatalf("without %s: %v", s.Name, err)
		}
		if diff := expected.differ(replayed(got)); diff != "" {
			t.Errorf("without %s: %s", s.Name, diff)
		}
		mustClose(t, l)
	}
}

// TestAcceptLossOfContent cuts each segment at many places, or gives it the content of
// another or none: what the report tells to be lost is lost, and nothing else.
func TestAcceptLossOfContent(t *testing.T) {
	fs, whole, all := mixed(t)
	newest := all[len(all)-1].Last
	paths := segments(t, fs)
	for _, path := range paths {
		if strings.HasSuffix(path, "MANIFEST") {
			continue
		}
		was := readFile(t, fs, path)
		contents := map[string][]byte{"zeros": make([]byte, len(was)), "zeros of a header": make([]byte, 64)}
		for _, end := range []int{0, 1, 63, 64, 65, len(was) / 3, len(was) / 2, len(was) - 65, len(was) - 1} {
			contents[fmt.Sprintf("%d of %d bytes", end, len(was))] = was[:end]
		}
		for _, other := range paths {
			if other != path {
				contents[other] = readFile(t, fs, other)
			}
		}
		for name, content := range contents {
			fs, want := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(1, 1))}), maps.Clone(whole)
			writeFile(t, fs, path, content)
			cfg := config(fs)
			cfg.From = newest
			r := mustVerify(t, cfg)
			l, _, err := openAll(cfg)
			if err == nil {
				mustClose(t, l)
			}
			if (err == nil) != (r.Faults() == 0) {
				t.Fatalf("%s with %s: %d faults, and the start says %v", path, name, r.Faults(), err)
			}
			if err := accept(cfg, r, want); err != nil {
				t.Fatalf("%s with %s: %v", path, name, err)
			}
			l, got, err := openAll(config(fs))
			if err != nil {
				t.Fatalf("%s with %s: accepted, then: %v", path, name, err)
			}
			if diff := want.differ(replayed(got)); diff != "" {
				t.Errorf("%s with %s: %+v (-told +lost)\n%s", path, name, r.Segments, diff)
			}
			if next := l.NextLSN(); next <= newest {
				t.Errorf("%s with %s: the next record gets LSN %d again", path, name, next)
			}
			mustClose(t, l)
		}
	}
}

func TestAcceptLossRefuses(t *testing.T) {
	fs, _, _ := mixed(t)
	cfg := config(fs)
	name := mustVerify(t, cfg).Segments[0].Name
	if err := commitlog.AcceptLoss(cfg, name, commitlog.Loss{First: 1, Last: 99}); !errors.Is(err, commitlog.ErrNotFound) {
		t.Errorf("sound segment: got %v, want ErrNotFound", err)
	}
	bad := readFile(t, fs, "data/log/"+name)
	bad[200] ^= 1
	writeFile(t, fs, "data/log/"+name, bad)
	f := mustVerify(t, cfg).Segments[0].Faults[0]
	for _, lost := range []commitlog.Loss{{}, {f.First + 1, f.Last + 1}, {f.First, f.Last - 1}} {
		if err := commitlog.AcceptLoss(cfg, name, lost); !errors.Is(err, commitlog.ErrCorrupt) {
			t.Errorf("loss %v of %v: got %v, want ErrCorrupt", lost, f, err)
		}
	}
	if got := readFile(t, fs, "data/log/"+name); !slices.Equal(got, bad) {
		t.Error("the damaged file was changed")
	}
}

// TestAcceptLossCrash crashes before every operation of AcceptLoss: the log is
// refused as before, or opens without the lost records.
func TestAcceptLossCrash(t *testing.T) {
	fs, want, _ := mixed(t)
	rng := rand.New(rand.NewPCG(2, 2))
	name := mustVerify(t, config(fs)).Segments[1].Name
	bad := readFile(t, fs, "data/log/"+name)
	bad[len(bad)/2] ^= 1
	writeFile(t, fs, "data/log/"+name, bad)
	r := mustVerify(t, config(fs))
	var disks []*vfs.MemFS
	cfg := config(errorfs.Wrap(fs, hook(func(errorfs.Op) error {
		for _, percent := range []int{0, 50, 100} {
			disks = append(disks, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
		}
		return nil
	})))
	if err := accept(cfg, r, want); err != nil {
		t.Fatal(err)
	}
	opened := 0
	for i, disk := range append(disks, fs) {
		l, got, err := openAll(config(disk))
		if errors.Is(err, commitlog.ErrCorrupt) {
			if err := accept(config(disk), mustVerify(t, config(disk)), contents{}); err != nil {
				t.Fatalf("disk %d: accept again: %v", i, err)
			}
			l, got, err = openAll(config(disk))
		} else {
			opened++
		}
		if err != nil {
			t.Fatalf("disk %d: %v", i, err)
		}
		if diff := want.differ(replayed(got)); diff != "" {
			t.Fatalf("disk %d: %s", i, diff)
		}
		mustClose(t, l)
	}
	if opened < 2 || opened > len(disks) {
		t.Errorf("%d of %d disks opened", opened, len(disks))
	}
}

// TestQuarantine puts files that are no part of the log into its directory.
func TestQuarantine(t *testing.T) {
	fs, want, all := mixed(t)
	strangers := []string{
		fmt.Sprintf("%020d.seg", all[1].Base), fmt.Sprintf("%020d.%020d.rws", all[0].Base, 77),
	}
	for range 2 {
		for _, name := range strangers {
			writeFile(t, fs, "data/log/"+name, []byte("whatever it is"))
		}
		if r := mustVerify(t, config(fs)); len(r.Unknown) != len(strangers) {
			t.Errorf("Unknown: %v", r.Unknown)
		}
		l, got := mustOpen(t, config(fs))
		if diff := want.differ(replayed(got)); diff != "" {
			t.Fatal(diff)
		}
		mustClose(t, l)
	}
	kept, err := fs.List("data/log/quarantine")
	if err != nil || len(kept) != 4 {
		t.Errorf("quarantine holds %v, %v", kept, err)
	}
}

// TestManifestLost checks that a log is refused when its manifest is gone.
func TestManifestLost(t *testing.T) {
	fs, _, _ := mixed(t)
	before := segments(t, fs)
	if err := fs.Remove("data/log/MANIFEST"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openAll(config(fs)); !errors.Is(err, commitlog.ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
	if got := segments(t, fs); len(got) != len(before)-1 {
		t.Errorf("files: got %v, want those of %v", got, before)
	}
}

// TestAcceptLossOfManifest loses or damages the manifest: what is there is the
// log afterwards, and that is all there was.
func TestAcceptLossOfManifest(t *testing.T) {
	for _, lost := range []bool{false, true} {
		fs, want, _ := mixed(t)
		cfg := config(fs)
		if err := commitlog.AcceptLoss(cfg, "MANIFEST", commitlog.Loss{}); !errors.Is(err, commitlog.ErrNotFound) {
			t.Errorf("sound manifest: got %v, want ErrNotFound", err)
		}
		if bad := readFile(t, fs, "data/log/MANIFEST"); lost {
			if err := fs.Remove("data/log/MANIFEST"); err != nil {
				t.Fatal(err)
			}
		} else {
			bad[20] ^= 1
			writeFile(t, fs, "data/log/MANIFEST", bad)
		}
		if _, err := commitlog.Verify(cfg, nil); !errors.Is(err, commitlog.ErrCorrupt) {
			t.Errorf("Verify: got %v, want ErrCorrupt", err)
		}
		if err := commitlog.AcceptLoss(cfg, "MANIFEST", commitlog.Loss{}); err != nil {
			t.Fatal(err)
		}
		l, got := mustOpen(t, cfg)
		if diff := want.differ(replayed(got)); diff != "" {
			t.Errorf("lost %v: %s", lost, diff)
		}
		if err := want.check(l); err != nil {
			t.Error(err)
		}
		all := l.Segments()
		if err := l.Drop(all[0].Base); err != nil {
			t.Errorf("Drop: %v", err)
		}
		want.drop(all[0].Base, all[0].Last, nil)
		mustClose(t, reopen(t, l, cfg, want))
	}
}
