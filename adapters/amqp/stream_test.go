package amqp

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
)

func TestStampReplacesAnOffset(t *testing.T) {
	c := &connection{out: &output{}, log: slog.New(slog.DiscardHandler)}
	for _, c2 := range []struct {
		headers []wire.Field
		want    []wire.Field
	}{
		{nil, []wire.Field{{Name: headerOffset, Value: int64(7)}}},
		{
			[]wire.Field{{Name: "a", Value: "b"}},
			[]wire.Field{{Name: headerOffset, Value: int64(7)}, {Name: "a", Value: "b"}},
		},
		{
			[]wire.Field{{Name: "a", Value: "b"}, {Name: headerOffset, Value: int64(3)}, {Name: "c", Value: true}},
			[]wire.Field{{Name: headerOffset, Value: int64(7)}, {Name: "a", Value: "b"}, {Name: "c", Value: true}},
		},
	} {
		p := wire.Properties{Flags: wire.FlagMessageID, MessageID: []byte("id")}
		if c2.headers != nil {
			p.Flags |= wire.FlagHeaders
			p.Headers = wire.EncodeTable(c2.headers)
		}
		var got wire.Properties
		if err := got.Parse(c.stamp(p.Append(nil), headerOffset, 7)); err != nil {
			t.Fatal(err)
		}
		fields, err := got.Headers.Fields()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c2.want, fields); diff != "" || string(got.MessageID) != "id" {
			t.Errorf("headers (-want +got):\n%s, message id %q", diff, got.MessageID)
		}
	}
	props := (&wire.Properties{Flags: wire.FlagDeliveryMode, DeliveryMode: 2}).Append(nil)
	if n := testing.AllocsPerRun(100, func() { c.stamp(props, headerOffset, 7) }); n > 0 {
		t.Errorf("an offset costs %v allocations", n)
	}
}

func TestStreamStart(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	for _, c := range []struct {
		value any
		want  core.Start
		ok    bool
	}{
		{"first", core.StartFirst(), true},
		{"last", core.StartLast(), true},
		{"next", core.StartNext(), true},
		{int64(0), core.StartOffset(0), true},
		{now, core.StartTime(now), true},
		{"1h", core.StartTime(now.Add(-time.Hour)), true},
		{"2D", core.StartTime(now.Add(-48 * time.Hour)), true},
		{int64(-1), core.Start{}, false},
		{"", core.Start{}, false},
		{"h", core.Start{}, false},
		{"1", core.Start{}, false},
		{"0s", core.Start{}, false},
		{"-1s", core.Start{}, false},
		{"1d", core.Start{}, false},
		{1.5, core.Start{}, false},
		{nil, core.Start{}, false},
	} {
		got, ok := streamStart(c.value, now)
		if ok != c.ok || ok && got != c.want {
			t.Errorf("%v: got %+v, %v, want %+v, %v", c.value, got, ok, c.want, c.ok)
		}
	}
}
