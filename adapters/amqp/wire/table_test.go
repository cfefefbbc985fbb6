package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

var allTypes = []wire.Field{
	{Name: "t", Value: true},
	{Name: "b", Value: int8(-1)},
	{Name: "B", Value: uint8(255)},
	{Name: "s", Value: int16(-2)},
	{Name: "u", Value: uint16(65535)},
	{Name: "I", Value: int32(-3)},
	{Name: "i", Value: uint32(1 << 31)},
	{Name: "l", Value: int64(-4)},
	{Name: "L", Value: uint64(1 << 63)},
	{Name: "f", Value: float32(0.5)},
	{Name: "d", Value: 0.25},
	{Name: "D", Value: wire.Decimal{Scale: 2, Value: 314}},
	{Name: "S", Value: "text"},
	{Name: "x", Value: []byte{0, 1}},
	{Name: "A", Value: []any{int32(1), "two", nil, []any{}}},
	{Name: "T", Value: wire.Timestamp(1_700_000_000)},
	{Name: "F", Value: []wire.Field{{Name: "in", Value: []wire.Field{{Name: "in", Value: nil}}}}},
	{Name: "V", Value: nil},
	{Name: "V", Value: "a name may come again"},
}

func TestTableRoundTrip(t *testing.T) {
	table := wire.EncodeTable(allTypes)
	checked, err := wire.ParseTable(table)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	fields, err := checked.Fields()
	if err != nil {
		t.Fatalf("fields: %v", err)
	}
	if diff := cmp.Diff(allTypes, fields); diff != "" {
		t.Errorf("fields: want (-), got (+):\n%s", diff)
	}
	if v, ok := checked.Lookup("V"); !ok || v != nil {
		t.Errorf("lookup: got %v, %v, want the first", v, ok)
	}
	if _, ok := checked.Lookup("none"); ok {
		t.Error("lookup found what is not there")
	}
}

func TestGoldenTable(t *testing.T) {
	const want = "0174" + "7401" + "0153" + "53" + "00000002" + "6869" + "016c" + "6c" + "fffffffffffffffe"
	got := hex.EncodeToString(wire.EncodeTable([]wire.Field{{"t", true}, {"S", "hi"}, {"l", int64(-2)}}))
	if got != want {
		t.Errorf("table:\n got %s\nwant %s", got, want)
	}
}

func nested(depth int, array bool) wire.Table {
	var v any
	for range depth {
		if array {
			v = []any{v}
		} else {
			v = []wire.Field{{Name: "n", Value: v}}
		}
	}
	return wire.EncodeTable([]wire.Field{{Name: "n", Value: v}})
}

func TestTableRefusals(t *testing.T) {
	for _, array := range []bool{false, true} {
		if _, err := wire.ParseTable(nested(62, array)); err != nil {
			t.Errorf("62 levels, array %v: %v", array, err)
		}
		if _, err := nested(62, array).Fields(); err != nil {
			t.Errorf("62 levels decoded, array %v: %v", array, err)
		}
		for _, depth := range []int{64, 10_000} {
			if _, err := wire.ParseTable(nested(depth, array)); !errors.Is(err, wire.ErrSyntax) {
				t.Errorf("%d levels, array %v: got %v", depth, array, err)
			}
			if _, err := nested(depth, array).Fields(); err == nil {
				t.Errorf("%d levels decoded, array %v", depth, array)
			}
		}
	}
	for name, text := range map[string]string{
		"name cut off":      "05416263",
		"no tag":            "0141",
		"unknown tag":       "01417a",
		"short value":       "01414900",
		"giant string":      "014153ffffffff41",
		"giant table":       "014146fffffff041",
		"array cut off":     "01414100000003740149",
		"short string is s": "01417300",
	} {
		b, _ := hex.DecodeString(text)
		if _, err := wire.ParseTable(b); !errors.Is(err, wire.ErrSyntax) {
			t.Errorf("%s: got %v, want ErrSyntax", name, err)
		}
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte(wire.EncodeTable(allTypes)))
	f.Add([]byte(nested(70, true)))
	f.Fuzz(func(t *testing.T, b []byte) {
		table, err := wire.ParseTable(b)
		if err != nil {
			return
		}
		fields, err := table.Fields()
		if err != nil {
			t.Fatalf("checked table does not decode: %v", err)
		}
		again := wire.EncodeTable(fields)
		if len(again) != len(b) {
			t.Fatalf("encoded again: %x from %x", again, b)
		}
		fields, err = again.Fields()
		if err != nil {
			t.Fatalf("encoded again does not decode: %v", err)
		}
		if third := wire.EncodeTable(fields); !bytes.Equal(third, again) {
			t.Fatalf("not stable: %x from %x", third, again)
		}
	})
}

// TestAppendWithout removes all fields of a name and keeps the bytes of the others.
func TestAppendWithout(t *testing.T) {
	one, two := wire.Field{Name: "a", Value: int32(1)}, wire.Field{Name: "b", Value: []any{"x", []wire.Field{{Name: "a"}}}}
	all := wire.EncodeTable([]wire.Field{two, one, two, one})
	if got, want := all.AppendWithout(nil, "a"), wire.EncodeTable([]wire.Field{two, two}); !bytes.Equal(got, want) {
		t.Errorf("without a: got %x, want %x", got, want)
	}
	if got := all.AppendWithout(nil, "none"); !bytes.Equal(got, all) {
		t.Errorf("without nothing: got %x, want %x", got, all)
	}
}
