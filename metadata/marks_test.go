package metadata_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/metadata"
	"github.com/tidegate/tidegate/metadata/memory"
)

// TestMarks publishes marks, more than go into one transaction, and over older ones; no
// other cluster sees them, and what is no mark is refused.
func TestMarks(t *testing.T) {
	store := &countStore{Store: memory.New(), t: t}
	c := open(t, store)
	var want []metadata.Mark
	for i := range uint32(200) {
		want = append(want, metadata.Mark{Shard: i, Incarnation: "abc", LSN: uint64(i)})
	}
	for range 2 {
		if err := c.PutMarks(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		got, err := c.Marks(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("marks (-want +got):\n%s", d)
		}
		for i := range want {
			want[i].LSN += 1 << 53
		}
	}
	key := metadata.MarksPrefix("a b") + "0000000a"
	value := []byte(`{"v":1,"shard":10,"incarnation":"abc","lsn":7}`)
	if got, err := metadata.DecodeMark("a b", key, value); err != nil || got != (metadata.Mark{Shard: 10, Incarnation: "abc", LSN: 7}) {
		t.Errorf("decode: got %+v, %v", got, err)
	}
	for _, bad := range []string{metadata.MarksPrefix("a b") + "0000000b", metadata.MarksPrefix("a") + "0000000a", key + "x"} {
		if _, err := metadata.DecodeMark("a b", bad, value); !errors.Is(err, metadata.ErrInvalid) {
			t.Errorf("%s: got %v, want ErrInvalid", bad, err)
		}
	}
	if _, err := metadata.DecodeMark("a b", key, []byte(`{"v":2}`)); !errors.Is(err, metadata.ErrVersion) {
		t.Errorf("version 2: got %v, want ErrVersion", err)
	}
}
