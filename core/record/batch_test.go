package record_test

import (
	"bytes"
	"encoding/json"
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
