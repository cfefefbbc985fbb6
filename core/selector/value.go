package selector

import (
	"bytes"
	"cmp"
	"strconv"
)

// Kind is the type of a value.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota // nothing there
	Bool
	Int
	Float
	Text
	// Loose is text of a protocol that has no numbers, as MQTT's user properties:
	// beside a number it is read as one.
	Loose
)

// Value is a value of a message or of an expression. Its text belongs to whoever made
// it and is not kept.
type Value struct {
	Kind  Kind
	True  bool    // of Bool
	Int   int64   // of Int
	Float float64 // of Float
	Text  []byte  // of Text and Loose
}

// Source is a message that a selector is asked about.
type Source interface {
	// Field returns the value of a property, Null where there is none.
	Field(name string) Value
	// Payload returns the body of the message.
	Payload() []byte
}

func truth(b bool) Value { return Value{Kind: Bool, True: b} }

// isTrue tells one of the three values of logic from the others.
func (v *Value) isTrue() bool { return v.Kind == Bool && v.True }

func (v *Value) isText() bool { return v.Kind == Text || v.Kind == Loose }

// number is the value as a number.
func (v *Value) number() (Value, bool) {
	switch v.Kind {
	case Int, Float:
		return *v, true
	case Loose:
		if n, err := strconv.ParseInt(string(v.Text), 10, 64); err == nil {
			return Value{Kind: Int, Int: n}, true
		}
		if f, err := strconv.ParseFloat(string(v.Text), 64); err == nil {
			return Value{Kind: Float, Float: f}, true
		}
	default:
	}
	return Value{}, false
}

func (v *Value) float() float64 {
	if v.Kind == Int {
		return float64(v.Int)
	}
	return v.Float
}

// compare orders two values of like type. ordered is false for those that are not, and
// for a Float that is no number.
func compare(a, b *Value) (order int, ordered bool) {
	switch {
	case a.Kind == Bool && b.Kind == Bool:
		switch {
		case a.True == b.True:
			return 0, true
		case b.True:
			return -1, true
		}
		return 1, true
	case a.isText() && b.isText():
		return bytes.Compare(a.Text, b.Text), true
	case a.isText() && b.Kind == Bool, b.isText() && a.Kind == Bool:
		return compareLooseBool(a, b)
	}
	x, isX := a.number()
	y, isY := b.number()
	if !isX || !isY {
		return 0, false
	}
	if x.Kind == Int && y.Kind == Int {
		return cmp.Compare(x.Int, y.Int), true
	}
	f, g := x.float(), y.float()
	if f != f || g != g {
		return 0, false
	}
	return cmp.Compare(f, g), true
}

// compareLooseBool compares "true" and "false" of a protocol without truths.
func compareLooseBool(a, b *Value) (int, bool) {
	text, is := a, b
	if a.Kind == Bool {
		text, is = b, a
	}
	if text.Kind != Loose {
		return 0, false
	}
	switch string(text.Text) {
	case "true":
		return boolOrder(is.True), true
	case "false":
		return boolOrder(!is.True), true
	}
	return 0, false
}

func boolOrder(equal bool) int {
	if equal {
		return 0
	}
	return 1
}
