package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/metadata"
)

func testGetPutDelete(t *testing.T, s metadata.Store) {
	_, err := s.Get(t.Context(), "/a")
	wantError(t, "get of a missing key", err, metadata.ErrNotFound)
	r1 := put(t, s, "/a", "one")
	r2 := put(t, s, "/a", "two")
	if r2 <= r1 {
		t.Errorf("revision after second put: got %d, want more than %d", r2, r1)
	}
	kv, err := s.Get(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "get", kv, metadata.KV{Key: "/a", Value: []byte("two"), ModRevision: r2})
	txn(t, s, metadata.Op{Key: "/a"})
	_, err = s.Get(t.Context(), "/a")
	wantError(t, "get of a deleted key", err, metadata.ErrNotFound)
}

func testEmptyValue(t *testing.T, s metadata.Store) {
	w := watch(t, s, "/", 1)
	rev := txn(t, s, metadata.Op{Key: "/empty", Value: []byte{}})
	kv, err := s.Get(t.Context(), "/empty")
	if err != nil || kv.Value == nil {
		t.Fatalf("get of an empty value: got %v, %v, want an empty value that is not nil", kv, err)
	}
	events := w.until(t, rev)
	if len(events) != 1 || events[0].Value == nil {
		t.Errorf("watch: got %v, want one put with a value that is not nil", events)
	}
}

func testCompare(t *testing.T, s metadata.Store) {
	rev := put(t, s, "/a", "one")
	tests := []struct {
		name     string
		compares []metadata.Compare
		want     bool
	}{
		{"present at its revision", []metadata.Compare{{Key: "/a", Revision: rev}}, true},
		{"present at another revision", []metadata.Compare{{Key: "/a", Revision: rev - 1}}, false},
		{"present but to be missing", []metadata.Compare{{Key: "/a"}}, false},
		{"missing as it has to be", []metadata.Compare{{Key: "/b"}}, true},
		{"missing but to be present", []metadata.Compare{{Key: "/b", Revision: rev}}, false},
		{"one of two fails", []metadata.Compare{{Key: "/a", Revision: rev}, {Key: "/b", Revision: 7}}, false},
	}
	for i, tt := range tests {
		key := fmt.Sprintf("/out/%d", i)
		applied, now, err := s.Txn(t.Context(), tt.compares, []metadata.Op{{Key: key, Value: []byte("x")}})
		if err != nil || applied != tt.want {
			t.Errorf("%s: got applied=%v, %v, want %v, nil", tt.name, applied, err, tt.want)
		}
		if now < rev {
			t.Errorf("%s: got revision %d, want at least %d", tt.name, now, rev)
		}
		_, err = s.Get(t.Context(), key)
		if exists := !errors.Is(err, metadata.ErrNotFound); exists != tt.want {
			t.Errorf("%s: written: got %v, want %v", tt.name, exists, tt.want)
		}
	}
}

func testTxnRevision(t *testing.T, s metadata.Store) {
	put(t, s, "/gone", "x")
	rev := txn(t, s, metadata.Op{Key: "/a", Value: []byte("1")},
		metadata.Op{Key: "/b", Value: []byte("2")}, metadata.Op{Key: "/gone"})
	for _, key := range []string{"/a", "/b"} {
		if kv, err := s.Get(t.Context(), key); err != nil || kv.ModRevision != rev {
			t.Errorf("get %s: got revision %d, %v, want %d", key, kv.ModRevision, err, rev)
		}
	}
	if next := put(t, s, "/c", "3"); next != rev+1 {
		t.Errorf("next revision: got %d, want %d", next, rev+1)
	}
}

func testTxnNoEffect(t *testing.T, s metadata.Store) {
	rev := put(t, s, "/a", "1")
	if got := txn(t, s, metadata.Op{Key: "/none"}); got != rev {
		t.Errorf("revision after a delete of nothing: got %d, want %d", got, rev)
	}
	if got := txn(t, s); got != rev {
		t.Errorf("revision after an empty transaction: got %d, want %d", got, rev)
	}
}

