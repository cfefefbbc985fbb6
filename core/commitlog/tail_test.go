package commitlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// tornTail is a log whose last 64 KiB are above the durable watermark.
type tornTail struct {
	fs      *vfs.MemFS
	cfg     commitlog.Config
	path    string
	content []byte
	batches []*record.Batch
	ends    []int // of the frame of each batch
	durable int   // batches at or below the watermark
}

func newTornTail(t *testing.T) *tornTail {
	t.Helper()
	tt := &tornTail{fs: vfs.NewMem()}
	tt.cfg = config(tt.fs)
	tt.cfg.SegmentBytes = 1 << 20
	l, _ := mustOpen(t, tt.cfg)
	tt.append(t, l, 3, true)
	if err := l.WriteWatermark(); err != nil {
		t.Fatal(err)
	}
	tt.durable = len(tt.batches)
	for from := l.Bytes(); l.Bytes() < from+64<<10; {
		tt.append(t, l, 1, false)
	}
	tt.path = segments(t, tt.fs)[0]
	tt.content = readFile(t, tt.fs, tt.path)
	mustClose(t, l)
	return tt
}

func (tt *tornTail) append(t *testing.T, l *commitlog.Log, n int, sync bool) {
	t.Helper()
	for range n {
		b := batchAt(l.NextLSN(), 1+len(tt.batches)%3, 300+100*(len(tt.batches)%17), sync)
		tt.batches = append(tt.batches, clone(mustAppend(t, l, b)))
		tt.ends = append(tt.ends, int(l.Bytes()))
	}
}

// intact is how many batches a file has before the first byte that is not as it
// was written.
func (tt *tornTail) intact(content []byte) int {
	start := 0
	for n, end := range tt.ends {
		if end > len(content) || !bytes.Equal(content[start:end], tt.content[start:end]) {
			return n
		}
		start = end
	}
	return len(tt.ends)
}

// check opens the log with another content of its file.
func (tt *tornTail) check(t *testing.T, what string, content []byte) {
	t.Helper()
	writeFile(t, tt.fs, tt.path, content)
	l, got, err := openAll(tt.cfg)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	want := tt.batches[:tt.intact(content)]
	if len(want) < tt.durable {
		t.Fatalf("%s: the test touches durable bytes", what)
	}
	if diff := diffBatches(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
	mustClose(t, l)
}

// TestTornTail cuts or garbles the log at every byte of the last 64 KiB, all
// above the watermark: what is below it is there, what is intact before the
// fault too, and nothing else, whatever follows.
func TestTornTail(t *testing.T) {
	t.Parallel()
	tt := newTornTail(t)
	scratch := make([]byte, len(tt.content))
	faults := []struct {
		name string
		do   func(at int) []byte
	}{
		{"cut", func(at int) []byte { return tt.content[:at] }},
		{"byte flipped", func(at int) []byte {
			copy(scratch, tt.content)
			scratch[at] ^= 0xff
			return scratch
		}},
		{"zeros", func(at int) []byte {
			copy(scratch, tt.content)
			clear(scratch[at:])
			return scratch
		}},
	}
	all, step := os.Getenv("TIDEGATE_E2E_LONG") == "1", 1
	if testing.Short() {
		step = 31 // with the race detector each byte costs milliseconds
	}
	for at := len(tt.content) - 64<<10; at < len(tt.content); at += step {
		for i, f := range faults {
			if all || at%len(faults) == i {
				tt.check(t, fmt.Sprintf("%s at %d of %d", f.name, at, len(tt.content)), f.do(at))
			}
		}
	}
}

// TestBitFlipsAreSeen flips bits below the watermark of a log of original and
// rewritten segments that is at its checkpoint, so that a start judges most by
// footer and length alone: none is lost in silence. The log is refused, or each
// record is read as it was or with an error, and verifying names the byte.
func TestBitFlipsAreSeen(t *testing.T) {
	fs, want, _ := mixed(t)
	paths := segments(t, fs)
	last := len(paths) - 2 // the manifest is behind it
	rng := rand.New(rand.NewPCG(12, 1))
	cfg := config(fs)
	l, _ := mustOpen(t, cfg)
	cfg.From = l.NextLSN() - 1
	mustClose(t, l)
	refused, met := 0, 0
	for i := range 1000 {
		disk := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rng})
		cfg.FS = disk
		path := paths[rng.IntN(len(paths))]
		bad := readFile(t, disk, path)
		end := len(bad)
		if path == paths[last] {
			end -= record.HeaderSize // the last mark
		}
		bit := rng.IntN(8 * end)
		bad[bit/8] ^= 1 << (bit % 8)
		writeFile(t, disk, path, bad)
		what := fmt.Sprintf("flip %d, %s bit %d of %d bytes", i, path, bit, len(bad))

		r, err := commitlog.Verify(cfg, nil)
		if strings.HasSuffix(path, "MANIFEST") {
			if !errors.Is(err, commitlog.ErrCorrupt) {
				t.Fatalf("%s: Verify: %v", what, err)
			}
		} else if err != nil || !names(r, path, int64(bit/8)) {
			t.Fatalf("%s: Verify: %+v, %v", what, r, err)
		}
		l, _, err := openAll(cfg)
		if err != nil {
			if _, ok := errors.AsType[*commitlog.CorruptError](err); !ok {
				t.Fatalf("%s: %v", what, err)
			}
			refused++
			continue
		}
		seen := false
		for lsn := range want {
			b, err := l.Read(lsn)
			if errors.Is(err, commitlog.ErrCorrupt) || errors.Is(err, record.ErrShort) {
				seen = true
			} else if err := want.compare(lsn, b, err); err != nil {
				t.Fatalf("%s: record %d: %v", what, lsn, err)
			}
		}
		if seen {
			met++
		}
		mustClose(t, l)
	}
	t.Logf("%d refused at start, %d met by reads", refused, met)
	if refused < 50 || met < 50 || refused+met < 900 {
		t.Errorf("%d refused at start, %d met by reads, of 1000", refused, met)
	}
}

