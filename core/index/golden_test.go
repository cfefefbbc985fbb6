package index_test

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

var update = flag.Bool("update", false, "write the golden files of the present version")

// TestGoldenState compares keys and values of every kind with those in
// testdata/v1/state.txt, and reads these.
func TestGoldenState(t *testing.T) {
	id := record.Identity{Cluster: [16]byte{1, 15: 9}, Shard: 2}
	stream := index.Stream{
		Stream: record.Stream{ID: 1<<60 + 5, Filter: true, Namespace: "/", Name: "plant/#"}, Since: 4, Low: 300, End: 70000,
	}
	cursor := index.Cursor{Marked: 900, Floor: 301, Ranges: []record.Range{{First: 310, End: 311}, {First: 400, End: 700}}}
	lsns := []record.LSN{0, 0, 9, 10, 5000}
	session := record.Session{ID: 9, Expiry: 3600000, Namespace: "/", Client: "device-7", Owner: "guest"}
	subscription := record.Subscription{Session: 9, ID: 3, QoS: 1, Filter: "plant/#"}
	value := record.Value{Session: 9, Key: 7, Present: true, Value: []byte("v")}
	chunk := index.Chunk{Bytes: 70000, Garbage: 300, Time: 1700000000000}
	chunk.Superseded.Set(3<<8 | 7)
	chunk.Gone.Set(3<<8 | 255)
	copied := index.RetainedCopy{LSN: 12, Time: 1700000000000, Body: []byte{1, 2, 3}}
	fired := index.Fired{
		Streams: []record.StreamID{5, 1<<60 + 5}, Offsets: []record.Offset{0, 300}, Retain: true,
		Namespace: []byte("/"), Topic: []byte("plant/7/temp"),
	}
	last := index.Last{Offset: 300, LSN: 70000, Size: 12, Tombstone: true}
	entries := []struct {
		name       string
		key, value []byte
	}{
		{"format", index.FormatKey, index.AppendFormat(nil, id)},
		{"applied", index.AppliedKey, index.AppendLSN(nil, 1<<40)},
		{"stream", index.StreamKey(stream.ID), index.AppendStream(nil, &stream)},
		{"cursor", index.CursorKey(stream.ID, 77), index.AppendCursor(nil, &cursor)},
		{"references", index.ChunkKey(stream.ID, 1), index.AppendChunk(nil, lsns)},
		{"transient", index.TransientChunkKey(stream.ID, 2), index.AppendChunk(nil, lsns[2:])},
		{"sizes", index.SizesKey(stream.ID, 300), index.AppendSizes(nil, []uint32{7, 7, 7, 0, 70000})},
		{"transient-sizes", index.TransientSizesKey(stream.ID, 300), index.AppendSizes(nil, []uint32{5})},
		{"returns", index.ReturnsKey(stream.ID, 1), record.AppendReturns(nil, &record.Returns{
			Stream: stream.ID, Of: []record.Returned{{Offset: 301, Times: 2}, {Offset: 511, Times: 1}},
		})},
		{"retained", index.RetainedKey([]byte("/"), []byte("plant/7/temp")), index.AppendLSN(nil, 12)},
		{"retained-copy", index.RetainedCopyKey([]byte("/"), []byte("plant/7/temp")), index.AppendRetainedCopy(nil, &copied)},
		{"once", index.OnceKey(record.Once{Session: 9, ID: 65534}), index.AppendLSN(nil, 13)},
		{"session", index.SessionKey(9), record.AppendSession(nil, &session)},
		{"subscription", index.SubscriptionKey(9, "plant/#"), record.AppendSubscription(nil, &subscription)},
		{"value", index.ValueKey(9, 7), record.AppendValue(nil, &value)},
		{"kept", index.KeptKey(5), index.AppendKept(nil, &index.Kept{Bytes: 1 << 40, Time: 1700000000000})},
		{"group", index.GroupKey(5, 9), index.AppendGroup(nil, &index.Group{Created: 300, Since: 70000, Name: "billing"})},
		{"chunk", index.ChunkInfoKey(5, 3), index.AppendChunkInfo(nil, &chunk)},
		{"plain-chunk", index.ChunkInfoKey(5, 4), index.AppendChunkInfo(nil, &index.Chunk{Bytes: 9, Time: 1700000000000})},
		{"last", index.LastKey(5, "a"), index.AppendLast(nil, &last)},
		{"tombstone", index.TombstoneKey(5, 301), index.AppendTombstone(nil, 1700000000000, []byte("b"))},
		{"format-held", index.FormatKey, index.AppendFormatHeld(nil, id)},
		{"held", index.HeldKey(70000), index.AppendDue(nil, 1700000000000)},
		{"held-due", index.HeldDueKey(1700000000000, 70000), nil},
		{"schedule", index.ScheduleRecordKey("/", "remind-7", 70000), nil},
		{"fired", index.FiredKey(70000, 70001), index.AppendFired(nil, &fired)},
		{"held-count", index.HeldCountKey("/"), index.AppendHeldCount(nil, 300)},
	}
	var text strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&text, "%s %x %x\n", e.name, e.key, e.value)
	}
	path := filepath.Join("testdata", "v1", "state.txt")
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text.String(), "\n")); diff != "" {
		t.Fatalf("keys and values (-golden +written):\n%s", diff)
	}
	stored := map[string][]byte{}
	for line := range strings.Lines(string(want)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ") // the last one may be empty
		value, err := hex.DecodeString(fields[len(fields)-1])
		if err != nil || len(fields) != 3 {
			t.Fatalf("line %q: %v", line, err)
		}
		stored[fields[0]] = value
	}
	var gotStream index.Stream
	var gotCursor index.Cursor
	gotLSNs, err := index.DecodeChunk(stored["references"], nil)
	if err == nil {
		err = index.DecodeStream(stored["stream"], &gotStream)
	}
	if err == nil {
		err = index.DecodeCursor(stored["cursor"], &gotCursor)
	}
	if err == nil {
		err = index.CheckFormat(stored["format"], id)
	}
	var gotChunk index.Chunk
	var gotLast index.Last
	var gotCopy index.RetainedCopy
	if err == nil {
		err = index.DecodeRetainedCopy(stored["retained-copy"], &gotCopy)
	}
	if err == nil {
		err = index.DecodeChunkInfo(stored["chunk"], &gotChunk)
	}
	if err == nil {
		err = index.DecodeLast(stored["last"], &gotLast)
	}
	if err != nil {
		t.Fatal(err)
	}
	var gotFired index.Fired
	if err := index.DecodeFired(stored["fired"], &gotFired); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(fired, gotFired); diff != "" {
		t.Errorf("golden value of a message that was due (-want +got):\n%s", diff)
	}
	if due, err := index.DecodeDue(stored["held"]); due != 1700000000000 || err != nil {
		t.Errorf("golden time of a held message: got %d, %v", due, err)
	}
	if err := index.CheckFormat(stored["format-held"], id); err != nil {
		t.Errorf("golden format of a store with held messages: %v", err)
	}
	if diff := cmp.Diff(chunk, gotChunk) + cmp.Diff(last, gotLast) + cmp.Diff(copied, gotCopy); diff != "" {
		t.Errorf("golden values of stream queues (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(stream, gotStream) + cmp.Diff(cursor, gotCursor) + cmp.Diff(lsns, gotLSNs); diff != "" {
		t.Errorf("golden values (-want +got):\n%s", diff)
	}
}
