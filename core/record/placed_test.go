package record_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/tidegate/tidegate/core/record"
)

// placed are bodies of placed records by name, with their places.
func placed() map[string]struct {
	places  []record.Place
	message []byte
} {
	all := messages()
	plain, annotated := all["plain"], all["annotated"]
	type body = struct {
		places  []record.Place
		message []byte
	}
	return map[string]body{
		"three":   {[]record.Place{record.PlaceAt(0), record.NoPlace, record.PlaceAt(1 << 40)}, record.AppendMessage(nil, &plain)},
		"nowhere": {nil, record.AppendMessage(nil, &annotated)},
	}
}

func TestPlacedRoundTrip(t *testing.T) {
	for name, want := range placed() {
		body := record.AppendPlaced(nil, want.places, want.message)
		if golden := golden(t, "placed-"+name+".bin", body); !bytes.Equal(body, golden) {
			t.Errorf("%s: got\n%x, want\n%x", name, body, golden)
		}
		places, message, err := record.SplitPlaced(body, nil)
		if err != nil || !slices.Equal(places, want.places) || !bytes.Equal(message, want.message) {
			t.Errorf("%s: got %v, %x, %v", name, places, message, err)
		}
		message, ok, err := record.MessageBody(record.KindPlaced, body)
		if err != nil || !ok || !bytes.Equal(message, want.message) {
			t.Errorf("%s: MessageBody: %x, %v, %v", name, message, ok, err)
		}
		message, ok, err = record.MessageBody(record.KindMessage, want.message)
		if err != nil || !ok || !bytes.Equal(message, want.message) {
			t.Errorf("%s: MessageBody of a message: %x, %v, %v", name, message, ok, err)
		}
		allocs := testing.AllocsPerRun(10, func() {
			if _, _, err := record.MessageBody(record.KindPlaced, body); err != nil {
				t.Fatal(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%s: MessageBody: got %v allocations, want 0", name, allocs)
		}
	}
	if _, ok, err := record.MessageBody(record.KindAck, nil); ok || err != nil {
		t.Errorf("MessageBody of an ack: %v, %v", ok, err)
	}
}

func TestPlaces(t *testing.T) {
	for _, want := range []record.Offset{0, 1, math.MaxUint64 - 1} {
		if got, ok := record.PlaceAt(want).Offset(); got != want || !ok {
			t.Errorf("place of %d: got %d, %v", want, got, ok)
		}
	}
	if _, ok := record.NoPlace.Offset(); ok {
		t.Error("NoPlace has an offset")
	}
}

func TestPlacedRefuses(t *testing.T) {
	p := placed()["three"]
	good := record.AppendPlaced(nil, p.places, p.message)
	for name, body := range map[string][]byte{
		"empty":           {},
		"count alone":     good[:1],
		"cut in a place":  good[:4],
		"no message":      good[:len(good)-len(p.message)],
		"too few places":  record.AppendPlaced(nil, p.places[:2], p.message),
		"too many places": record.AppendPlaced(nil, append(p.places, 7), p.message),
		"huge count":      {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1},
	} {
		if _, _, err := record.SplitPlaced(body, nil); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
		if _, _, err := record.MessageBody(record.KindPlaced, body); !errors.Is(err, record.ErrCorrupt) {
			t.Errorf("%s: MessageBody: got %v, want ErrCorrupt", name, err)
		}
	}
}

func FuzzPlaced(f *testing.F) {
	for _, p := range placed() {
		f.Add(record.AppendPlaced(nil, p.places, p.message))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		places, message, err := record.SplitPlaced(body, nil)
		if err != nil {
			if !errors.Is(err, record.ErrCorrupt) {
				t.Fatalf("got %v, want ErrCorrupt", err)
			}
			return
		}
		again, rest, err := record.SplitPlaced(record.AppendPlaced(nil, places, message), nil)
		if err != nil || !slices.Equal(again, places) || !bytes.Equal(rest, message) {
			t.Fatalf("decode of encode differs: %v, %x, %v", again, rest, err)
		}
	})
}