// names tells whether a report has a fault of the file that holds the byte.
func names(r *commitlog.Report, path string, at int64) bool {
	for _, s := range r.Segments {
		for _, f := range s.Faults {
			if strings.HasSuffix(path, s.Name) && (f.Foreign || f.From <= at && at < f.To) {
				return true
			}
		}
	}
	return false
}

// TestLogBehindCheckpoint takes away the end of a log, as whole segments or in
// the last one: a start is refused, and when the loss is accepted the log goes
// on behind what the checkpoint has seen.
func TestLogBehindCheckpoint(t *testing.T) {
	for name, cut := range map[string]func(t *testing.T, fs *vfs.MemFS, last string){
		"newest segment missing": func(t *testing.T, fs *vfs.MemFS, last string) {
			if err := fs.Remove(last); err != nil {
				t.Fatal(err)
			}
		},
		"newest segment cut": func(t *testing.T, fs *vfs.MemFS, last string) {
			writeFile(t, fs, last, readFile(t, fs, last)[:600])
		},
		"newest segment empty": func(t *testing.T, fs *vfs.MemFS, last string) {
			writeFile(t, fs, last, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs, want, all := mixed(t)
			cfg := config(fs)
			cfg.From = all[len(all)-1].Last
			paths := segments(t, fs)
			cut(t, fs, paths[len(paths)-2])
			if l, _, err := openAll(cfg); !errors.Is(err, commitlog.ErrBehind) {
				t.Fatalf("Open: got %v, %v, want ErrBehind", l, err)
			}
			r := mustVerify(t, cfg)
			if r.Faults() != 1 || r.Next != cfg.From+1 {
				t.Fatalf("%d faults, next %d", r.Faults(), r.Next)
			}
			before := len(want)
			if err := accept(cfg, r, want); err != nil {
				t.Fatal(err)
			}
			if len(want) == before {
				t.Fatal("nothing is named as lost")
			}
			if r := mustVerify(t, cfg); r.Faults() != 0 {
				t.Fatalf("accepted, then %+v", r.Segments)
			}
			l, _ := mustOpen(t, cfg)
			if l.NextLSN() != cfg.From+1 {
				t.Errorf("the next record is %d, want %d", l.NextLSN(), cfg.From+1)
			}
			want.add(fill(t, l, 5)...)
			if err := want.check(l); err != nil {
				t.Error(err)
			}
			mustClose(t, l)
		})
	}
}
