package storetest

import (
	"fmt"
	"testing"

	"github.com/tidegate/tidegate/metadata"
)

// testRangePages reads in pages as of one revision while writes go on.
func testRangePages(t *testing.T, s metadata.Store) {
	var want []string
	var at metadata.Revision
	for i := range 25 {
		at = put(t, s, name(i), "x")
		want = append(want, name(i))
	}
	put(t, s, name(99), "x")
	txn(t, s, metadata.Op{Key: name(7)})
	for _, page := range []int{1, 5, 7, 25, 26, 100} {
		diff(t, fmt.Sprintf("pages of %d", page), keys(t, s, "/k/", page, at), want)
	}
	if kvs, rev, err := s.Range(t.Context(), "/k/", "", 1, 0); err != nil || rev < at || len(kvs) != 1 {
		t.Errorf("first page: got %d keys at revision %d, %v, want 1 at %d or later", len(kvs), rev, err, at)
	}
}

func testRangeBorders(t *testing.T, s metadata.Store) {
	for _, key := range []string{"/a", "/a/", "/a/1", "/a/1/x", "/a/2", "/a0", "/b"} {
		put(t, s, key, "x")
	}
	tests := []struct {
		prefix, after string
		want          []string
	}{
		{"/a/", "", []string{"/a/", "/a/1", "/a/1/x", "/a/2"}},
		{"/a/", "/a/", []string{"/a/1", "/a/1/x", "/a/2"}},
		{"/a/", "/a/1", []string{"/a/1/x", "/a/2"}},
		{"/a/", "/a/15", []string{"/a/2"}},
		{"/a/", "/a/2", nil},
		{"/a/", "/zzz", nil},
		{"/a/", "/", []string{"/a/", "/a/1", "/a/1/x", "/a/2"}},
		{"/none", "", nil},
		{"", "/a/2", []string{"/a0", "/b"}},
	}
	for _, tt := range tests {
		kvs, rev, err := s.Range(t.Context(), tt.prefix, tt.after, 100, 0)
		if err != nil || rev == 0 {
			t.Errorf("range %q after %q: got revision %d, %v", tt.prefix, tt.after, rev, err)
		}
		var got []string
		for _, kv := range kvs {
			got = append(got, kv.Key)
		}
		diff(t, fmt.Sprintf("range %q after %q", tt.prefix, tt.after), got, tt.want)
	}
}

func testRangeInvalid(t *testing.T, s metadata.Store) {
	rev := put(t, s, "/a", "x")
	_, _, err := s.Range(t.Context(), "/", "", 0, 0)
	wantError(t, "limit 0", err, metadata.ErrInvalid)
	_, _, err = s.Range(t.Context(), "/", "", 1, -1)
	wantError(t, "negative revision", err, metadata.ErrInvalid)
	_, _, err = s.Range(t.Context(), "/", "", 1, rev+1000)
	wantError(t, "revision in the future", err, metadata.ErrInvalid)
}
