package record_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core/record"
)

func messages() map[string]record.Message {
	return map[string]record.Message{
		"empty": {},
		"plain": {
			Namespace: []byte("/"), Exchange: []byte("amq.topic"), Key: []byte("a/b"), Properties: []byte{1, 2},
			Payload: []byte("payload"), Format: 2, QoS: 2, Retain: true, Streams: []record.StreamID{1, 1 << 60, 3},
		},
		"annotated": {
			Payload: []byte("p"), Format: 1, QoS: 1, ExpireAt: 1700000000000, Once: record.Once{Session: 9, ID: 65535},
		},
		"deadlines": {
			Payload: []byte("p"), Streams: []record.StreamID{4, 5}, ExpireAt: 9, Deadlines: []int64{0, 1700000000000},
		},
		"deadlines-many": {Streams: make([]record.StreamID, 300), Deadlines: make([]int64, 300)},
		"origin":         {Payload: []byte("p"), Format: 2, Origin: 7, ExpireAt: 1},
		"dead":           {Payload: []byte("p"), Format: 1, Deadlines: []int64{0, 5}, Streams: []record.StreamID{1, 2}, DeadLetter: true},
		"hidden": {
			Payload: []byte("p"), Format: 1, DeadLetter: true,
			HiddenKeys: record.AppendKey(record.AppendKey(nil, []byte("k")), nil),
		},
		"large": {Key: bytes.Repeat([]byte("k"), 300), Payload: bytes.Repeat([]byte("x"), 1<<20)},
	}
}

func TestMessageRoundTrip(t *testing.T) {
	for name, want := range messages() {
		body := record.AppendMessage(nil, &want)
		var got record.Message
		if err := record.DecodeMessage(body, &got); err != nil {
			t.Fatalf("%s: DecodeMessage: %v", name, err)
		}
		ignore := cmpopts.IgnoreFields(record.Message{}, "Streams", "StreamBytes", "Deadlines", "DeadlineBytes")
		if diff := cmp.Diff(want, got, ignore, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: decoded message (-want +got):\n%s", name, diff)
		}
		if got.NumStreams() != len(want.Streams) {
			t.Fatalf("%s: got %d streams, want %d", name, got.NumStreams(), len(want.Streams))
		}
		for i, s := range want.Streams {
			if got.StreamAt(i) != s {
				t.Errorf("%s: stream %d: got %d, want %d", name, i, got.StreamAt(i), s)
			}
		}
		for i, at := range want.Deadlines {
			if got.DeadlineAt(i) != at {
				t.Errorf("%s: deadline %d: got %d, want %d", name, i, got.DeadlineAt(i), at)
			}
		}
		if again := record.AppendMessage(nil, &got); !bytes.Equal(again, body) {
			t.Errorf("%s: the decoded message encodes to other bytes", name)
		}
	}
}

// TestMessageAnnotations checks that later versions may add annotations.
func TestMessageAnnotations(t *testing.T) {
	prefix := []byte{1, 0, 0, 0, 0, 0, 0} // format, flags, no streams, four empty strings
	decode := func(annotations string) (m record.Message, err error) {
		body := append(bytes.Clone(prefix), byte(len(annotations)))
		body = append(append(body, annotations...), "payload"...)
		return m, record.DecodeMessage(body, &m)
	}
	m, err := decode("\x01\x08\x05\x00\x00\x00\x00\x00\x00\x00" + "\x03\x02id" + "\x7f\x00")
	if err != nil || m.ExpireAt != 5 || string(m.Payload) != "payload" {
		t.Errorf("unknown annotations: got %+v, %v", m, err)
	}
	for name, annotations := range map[string]string{
		"descending":   "\x03\x00\x01\x08\x05\x00\x00\x00\x00\x00\x00\x00",
		"twice":        "\x03\x00\x03\x00",
		"tag zero":     "\x00\x00",
		"short value":  "\x03\x05ab",
		"wrong length": "\x01\x02ab",
		"no value":     "\x01\x08\x00\x00\x00\x00\x00\x00\x00\x00",
		"no length":    "\x03",
		"no streams":   "\x0a\x00",
		"no keys":      "\x0c\x00",
		"short key":    "\x0c\x02\x02k",
		"deadlines":    "\x0a\x08\x00\x00\x00\x00\x00\x00\x00\x00",
	} {
		if _, err := decode(annotations); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
}

func TestMessageRefuses(t *testing.T) {
	all := messages()
	m := all["plain"]
	body := record.AppendMessage(nil, &m)
	body = body[:len(body)-len(m.Payload)]
	for n := range body {
		if err := record.DecodeMessage(body[:n], &m); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%d of %d bytes: got %v, want ErrCorrupt", n, len(body), err)
		}
	}
	for _, flags := range []byte{3, 8, 128} {
		if err := record.DecodeMessage([]byte{1, flags, 0, 0, 0, 0, 0, 0}, &m); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("flags %d: got %v, want ErrCorrupt", flags, err)
		}
	}
	huge := append([]byte{1, 0}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f)
	if err := record.DecodeMessage(huge, &m); !errors.Is(err, record.ErrCorrupt) {
		t.Errorf("huge number of streams: got %v, want ErrCorrupt", err)
	}
}

func TestMessageAllocatesNothing(t *testing.T) {
	all := messages()
	m := all["plain"]
	buf := make([]byte, 0, 1024)
	var got record.Message
	allocs := testing.AllocsPerRun(100, func() {
		buf = record.AppendMessage(buf[:0], &m)
		if err := record.DecodeMessage(buf, &got); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("encode and decode: got %v allocations, want 0", allocs)
	}
}

func FuzzMessage(f *testing.F) {
	for name, m := range messages() {
		if name != "large" {
			f.Add(record.AppendMessage(nil, &m))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var m, again record.Message
		if err := record.DecodeMessage(body, &m); err != nil {
			if !errors.Is(err, record.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		encoded := record.AppendMessage(nil, &m)
		if err := record.DecodeMessage(encoded, &again); err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if !reflect.DeepEqual(m, again) {
			t.Fatalf("decode of encode differs: got %+v, want %+v", again, m)
		}
	})
}
