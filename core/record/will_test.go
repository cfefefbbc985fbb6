package record_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/record"
)

// TestGoldenWill checks that a will is read, and written, byte for byte.
func TestGoldenWill(t *testing.T) {
	sample := record.Will{
		Due: 1700000000000, Wait: 30000, Expiry: 60000, Expires: true, Retain: true, Format: 2, QoS: 1,
		Namespace: "/", Client: "device-7", Owner: "guest",
		Exchange: []byte("amq.topic"), Key: []byte("will/device-7"), Properties: []byte{1, 1}, Payload: []byte("gone"),
	}
	body := record.AppendWill(nil, &sample)
	want := golden(t, "will.bin", body)
	if !bytes.Equal(body, want) {
		t.Errorf("got\n%x, want\n%x", body, want)
	}
	var got record.Will
	if err := record.DecodeWill(want, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample, got); diff != "" {
		t.Errorf("decoded (-want +got):\n%s", diff)
	}
	for n := range want {
		if record.DecodeWill(want[:n], &got) == nil {
			t.Errorf("%d of %d bytes are taken", n, len(want))
		}
	}
	want[0]++
	if record.DecodeWill(want, &got) == nil {
		t.Error("a later version is taken")
	}
}

// FuzzDecodeWill asks that what is decoded encodes to the same.
func FuzzDecodeWill(f *testing.F) {
	f.Add(record.AppendWill(nil, &record.Will{Namespace: "/", Client: "c", Key: []byte("t")}))
	f.Fuzz(func(t *testing.T, body []byte) {
		var w, again record.Will
		if record.DecodeWill(body, &w) != nil {
			return
		}
		if err := record.DecodeWill(record.AppendWill(nil, &w), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(w, again); diff != "" {
			t.Errorf("again (-want +got):\n%s", diff)
		}
	})
}
