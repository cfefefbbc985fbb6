package metadata_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

const copyPath = "data/meta/catalog"

func keepIn(fs vfs.FS) func(*metadata.CatalogConfig) {
	return func(c *metadata.CatalogConfig) { c.FS, c.Path = fs, copyPath }
}

// awayStore is a store that can't be reached.
func awayStore() *memory.Store {
	s := memory.New()
	s.SetAway(true)
	return s
}

// saved makes a catalog with a queue and a binding, closes it and returns the
// store.
func saved(t *testing.T, fs vfs.FS) *memory.Store {
	t.Helper()
	store := memory.New()
	c := open(t, store, keepIn(fs))
	declare(t, c, "namespace", "exchange e", "queue q", "bind e q k")
	if err := c.PutUser(t.Context(), metadata.User{Name: "u", Hash: "h"}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStartFromCopy(t *testing.T) {
	fs := vfs.NewMem()
	store := saved(t, fs)
	declare(t, open(t, store), "queue later")
	store.SetAway(true)

	c := open(t, store, keepIn(fs))
	l := listen(c)
	wantLines(t, "first words", l.take(), "put namespace n", "put exchange n:e", "put queue n:q", "put binding n:e>q k")
	if q, ok := c.Queue("n", "q"); !ok || q.Stream != 7 {
		t.Errorf("queue: got %+v, %v, want the one of stream 7", q, ok)
	}
	if u, ok := c.User("u"); !ok || string(u.Hash) != "h" {
		t.Errorf("user: got %v, want the one that was saved", ok)
	}
	_, _, err := c.CreateQueue(t.Context(), metadata.Queue{Namespace: "n", Name: "new"})
	wantError(t, "create", err, metadata.ErrUnavailable)
	store.SetAway(false)
	settle(t, c, true)
	wantLines(t, "caught up", l.take(), "put queue n:later")
	declare(t, c, "queue new")
}

func TestNoCopyAndAway(t *testing.T) {
	_, err := tryOpen(t, awayStore(), keepIn(vfs.NewMem()))
	wantError(t, "open with no copy", err, metadata.ErrUnavailable)
	_, err = tryOpen(t, awayStore())
	wantError(t, "open with no path", err, metadata.ErrUnavailable)
	fs := vfs.NewMem()
	saved(t, fs)
	_, err = tryOpen(t, awayStore(), keepIn(fs), func(c *metadata.CatalogConfig) { c.Cluster = "another" })
	wantError(t, "open with the copy of another cluster", err, metadata.ErrUnavailable)
}

// TestEmptyStoreLeavesTheCopy opens an empty store beside the copy of another, as one
// whose data was lost: the copy is the last that is left.
func TestEmptyStoreLeavesTheCopy(t *testing.T) {
	fs := vfs.NewMem()
	saved(t, fs)
	good := read(t, fs)
	store := memory.New()
	c := open(t, store, keepIn(fs))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, fs); string(got) != string(good) {
		t.Errorf("the copy is %s, want it as it was: %s", got, good)
	}
	c = open(t, store, keepIn(fs))
	declare(t, c, "namespace")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, fs); string(got) == string(good) {
		t.Error("the copy is not of the store that has begun anew")
	}
}

// TestCorruptCopy damages the copy in every byte and cuts it everywhere: no
// such copy is served, and with the store at hand it does not matter.
func TestCorruptCopy(t *testing.T) {
	fs := vfs.NewMem()
	store := saved(t, fs)
	good := read(t, fs)
	away := awayStore()
	for i := range good {
		flipped := append([]byte{}, good...)
		flipped[i] ^= 0x10
		for what, bad := range map[string][]byte{"flipped": flipped, "cut": good[:i]} {
			write(t, fs, bad)
			if c, err := tryOpen(t, away, keepIn(fs)); err == nil {
				t.Fatalf("copy %s at byte %d of %d: got a catalog of %d queues, want an error",
					what, i, len(good), len(c.Queues("n")))
			}
		}
	}
	c := open(t, store, keepIn(fs))
	if _, ok := c.Queue("n", "q"); !ok {
		t.Error("queue with a corrupt copy and a store: got none, want one")
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, away, keepIn(fs)); err != nil {
		t.Errorf("open after the copy was written anew: got %v, want nil", err)
	}
}

// TestCopyHeadIsExact writes the numbers of the head in other ways that a lenient
// reader takes for the same, as damage can.
func TestCopyHeadIsExact(t *testing.T) {
	fs := vfs.NewMem()
	saved(t, fs)
	head, body, _ := strings.Cut(string(read(t, fs)), "\n")
	at := strings.LastIndexByte(head, ' ')
	for _, bad := range []string{
		head[:at] + " 0" + head[at+1:], head[:at] + " +" + head[at+1:], head[:at] + " " + head[at:], head + " ", head + "\r",
		strings.Replace(head, " 1 ", " 01 ", 1),
	} {
		write(t, fs, []byte(bad+"\n"+body))
		if _, err := tryOpen(t, awayStore(), keepIn(fs)); err == nil {
			t.Errorf("copy with the head %q: got a catalog, want an error", bad)
		}
	}
	write(t, fs, []byte(head+"\n"+body))
	if _, err := tryOpen(t, awayStore(), keepIn(fs)); err != nil {
		t.Errorf("copy as it was written: got %v, want nil", err)
	}
}

// TestCopySurvivesPowerCut takes an image of what is synced at many moments.
// The copy in each is whole, and what Close saved is there.
func TestCopySurvivesPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	saved(t, fs)
	store := memory.New()
	c := open(t, store, keepIn(fs))
	declare(t, c, "namespace")
	for i := range 50 {
		declare(t, c, fmt.Sprintf("queue q%d", i))
		image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
		if _, err := tryOpen(t, awayStore(), keepIn(image)); err != nil {
			t.Fatalf("open after a power cut: %v", err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	image := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
	if got := len(open(t, awayStore(), keepIn(image)).Queues("n")); got != 50 {
		t.Errorf("queues in the copy after close and power cut: got %d, want 50", got)
	}
}

func read(t *testing.T, fs vfs.FS) []byte {
	t.Helper()
	f, err := fs.Open(copyPath)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func write(t *testing.T, fs vfs.FS, text []byte) {
	t.Helper()
	f, err := fs.Create(copyPath, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(text); err != nil {
		t.Fatal(err)
	}
}
