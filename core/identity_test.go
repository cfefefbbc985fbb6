package core_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

var update = flag.Bool("update", false, "write the golden files of the present version")

const identityPath = "data/IDENTITY"

// overwrite gives a file another content; none removes it.
func (w *world) overwrite(path, content string) {
	w.t.Helper()
	if content == "" {
		w.must(w.fs.Remove(path))
		return
	}
	f, err := w.fs.Create(path, vfs.WriteCategoryUnspecified)
	w.must(err)
	_, err = f.Write([]byte(content))
	w.must(errors.Join(err, f.Sync(), f.Close()))
}

func (w *world) content(path string) string {
	w.t.Helper()
	f, err := w.fs.Open(path)
	w.must(err)
	p, err := io.ReadAll(f)
	w.must(errors.Join(err, f.Close()))
	return string(p)
}

// refusal is what a start says that must not come about.
func (w *world) refusal() error {
	w.t.Helper()
	deps := core.Deps{
		Dir: "data", FS: w.fs, Clock: clock.System, Rand: rand.Reader, Catalog: w.cat, Log: slog.New(slog.DiscardHandler),
	}
	b, err := core.Open(w.t.Context(), core.DefaultConfig(), deps)
	if err == nil {
		w.must(b.Close())
		w.t.Fatal("started")
	}
	return err
}

// summed ends an identity by its checksum.
func summed(body string) string {
	sum := crc32.Checksum([]byte(body), crc32.MakeTable(crc32.Castagnoli))
	return fmt.Sprintf(`%s,"crc":"%08x"}`, body, sum)
}

// unsummed is an identity as it was before there were checksums.
func unsummed(is string) string {
	body, _, _ := strings.Cut(is, `,"crc"`)
	return body + "}"
}

// replaced has an identity say something else, with the checksum of that.
func replaced(what, by string) func(was string) string {
	return func(was string) string {
		body, _, _ := strings.Cut(was, `,"crc"`)
		return summed(strings.Replace(body, what, by, 1))
	}
}

// TestGoldenIdentity reads an identity of every version, and writes that of the
// present one byte for byte.
func TestGoldenIdentity(t *testing.T) {
	golden := "testdata/v1/IDENTITY"
	fs := vfs.NewMem()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := record.Identity{Cluster: [16]byte{0xab, 15: 0xcd}, Shard: 2}
	for i := range 3 {
		dir := fmt.Sprintf("data/shard-%d", i)
		must(fs.MkdirAll(dir, 0o700))
		h := segment.Header{Identity: record.Identity{Cluster: want.Cluster, Shard: uint32(i)}, Base: 1}
		s, err := segment.Create(fs, dir+"/00000000000000000001.seg", h)
		must(err)
		must(s.Close())
	}
	found, err := core.FindIdentity(fs, "data")
	must(err)
	must(found.Restore(fs, "data"))
	w := &world{t: t, fs: fs}
	if *update {
		must(os.WriteFile(golden, []byte(w.content(identityPath)), 0o600))
	}
	content, err := os.ReadFile(golden)
	must(err)
	if got := w.content(identityPath); got != string(content) {
		t.Errorf("written %s, want %s", got, content)
	}
	w.overwrite(identityPath, string(content))
	all, err := core.ReadLayout(fs, "data")
	if err != nil || len(all) != 3 || all[2].Identity != want {
		t.Errorf("read: got %+v, %v, want 3 shards, the last %+v", all, err, want)
	}
	// That of the first brokers has no checksum.
	first, err := os.ReadFile("testdata/v1/IDENTITY.unchecked")
	must(err)
	w.overwrite(identityPath, string(first))
	all, err = core.ReadLayout(fs, "data")
	if err != nil || len(all) != 3 || all[2].Identity != want {
		t.Errorf("read without checksum: got %+v, %v, want 3 shards, the last %+v", all, err, want)
	}
	for bit := range 8 * len(first) {
		flipped := bytes.Clone(first)
		flipped[bit/8] ^= 1 << (bit % 8)
		w.overwrite(identityPath, string(flipped))
		if _, err := core.ReadLayout(fs, "data"); !errors.Is(err, record.ErrCorrupt) {
			t.Fatalf("without checksum, bit %d: %s: got %v, want ErrCorrupt", bit, flipped, err)
		}
	}
	// A flipped bit is never taken for another identity, nor for a later version.
	for bit := range 8 * len(content) {
		flipped := bytes.Clone(content)
		flipped[bit/8] ^= 1 << (bit % 8)
		w.overwrite(identityPath, string(flipped))
		if _, err := core.ReadLayout(fs, "data"); !errors.Is(err, record.ErrCorrupt) {
			t.Fatalf("bit %d: %s: got %v, want ErrCorrupt", bit, flipped, err)
		}
	}
	w.overwrite(identityPath, summed(`{"v":2,"cluster":"ab0000000000000000000000000000cd","shards":3`))
	if _, err := core.ReadLayout(fs, "data"); !errors.Is(err, record.ErrVersion) {
		t.Errorf("version 2: got %v, want ErrVersion", err)
	}
}

