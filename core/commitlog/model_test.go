package commitlog_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// model is a log beside a slice that says what must be in it.
type model struct {
	script
	fs  *vfs.MemFS
	log *commitlog.Log
	cfg commitlog.Config
}

func (m *model) open(t *rapid.T) {
	m.cfg.FS = m.fs
	l, got, err := openAll(m.cfg)
	if err == nil {
		err = m.check(got)
	}
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	m.log, m.proposed, m.acked = l, got, len(got)
}

// append adds a batch to log and model.
func (m *model) append(t *rapid.T) {
	b := batchAt(m.log.NextLSN(), rapid.IntRange(0, 5).Draw(t, "records"),
		rapid.IntRange(0, 3000).Draw(t, "size"), rapid.Bool().Draw(t, "sync"))
	b.Small = rapid.Bool().Draw(t, "small")
	m.proposed = append(m.proposed, clone(b))
	if err := m.log.Append(b); err != nil {
		t.Fatalf("append %d: %v", b.Base, err)
	}
	if b.Sync {
		m.acked = len(m.proposed)
	}
}

func (m *model) settle(t *rapid.T, err error) {
	if err != nil {
		t.Fatal(err)
	}
	m.acked = len(m.proposed)
}

// read compares one record, there or not.
func (m *model) read(t *rapid.T) {
	lsn := record.LSN(rapid.Uint64Range(0, uint64(m.log.NextLSN())+2).Draw(t, "lsn"))
	got, err := m.log.Read(lsn)
	for _, b := range m.proposed {
		if b.Base <= lsn && lsn < b.Next() {
			if err != nil || !sameBatch(b, got) {
				t.Fatalf("read %d: got %v, %v", lsn, got, err)
			}
			return
		}
	}
	if !errors.Is(err, commitlog.ErrNotFound) {
		t.Fatalf("read %d: got %v, want ErrNotFound", lsn, err)
	}
}

// crash loses the process and a part of what was not synced.
func (m *model) crash(t *rapid.T) {
	cfg := vfs.CrashCloneCfg{
		UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(t, "kept"),
		RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
	}
	disk := m.fs.CrashClone(cfg)
	if err := m.log.Close(); err != nil {
		t.Fatalf("close the dead log: %v", err)
	}
	m.fs = disk
	m.open(t)
}

// upkeep is a log beside a map that says which records must be in it.
type upkeep struct {
	fs   *vfs.MemFS
	log  *commitlog.Log
	cfg  commitlog.Config
	want contents
}

func (m *upkeep) open(t *rapid.T) {
	m.cfg.FS = m.fs
	m.cfg.From = record.LSN(rapid.Uint64Range(0, m.last()).Draw(t, "from"))
	l, got, err := openAll(m.cfg)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	have := replayed(got)
	for lsn, body := range m.want {
		if lsn > m.cfg.From && have[lsn] != body {
			t.Fatalf("record %d is not replayed as it was", lsn)
		}
	}
	m.log = l
}

func (m *upkeep) last() uint64 {
	if m.log == nil {
		return 0
	}
	return uint64(m.log.NextLSN() - 1)
}

// some draws neighbours among the sealed segments.
func (m *upkeep) some(t *rapid.T, most int) (picked []commitlog.Info, bases []record.LSN) {
	all := m.log.Segments()
	for len(all) > 0 && !all[len(all)-1].Sealed {
		all = all[:len(all)-1]
	}
	if len(all) == 0 {
		return nil, nil
	}
	i := rapid.IntRange(0, len(all)-1).Draw(t, "first")
	n := rapid.IntRange(1, min(most, len(all)-i)).Draw(t, "count")
	for _, s := range all[i : i+n] {
		picked, bases = append(picked, s), append(bases, s.Base)
	}
	return picked, bases
}

func (m *upkeep) drop(t *rapid.T) {
	picked, bases := m.some(t, 2)
	if err := m.log.Drop(bases...); err != nil {
		t.Fatalf("drop %v: %v", bases, err)
	}
	for _, s := range picked {
		m.want.drop(s.Base, s.Last, nil)
	}
}

func (m *upkeep) rewrite(t *rapid.T) {
	picked, bases := m.some(t, 3)
	if len(bases) == 0 {
		return
	}
	n := record.LSN(rapid.IntRange(1, 4).Draw(t, "of"))
	live := func(lsn record.LSN) bool { return lsn%n == 1 }
	if _, err := m.log.Rewrite(t.Context(), bases, messages(live)); err != nil {
		t.Fatalf("rewrite %v: %v", bases, err)
	}
	for _, s := range picked {
		m.want.drop(s.Base, s.Last, live)
	}
}

func TestUpkeepModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &upkeep{fs: vfs.NewCrashableMem(), cfg: config(nil), want: contents{}}
		m.cfg.SegmentBytes = rapid.Int64Range(1, 8000).Draw(t, "segment")
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				b := batchAt(m.log.NextLSN(), rapid.IntRange(0, 5).Draw(t, "records"), rapid.IntRange(0, 2000).Draw(t, "size"), true)
				if err := m.log.Append(b); err != nil {
					t.Fatal(err)
				}
				m.want.add(b)
			},
			"drop":    m.drop,
			"rewrite": m.rewrite,
			"read": func(t *rapid.T) {
				if err := m.want.check(m.log); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				if err := m.log.Close(); err != nil {
					t.Fatal(err)
				}
				m.open(t)
			},
			"crash": func(t *rapid.T) {
				disk := m.fs.CrashClone(vfs.CrashCloneCfg{
					UnsyncedDataPercent: rapid.IntRange(0, 100).Draw(t, "kept"),
					RNG:                 rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)),
				})
				if err := m.log.Close(); err != nil {
					t.Fatal(err)
				}
				m.fs = disk
				m.open(t)
			},
		})
		if err := m.log.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{fs: vfs.NewCrashableMem(), cfg: config(nil)}
		m.cfg.SegmentBytes = rapid.Int64Range(1, 20000).Draw(t, "segment")
		m.open(t)
		t.Repeat(map[string]func(*rapid.T){
			"append":    m.append,
			"append2":   m.append,
			"read":      m.read,
			"sync":      func(t *rapid.T) { m.settle(t, m.log.Sync()) },
			"watermark": func(t *rapid.T) { m.settle(t, m.log.WriteWatermark()) },
			"crash":     m.crash,
			"reopen": func(t *rapid.T) {
				m.settle(t, m.log.Close())
				m.open(t)
			},
		})
		if err := m.log.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
