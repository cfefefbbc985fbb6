package index_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

func TestDeadlineRoundTrip(t *testing.T) {
	for _, want := range []index.Deadline{
		{At: 1, Count: 1},
		{At: 1_700_000_000_000, Stream: 1 << 62, First: 1 << 50, Count: 70_000},
	} {
		k, v := index.DeadlineKey(&want), index.AppendDeadline(nil, &want)
		var got index.Deadline
		if err := index.DecodeDeadline(k, v, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("deadline (-want +got):\n%s", diff)
		}
		if !bytes.HasPrefix(k, index.DeadlinesKey(want.Bucket())) || bytes.HasPrefix(k, index.DeadlinesKey(want.Bucket()+1)) {
			t.Errorf("key %x is not in bucket %d alone", k, want.Bucket())
		}
		if start := index.BucketStart(want.Bucket()); start > want.At || index.DeadlineBucket(start) != want.Bucket() {
			t.Errorf("bucket %d begins at %d, and has %d", want.Bucket(), start, want.At)
		}
		for n := range k {
			if err := index.DecodeDeadline(k[:n], v, &got); !errors.Is(err, record.ErrCorrupt) {
				t.Errorf("key of %d bytes: got %v, want ErrCorrupt", n, err)
			}
		}
		for _, bad := range [][]byte{nil, {0}, append(bytes.Clone(v), 0)} {
			if err := index.DecodeDeadline(k, bad, &got); !errors.Is(err, record.ErrCorrupt) {
				t.Errorf("value %x: got %v, want ErrCorrupt", bad, err)
			}
		}
	}
	early, late := index.Deadline{At: 255, Stream: 9, Count: 1}, index.Deadline{At: 256, Count: 1}
	if bytes.Compare(index.DeadlineKey(&early), index.DeadlineKey(&late)) >= 0 {
		t.Error("keys do not sort by time")
	}
}