func testTxnDuplicate(t *testing.T, s metadata.Store) {
	put(t, s, "/a", "1")
	for _, ops := range [][]metadata.Op{
		{{Key: "/a", Value: []byte("1")}, {Key: "/a", Value: []byte("2")}},
		{{Key: "/a", Value: []byte("1")}, {Key: "/a"}},
		{{Key: "/a", Prefix: true}, {Key: "/a/b", Value: []byte("2")}},
	} {
		_, _, err := s.Txn(t.Context(), nil, ops)
		wantError(t, fmt.Sprint(ops), err, metadata.ErrInvalid)
	}
	if kv, err := s.Get(t.Context(), "/a"); err != nil || string(kv.Value) != "1" {
		t.Errorf("get after refused transactions: got %q, %v, want \"1\"", kv.Value, err)
	}
}

func testTxnMax(t *testing.T, s metadata.Store) {
	ops := make([]metadata.Op, metadata.MaxTxnOps)
	compares := make([]metadata.Compare, metadata.MaxTxnOps)
	for i := range ops {
		ops[i] = metadata.Op{Key: name(i), Value: []byte("x")}
		compares[i] = metadata.Compare{Key: name(i)}
	}
	if applied, _, err := s.Txn(t.Context(), compares, ops); err != nil || !applied {
		t.Fatalf("txn of %d ops: got %v, %v, want true, nil", len(ops), applied, err)
	}
	more := slices.Concat(ops, []metadata.Op{{Key: "/more", Value: []byte("x")}})
	_, _, err := s.Txn(t.Context(), nil, more)
	wantError(t, "one op more", err, metadata.ErrInvalid)
}

func testDeletePrefix(t *testing.T, s metadata.Store) {
	for _, key := range []string{"/p/a", "/p/b", "/p", "/q/a", "/pz"} {
		put(t, s, key, "x")
	}
	w := watch(t, s, "/", 1)
	rev := txn(t, s, metadata.Op{Key: "/p/", Prefix: true})
	diff(t, "keys left", keys(t, s, "/", 10, 0), []string{"/p", "/pz", "/q/a"})
	var gone []string
	for _, e := range w.until(t, rev) {
		if e.Revision == rev && e.Value == nil {
			gone = append(gone, e.Key)
		}
	}
	diff(t, "deletes seen", gone, []string{"/p/a", "/p/b"})
}

// testConcurrent counts with compare-and-write from several sides.
func testConcurrent(t *testing.T, s metadata.Store) {
	const writers, each = 4, 10
	put(t, s, "/n", "")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				kv, err := s.Get(t.Context(), "/n")
				if err != nil {
					t.Error(err)
					return
				}
				applied, _, err := s.Txn(t.Context(),
					[]metadata.Compare{{Key: "/n", Revision: kv.ModRevision}},
					[]metadata.Op{{Key: "/n", Value: append(kv.Value, 'x')}})
				if err != nil {
					t.Error(err)
					return
				}
				if applied {
					done++
				}
			}
		})
	}
	wg.Wait()
	if kv, err := s.Get(t.Context(), "/n"); err != nil || len(kv.Value) != writers*each {
		t.Errorf("length: got %d, %v, want %d", len(kv.Value), err, writers*each)
	}
}

func testCopies(t *testing.T, s metadata.Store) {
	value := []byte("stay")
	txn(t, s, metadata.Op{Key: "/a", Value: value})
	value[0] = 'X'
	kv, err := s.Get(t.Context(), "/a")
	if err != nil {
		t.Fatal(err)
	}
	kv.Value[1] = 'X'
	if again, err := s.Get(t.Context(), "/a"); err != nil || string(again.Value) != "stay" {
		t.Errorf("get: got %q, %v, want \"stay\"", again.Value, err)
	}
}

func testClosed(t *testing.T, s metadata.Store) {
	w := watch(t, s, "/", 1)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "running watch", w.end(t), metadata.ErrClosed)
	_, err := s.Get(t.Context(), "/a")
	wantError(t, "get", err, metadata.ErrClosed)
	_, _, err = s.Range(t.Context(), "/", "", 1, 0)
	wantError(t, "range", err, metadata.ErrClosed)
	_, _, err = s.Txn(t.Context(), nil, nil)
	wantError(t, "txn", err, metadata.ErrClosed)
	err = s.Watch(t.Context(), "/", 0, func(metadata.Revision, []metadata.Event) {})
	wantError(t, "watch", err, metadata.ErrClosed)
}