// TestIdentityWithoutChecksum starts over an identity of before there were checksums,
// with all that is in the logs, and writes it with one. A tool that only reads leaves it.
func TestIdentityWithoutChecksum(t *testing.T) {
	w := newWorldWith(t, 2, calm)
	w.queue("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "a"))
	p.confirmed()
	w.must(w.Close())
	was := w.content(identityPath)
	w.overwrite(identityPath, unsummed(was))
	if all, err := core.ReadLayout(w.fs, "data"); err != nil || len(all) != 2 {
		t.Errorf("ReadLayout: got %+v, %v, want 2 shards", all, err)
	}
	if got := w.content(identityPath); got != unsummed(was) {
		t.Errorf("ReadLayout wrote %s", got)
	}
	w.must(w.cat.Close())
	w.open()
	if got := w.content(identityPath); got != was {
		t.Errorf("after the start: %s, want %s", got, was)
	}
	c, wake := w.consume("q")
	want(t, w.take(c, wake, 1), "a")
}

// TestUncheckedIdentityOfNoSegment has no header of a segment tell whose the log is: an
// identity without checksum, right or wrong, gets none before the log is refused.
func TestUncheckedIdentityOfNoSegment(t *testing.T) {
	w := newWorldWith(t, 1, calm)
	w.queue("q")
	p := w.publisher(nil)
	p.send(amqp("", "q", "a"))
	p.confirmed()
	w.close()
	names, err := w.fs.List("data/shard-0")
	w.must(err)
	for _, name := range names {
		if strings.HasSuffix(name, ".seg") {
			raw := []byte(w.content("data/shard-0/" + name))
			raw[9] ^= 1
			w.overwrite("data/shard-0/"+name, string(raw))
		}
	}
	was := unsummed(w.content(identityPath))
	_, rest, _ := strings.Cut(was, `"cluster":"`)
	w.openCatalog()
	for _, id := range []string{was, strings.Replace(was, rest[:32], strings.Repeat("ab", 16), 1)} {
		w.overwrite(identityPath, id)
		if err := w.refusal(); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("start: got %v, want ErrCorrupt", err)
		}
		if got := w.content(identityPath); got != id {
			t.Errorf("the refused start wrote %s in place of %s", got, id)
		}
	}
}

