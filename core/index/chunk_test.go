package index_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/index"
)

// TestChunkInfo writes and reads what is known of chunks, and what has a byte too few.
func TestChunkInfo(t *testing.T) {
	plain := index.Chunk{Bytes: 70000, Garbage: 300, Time: 1700000000000}
	marked := plain
	marked.Superseded.Set(7)
	marked.Gone.Set(255)
	back, both := plain, marked
	back.Back, both.Back = 1<<40, 1
	for name, want := range map[string]index.Chunk{"plain": plain, "marked": marked, "back": back, "both": both} {
		v := index.AppendChunkInfo(nil, &want)
		var got index.Chunk
		if err := index.DecodeChunkInfo(v, &got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-written +read):\n%s", name, diff)
		}
		if err := index.DecodeChunkInfo(append(v, 0), &got); err == nil {
			t.Errorf("%s: a zero behind the value was taken", name)
		}
	}
}
