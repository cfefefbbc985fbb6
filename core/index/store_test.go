package index_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// stores are the implementations; crash ends a store without closing it and
// opens it again on what was durable.
var stores = map[string]func(t *testing.T) (s index.Store, crash func() index.Store){
	"map": func(*testing.T) (index.Store, func() index.Store) {
		m := index.NewMap()
		return m, func() index.Store {
			m = m.Crash()
			return m
		}
	},
	"pebble": func(t *testing.T) (index.Store, func() index.Store) {
		fs := vfs.NewCrashableMem()
		open := func() *index.Pebble {
			p, err := index.OpenPebble(fs, "index", slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		p := open()
		t.Cleanup(func() { _ = p.Close() })
		return p, func() index.Store {
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			fs, p = after, nil
			p = open()
			return p
		}
	},
}

func content(t *testing.T, s index.Store, prefix string) map[string]string {
	t.Helper()
	got := map[string]string{}
	last := ""
	if err := s.Scan([]byte(prefix), func(k, v []byte) error {
		if string(k) <= last {
			t.Errorf("key %q after %q", k, last)
		}
		last = string(k)
		got[last] = string(v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestStore(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s, crash := open(t)
			commit := func(fill func(b *index.Batch)) {
				t.Helper()
				var b index.Batch
				fill(&b)
				if err := s.Commit(&b); err != nil {
					t.Fatal(err)
				}
			}
			want := map[string]string{}
			commit(func(b *index.Batch) {
				for i := range 300 {
					k := "k" + strconv.Itoa(i)
					b.Set([]byte(k), []byte("v"+k))
					want[k] = "v" + k
				}
				b.Delete([]byte("k7"))
				delete(want, "k7")
			})
			if diff := cmp.Diff(want, content(t, s, "k")); diff != "" {
				t.Fatal(diff)
			}
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			commit(func(b *index.Batch) { b.DeletePrefix([]byte("k1")); b.Set([]byte("z"), nil) })
			if got := content(t, s, "k1"); len(got) != 0 {
				t.Errorf("%d keys left under a prefix", len(got))
			}
			if _, err := s.Get([]byte("k1")); !errors.Is(err, index.ErrNotFound) {
				t.Errorf("got %v, want ErrNotFound", err)
			}
			s = crash() // without a flush: the state after some committed batch
			if got := content(t, s, "k"); len(got) != len(want) && len(got) != len(want)-111 {
				t.Errorf("%d keys after a crash: no batch ends there", len(got))
			}
			commit(func(b *index.Batch) { b.DeleteRange([]byte("k2"), []byte("k5")); b.Set([]byte("k3"), []byte("x")) })
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			s = crash()
			if diff := cmp.Diff(map[string]string{"k3": "x"}, content(t, s, "k3")); diff != "" {
				t.Error(diff)
			}
			if v, err := s.Get([]byte("k3")); err != nil || string(v) != "x" {
				t.Errorf("got %q %v", v, err)
			}
		})
	}
}

func TestStateCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := index.Cursor{
			Marked: record.Offset(rapid.Uint32().Draw(t, "marked")), Floor: record.Offset(rapid.Uint32().Draw(t, "floor")),
		}
		at := in.Floor
		for range rapid.IntRange(0, 5).Draw(t, "ranges") {
			first := at + record.Offset(rapid.IntRange(1, 1000).Draw(t, "gap"))
			at = first + record.Offset(rapid.IntRange(1, 1000).Draw(t, "length"))
			in.Ranges = append(in.Ranges, record.Range{First: first, End: at})
		}
		var out index.Cursor
		raw := index.AppendCursor(nil, &in)
		if err := index.DecodeCursor(raw, &out); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Fatal(diff)
		}
		if err := index.DecodeCursor(raw[:len(raw)-1], &out); !errors.Is(err, record.ErrCorrupt) {
			t.Fatalf("cut short: got %v, want ErrCorrupt", err)
		}
	})
	in := index.Stream{
		Stream: record.Stream{ID: 9, Filter: true, Namespace: "/", Name: "a/#"}, Since: 4, Low: 5, End: 6,
	}
	var out index.Stream
	if err := index.DecodeStream(index.AppendStream(nil, &in), &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Error(diff)
	}
}

// TestSnapshots checks that a snapshot stays as the store was.
func TestSnapshots(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			s, _ := open(t)
			var b index.Batch
			for i := range 300 {
				b.Set([]byte("k"+strconv.Itoa(i)), []byte("old"))
			}
			if err := s.Commit(&b); err != nil {
				t.Fatal(err)
			}
			before, snap := content(t, s, "k"), s.Snapshot()
			b.Reset()
			b.DeletePrefix([]byte("k1"))
			b.Set([]byte("k2"), []byte("new"))
			if err := errors.Join(s.Commit(&b), s.Flush()); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			if err := snap.Scan([]byte("k"), func(k, v []byte) error {
				got[string(k)] = string(v)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, got); diff != "" {
				t.Errorf("snapshot (-want +got):\n%s", diff)
			}
			if v, err := snap.Get([]byte("k2")); err != nil || string(v) != "old" {
				t.Errorf("Get: %q, %v", v, err)
			}
			if _, err := snap.Get([]byte("nothing")); !errors.Is(err, index.ErrNotFound) {
				t.Errorf("Get of nothing: %v", err)
			}
			if err := snap.Close(); err != nil {
				t.Error(err)
			}
			if v, err := s.Get([]byte("k2")); err != nil || string(v) != "new" {
				t.Errorf("Get from the store: %q, %v", v, err)
			}
		})
	}
}

// TestKindsOfKeysAreApart asks that no kind of key begins like another one, so
// that deleting a range of one never takes keys of another.
func TestKindsOfKeysAreApart(t *testing.T) {
	all := append([][]byte{index.AppliedKey, index.FormatKey, index.SizedKey}, index.AllPrefixes...)
	for i, a := range all {
		for _, b := range all[i+1:] {
			if bytes.HasPrefix(a, b) || bytes.HasPrefix(b, a) {
				t.Errorf("keys that begin with %q and with %q are of two kinds", a, b)
			}
		}
	}
	for _, key := range [][]byte{
		index.KeptKey(1), index.GroupKey(1, 2), index.PartsKey(1), index.ChunkInfoKey(1, 2), index.DueKey(1, 2),
		index.LastKey(1, "k"), index.TombstoneKey(1, 2), index.ControlKey(1), index.StreamKey(1),
		index.SizesKey(1, 2), index.TransientSizesKey(1, 2),
	} {
		if !slices.ContainsFunc(index.AllPrefixes, func(p []byte) bool { return bytes.HasPrefix(key, p) }) {
			t.Errorf("key %q begins with none of the prefixes", key)
		}
	}
}