// TestLostIdentity takes the identity away beside a log, or has it tell of another:
// nothing is put in its place until it is asked for, and then it is as it was.
func TestLostIdentity(t *testing.T) {
	for name, garble := range map[string]func(was string) string{
		"missing":          func(string) string { return "" },
		"garbled":          func(was string) string { return strings.Replace(was, "}", "]", 1) },
		"a wrong digit":    func(was string) string { return strings.Replace(was, `"cluster":"`, `"cluster":"`+"\x00", 1) },
		"another cluster":  func(string) string { return summed(`{"v":1,"cluster":"00000000000000000000000000000001","shards":2`) },
		"too few shards":   replaced(`"shards":2`, `"shards":1`),
		"too many to have": replaced(`"shards":2`, `"shards":2222222`),
		"no shards":        replaced(`"shards":2`, `"shards":0`),
		"bit of shards":    func(was string) string { return strings.Replace(was, `"shards":2`, `"shards":6`, 1) },
		"bit of version":   func(was string) string { return strings.Replace(was, `"v":1`, `"v":3`, 1) },
		"bit of checksum":  func(was string) string { return was[:len(was)-3] + string(was[len(was)-3]^1) + was[len(was)-2:] },
		"cut":              func(was string) string { return was[:len(was)-1] },
		"cut short":        func(string) string { return "{" },
		"checksum cut off": func(was string) string { body, _, _ := strings.Cut(was, `,"crc"`); return body },
		"without checksum and more shards than directories": func(was string) string {
			return strings.Replace(unsummed(was), `"shards":2`, `"shards":3`, 1)
		},
		"without checksum and fewer shards": func(was string) string {
			return strings.Replace(unsummed(was), `"shards":2`, `"shards":1`, 1)
		},
		"without checksum of another cluster": func(was string) string {
			return strings.Replace(unsummed(was), `"cluster":"`, `"cluster":"00`, 1)[:len(unsummed(was))-2] + "}"
		},
		"without checksum and with a space": func(was string) string { return unsummed(was) + " " },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, 2, calm)
			w.queue("q")
			p := w.publisher(nil)
			p.send(amqp("", "q", "a"))
			p.confirmed()
			w.must(w.Close())
			was := w.content(identityPath)
			now := garble(was)
			w.overwrite(identityPath, now)

			if err := w.refusal(); !errors.Is(err, record.ErrCorrupt) || !strings.Contains(err.Error(), "IDENTITY") {
				t.Errorf("start: got %v, want ErrCorrupt and the file named", err)
			}
			if _, err := w.fs.Stat(identityPath); (err == nil) != (now != "") {
				t.Errorf("IDENTITY after the start: %v", err)
			} else if err == nil && w.content(identityPath) != now {
				t.Errorf("IDENTITY after the start: %s, want %s", w.content(identityPath), now)
			}
			if _, err := core.ReadLayout(w.fs, "data"); !errors.Is(err, record.ErrCorrupt) {
				t.Errorf("ReadLayout: got %v, want ErrCorrupt", err)
			}
			found, err := core.FindIdentity(w.fs, "data")
			w.must(err)
			w.must(found.Restore(w.fs, "data"))
			if got := w.content(identityPath); got != was {
				t.Errorf("restored %s, want %s", got, was)
			}
			w.must(w.cat.Close())
			w.open()
			c, wake := w.consume("q")
			want(t, w.take(c, wake, 1), "a")
		})
	}
}

// TestMisplacedLogs exchanges the logs of two shards, with their indexes and without:
// the start is refused and says so, and goes once they are back.
func TestMisplacedLogs(t *testing.T) {
	for name, pairs := range map[string][]string{"logs": {"shard-"}, "logs and indexes": {"shard-", "index-"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, 2, calm)
			p := w.publisher(nil)
			for i := range 20 { // in both shards
				name := fmt.Sprintf("q%d", i)
				w.queue(name)
				p.send(amqp("", name, "a"))
				p.confirmed()
			}
			w.must(w.Close())
			exchange := func() {
				for _, prefix := range pairs {
					w.must(w.fs.Rename("data/"+prefix+"0", "data/x"))
					w.must(w.fs.Rename("data/"+prefix+"1", "data/"+prefix+"0"))
					w.must(w.fs.Rename("data/x", "data/"+prefix+"1"))
				}
			}
			exchange()
			err := w.refusal()
			misplaced, ok := errors.AsType[*core.MisplacedError](err)
			if !ok || !errors.Is(err, record.ErrCorrupt) || len(misplaced.Dirs) != 2 {
				t.Fatalf("start: got %v, want MisplacedError of two", err)
			}
			if got := misplaced.Dirs[0]; got.Shard != 0 || got.Holds != 1 {
				t.Errorf("got %+v, want shard 0 to hold shard 1", got)
			}
			if all, err := core.ReadLayout(w.fs, "data"); len(all) != 2 || !errors.As(err, &misplaced) {
				t.Errorf("ReadLayout: got %+v, %v", all, err)
			}
			exchange()
			w.must(w.cat.Close())
			w.open()
			for i := range 20 {
				c, wake := w.consume(fmt.Sprintf("q%d", i))
				want(t, w.take(c, wake, 1), "a")
			}
		})
	}
}

