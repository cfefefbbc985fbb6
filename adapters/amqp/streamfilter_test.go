package amqp

import (
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

// chooses is a filter for the values.
func chooses(t *testing.T, values ...any) *streamFilter {
	t.Helper()
	f, err := readStreamFilter(map[string]any{argFilter: values}, "queue 's'", func(m *core.Message) (core.Properties, error) {
		return core.Properties{Headers: []core.Header{{Name: headerFiltered, Value: string(m.Properties)}}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestStreamFilterOfAnotherProtocol(t *testing.T) {
	f := chooses(t, "red", "blue")
	for value, want := range map[string]bool{"red": true, "blue": true, "green": false, "": false} {
		m := &core.Message{Format: core.FormatMQTT, Properties: []byte(value)}
		if got := f.match(m); got != want {
			t.Errorf("a message with the user property %q matches: %v, want %v", value, got, want)
		}
	}
}

func TestStreamFilterAllocatesNothing(t *testing.T) {
	f := chooses(t, "red")
	p := wire.Properties{Flags: wire.FlagHeaders, Headers: wire.EncodeTable([]wire.Field{
		{Name: "a", Value: int32(1)}, {Name: headerFiltered, Value: "red"},
	})}
	m := &core.Message{Format: core.FormatAMQP, Properties: p.Append(nil)}
	if !f.match(m) {
		t.Error("a message with the value does not match")
	}
	if n := testing.AllocsPerRun(100, func() { f.match(m) }); n > 0 {
		t.Errorf("to look at a message costs %v allocations", n)
	}
}

func TestStreamFilterTakesNoValueForEmpty(t *testing.T) {
	none := &core.Message{Format: core.FormatAMQP}
	if chooses(t, "red").match(none) || !chooses(t, "red", "").match(none) {
		t.Error("a message without a value is not one with the empty value")
	}
}
