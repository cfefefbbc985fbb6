package record_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tidegate/tidegate/core/record"
)

var testID = record.Identity{Cluster: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, Shard: 7}

// add appends one record to the batch.
func add(b *record.Batch, kind record.Kind, body []byte) {
	b.Begin(kind)
	b.Raw = append(b.Raw, body...)
	b.End()
}

// telemetry is a device's report of about 256 bytes with random readings.
func telemetry(rng *rand.Rand, i int) []byte {
	report := map[string]any{
		"device": fmt.Sprintf("sensor-%05d", rng.IntN(2000)), "seq": i, "time": 1700000000000 + int64(i)*7,
		"temperature": rng.Float64()*40 - 10, "humidity": rng.Float64() * 100, "pressure": 950 + rng.Float64()*100,
		"battery": rng.IntN(101), "status": "nominal", "firmware": "2.14.3", "site": "north-harbour", "unit": "metric",
	}
	p, _ := json.Marshal(report)
	return p
}

// telemetryBatch is a batch of n messages routed to one stream each.
func telemetryBatch(n int) *record.Batch {
	rng := rand.New(rand.NewPCG(1, 2))
	b := &record.Batch{Base: 1, First: 1700000000000, Last: 1700000000009, Sync: true}
	m := record.Message{
		Namespace: []byte("/"), Exchange: []byte("amq.topic"), Format: 2, QoS: 1, Streams: []record.StreamID{42},
	}
	for i := range n {
		m.Key = fmt.Appendf(nil, "site/north/device/%05d/report", rng.IntN(2000))
		m.Payload = telemetry(rng, i)
		b.Begin(record.KindMessage)
		b.Raw = record.AppendMessage(b.Raw, &m)
		b.End()
	}
	return b
}

func TestBatchRecords(t *testing.T) {
	var b record.Batch
	bodies := [][]byte{[]byte("first"), {}, []byte("third")}
	for i, body := range bodies {
		add(&b, record.Kind(i+1), body)
	}
	if b.Len() != 3 {
		t.Fatalf("Len: got %d, want 3", b.Len())
	}
	for i, want := range bodies {
		kind, got := b.Record(i)
		if kind != record.Kind(i+1) || !bytes.Equal(got, want) {
			t.Errorf("record %d: got kind %d body %q, want kind %d body %q", i, kind, got, i+1, want)
		}
	}
	b.Base = 10
	if b.Next() != 13 {
		t.Errorf("Next: got %d, want 13", b.Next())
	}
	b.Reset()
	if b.Len() != 0 || len(b.Raw) != 0 || b.Base != 0 {
		t.Errorf("Reset left %+v", b)
	}
}

func TestSparseBatch(t *testing.T) {
	b := sparse()
	want := []record.LSN{100, 101, 102, 109, 130, 139}
	for i, lsn := range want {
		if got, ok := b.Find(lsn); b.LSN(i) != lsn || !ok || got != i {
			t.Errorf("record %d: LSN %d, want %d; Find: %d, %v", i, b.LSN(i), lsn, got, ok)
		}
	}
	for _, lsn := range []record.LSN{0, 89, 90, 103, 140, 499, 500, 90 + 1<<32} {
		if i, ok := b.Find(lsn); ok {
			t.Errorf("Find %d: got %d, want none", lsn, i)
		}
	}
	if b.Next() != 500 || b.Time(3) != -5 || b.Time(4) != 1900 || b.First != 1000 || b.Last != 1000+39*39 {
		t.Errorf("got next %d, times %v, first %d, last %d", b.Next(), b.Times, b.First, b.Last)
	}
	for what, err := range map[string]error{
		"cover backwards":  b.Cover(499),
		"cover too much":   b.Cover(90 + 1<<32),
		"take backwards":   b.Take(telemetryBatch(1), 0),
		"extend backwards": b.Extend(telemetryBatch(1)),
	} {
		if !errors.Is(err, record.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", what, err)
		}
	}
}

func TestExtend(t *testing.T) {
	all, one, two := new(record.Batch), telemetryBatch(3), telemetryBatch(2)
	one.Base, two.Base, two.First = 7, 10, 99
	all.ResetSparse(7)
	for _, b := range []*record.Batch{one, two, {Base: 12, Until: 20}} {
		if err := all.Extend(b); err != nil {
			t.Fatal(err)
		}
	}
	if all.Len() != 5 || all.Next() != 20 || all.LSN(4) != 11 || all.Time(2) != one.First || all.Time(3) != 99 {
		t.Errorf("got %d records up to %d, LSNs %v, times %v", all.Len(), all.Next(), all.Sparse, all.Times)
	}
	_, want := two.Record(1)
	if _, got := all.Record(4); !bytes.Equal(got, want) {
		t.Errorf("record 4: got %q, want %q", got, want)
	}
}