// TestMissingDirectory removes all that there is of a shard beside another: it is not
// taken for one that never had a record.
func TestMissingDirectory(t *testing.T) {
	w := newWorldWith(t, 2, calm)
	p := w.publisher(nil)
	for i := range 20 { // in both shards
		name := fmt.Sprintf("q%d", i)
		w.queue(name)
		p.send(amqp("", name, "a"))
		p.confirmed()
	}
	w.must(w.Close())
	w.must(w.fs.RemoveAll("data/shard-1"))
	w.must(w.fs.RemoveAll("data/index-1"))
	if err := w.refusal(); !errors.Is(err, record.ErrCorrupt) || !strings.Contains(err.Error(), "shard-1 is missing") {
		t.Errorf("start: got %v, want ErrCorrupt and the directory named", err)
	}
	w.must(w.cat.Close())
	w.must(w.fs.RemoveAll("data"))
	w.open()
}

// TestIdentityOfNobody has headers that do not agree, or that can't be read: there is
// no identity to restore.
func TestIdentityOfNobody(t *testing.T) {
	for name, header := range map[string]func(h segment.Header) *segment.Header{
		"another cluster": func(h segment.Header) *segment.Header { h.Identity.Cluster[3] ^= 1; return &h },
		"another shard":   func(h segment.Header) *segment.Header { h.Identity.Shard++; return &h },
		"none":            func(segment.Header) *segment.Header { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorldWith(t, 2, calm)
			w.must(w.Close())
			paths := []string{}
			for _, dir := range []string{"data/shard-0", "data/shard-1"} {
				names, err := w.fs.List(dir)
				w.must(err)
				for _, name := range names {
					if strings.HasSuffix(name, ".seg") {
						paths = append(paths, dir+"/"+name)
					}
				}
			}
			w.must(w.fs.Remove(identityPath))
			var h segment.Header
			if len(paths) == 0 {
				h = segment.Header{Identity: record.Identity{Cluster: [16]byte{1}}, Base: 1}
				s, err := segment.Create(w.fs, "data/shard-0/00000000000000000001.seg", h)
				w.must(err)
				w.must(s.Close())
				paths = append(paths, "data/shard-0/00000000000000000001.seg")
			}
			h, err := segment.ReadHeader(w.fs, paths[0])
			w.must(err)
			if other := header(h); other != nil {
				other.Base = 1000
				s, err := segment.Create(w.fs, "data/shard-0/00000000000000001000.seg", *other)
				w.must(err)
				w.must(s.Close())
			} else {
				for _, path := range paths {
					w.overwrite(path, "nothing of use")
				}
			}
			if found, err := core.FindIdentity(w.fs, "data"); !errors.Is(err, record.ErrCorrupt) {
				t.Errorf("got %+v, %v, want ErrCorrupt", found, err)
			}
			w.must(w.cat.Close())
			w.must(w.fs.RemoveAll("data"))
			w.open()
		})
	}
}

// TestFoundIdentityCountsDirectories counts shards that have no record too.
func TestFoundIdentityCountsDirectories(t *testing.T) {
	fs := vfs.NewMem()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(fs.MkdirAll("data/shard-0", 0o700))
	must(fs.MkdirAll("data/shard-2", 0o700))
	id := record.Identity{Cluster: [16]byte{1}}
	s, err := segment.Create(fs, "data/shard-0/00000000000000000001.seg", segment.Header{Identity: id, Base: 1})
	must(err)
	must(s.Close())
	found, err := core.FindIdentity(fs, "data")
	must(err)
	if len(found.Shards) != 3 || found.Shards[0].Identity != id || found.Headers != 1 {
		t.Errorf("got %+v, want 3 shards of %x by 1 header", found, id.Cluster)
	}
	must(found.Restore(fs, "data"))
	all, err := core.ReadLayout(fs, "data")
	if err != nil || len(all) != 3 || all[2].Identity.Cluster != id.Cluster {
		t.Errorf("restored: %+v, %v", all, err)
	}
}
