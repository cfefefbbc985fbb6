package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

func TestParseFrame(t *testing.T) {
	whole := wire.AppendFrame(nil, wire.FrameBody, 258, []byte("body"))
	for n := range whole {
		f, took, need, err := wire.ParseFrame(whole[:n], 100)
		if err != nil || took != 0 {
			t.Fatalf("%d of %d bytes: got %+v, %d, %v", n, len(whole), f, took, err)
		}
		if want := len(whole); n >= 7 && need != want {
			t.Fatalf("%d bytes: need %d, want %d", n, need, want)
		}
	}
	f, took, _, err := wire.ParseFrame(append(whole, 9, 9), 4)
	if err != nil || took != len(whole) {
		t.Fatalf("whole frame: took %d, %v", took, err)
	}
	if diff := cmp.Diff(wire.Frame{Type: wire.FrameBody, Channel: 258, Payload: []byte("body")}, f); diff != "" {
		t.Fatalf("frame: want (-), got (+):\n%s", diff)
	}
	for name, b := range map[string]string{
		"unknown type":        "05",
		"too large":           "01000000000005",
		"giant":               "010000ffffffff",
		"wrong end":           "0100000000000000",
		"heartbeat, no end":   "0800000000000001",
		"protocol, no frame":  "414d5150",
		"type 0 and no frame": "00",
	} {
		raw, _ := hex.DecodeString(b)
		if _, _, _, err := wire.ParseFrame(raw, 4); !errors.Is(err, wire.ErrFrame) {
			t.Errorf("%s: got %v, want ErrFrame", name, err)
		}
	}
}

// frames reads all frames of r.
func frames(t *testing.T, r *wire.Reader) []wire.Frame {
	t.Helper()
	var all []wire.Frame
	for {
		f, ok, err := r.Next()
		if err != nil {
			t.Fatalf("next: %v", err)
		}
		if ok {
			f.Payload = bytes.Clone(f.Payload)
			all = append(all, f)
			continue
		}
		if err := r.Fill(); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("fill: %v", err)
		}
	}
}

func TestReader(t *testing.T) {
	var stream []byte
	var want []wire.Frame
	sizes := []int{1, 100, 4000, 4096, 5000, 70_000, 131_072, 300_000, 1_000_000, 3, 0}
	for i, size := range slices.Concat(sizes, sizes, []int{1, 2, 3, 4, 5, 6, 7, 8}) {
		f := wire.Frame{Type: wire.FrameBody, Channel: uint16(i), Payload: bytes.Repeat([]byte{byte(i)}, size)}
		want = append(want, f)
		stream = wire.AppendFrame(stream, f.Type, f.Channel, f.Payload)
	}
	sources := map[string]io.Reader{
		"all at once": bytes.NewReader(stream),
		"halves":      iotest.HalfReader(bytes.NewReader(stream)),
		"bytes":       iotest.OneByteReader(bytes.NewReader(stream)),
	}
	for name, src := range sources {
		r := wire.NewReader(src, 1<<20)
		got := frames(t, r)
		r.Release()
		if diff := cmp.Diff(len(want), len(got)); diff != "" {
			t.Fatalf("%s: frames: want (-), got (+):\n%s", name, diff)
		}
		for i := range want {
			if got[i].Channel != want[i].Channel || !bytes.Equal(got[i].Payload, want[i].Payload) {
				t.Fatalf("%s: frame %d differs", name, i)
			}
		}
	}
}

func TestReaderWithALowLimit(t *testing.T) {
	var stream []byte
	for i := range 100 {
		stream = wire.AppendFrame(stream, wire.FrameBody, uint16(i), make([]byte, 32<<10-i*300))
	}
	all := frames(t, wire.NewReader(bytes.NewReader(stream), 32<<10))
	if len(all) != 100 {
		t.Fatalf("got %d frames, want 100", len(all))
	}
	for i, f := range all {
		if f.Channel != uint16(i) || len(f.Payload) != 32<<10-i*300 {
			t.Fatalf("frame %d: got channel %d, %d bytes", i, f.Channel, len(f.Payload))
		}
	}
}

// giant announces a frame and never sends it.
type giant struct{ read int }

func (g *giant) Read(p []byte) (int, error) {
	if g.read = max(g.read, len(p)); len(p) > 7 {
		p = p[:7]
	}
	return copy(p, "\x01\x00\x00\x7f\xff\xff\xff"), nil
}

func TestReaderGrowsByWhatCame(t *testing.T) {
	g := &giant{}
	r := wire.NewReader(g, 1<<31-1)
	for range 3 {
		if err := r.Fill(); err != nil {
			t.Fatal(err)
		}
		if _, ok, err := r.Next(); ok || err != nil {
			t.Fatalf("next: got %v, %v", ok, err)
		}
	}
	if g.read > 8<<10 {
		t.Errorf("a read of %d bytes was prepared for 21 that came", g.read)
	}
}

func TestGoldenFrames(t *testing.T) {
	deliver := wire.BasicDeliver{
		ConsumerTag: "c", DeliveryTag: 1, Redelivered: true, Exchange: []byte("x"), RoutingKey: []byte("key"),
	}
	for _, c := range []struct {
		name, want string
		got        []byte
	}{
		{"heartbeat", "08000000000000ce", wire.AppendHeartbeat(nil)},
		{"ack", "0100010000000d003c0050000000000000000701ce", wire.AppendConfirm(nil, 1, 7, true, false)},
		{"nack", "0100010000000d003c0078000000000000000802ce", wire.AppendConfirm(nil, 1, 8, false, true)},
		{"deliver", "01000200000015003c003c01630000000000000001010178036b6579ce", deliver.Append(nil, 2)},
		{
			"close", "01000000000012" + "000a0032" + "0194" + "07" + "6e6f2077617921" + "000a000b" + "ce",
			wire.AppendMethod(nil, 0, &wire.ConnectionClose{
				ReplyCode: 404, ReplyText: "no way!", FailingMethod: wire.IDConnectionStartOK,
			}),
		},
		{"empty content", "0200010000000e003c000000000000000000000000ce", wire.AppendContent(nil, 1, 0, nil, nil)},
		{
			"content in two frames", "0200010000000e003c000000000000000000030000ce" + "03000100000002" + "6162ce" + "0300010000000163ce",
			wire.AppendContent(nil, 1, wire.FrameOverhead+2, []byte{0, 0}, []byte("abc")),
		},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

func FuzzReader(f *testing.F) {
	f.Add(wire.AppendHeartbeat(wire.AppendFrame(nil, wire.FrameMethod, 1, []byte("abc"))), uint8(3))
	f.Add([]byte("\x01\x00\x00\xff\xff\xff\xff"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint8) {
		const limit = 1 << 16
		r := wire.NewReader(&pieces{stream, int(piece) + 1}, limit)
		defer r.Release()
		var again []byte
		for {
			fr, ok, err := r.Next()
			if err != nil {
				break
			}
			if ok {
				again = wire.AppendFrame(again, fr.Type, fr.Channel, fr.Payload)
				continue
			}
			if r.Fill() != nil {
				break
			}
		}
		if !bytes.HasPrefix(stream, again) {
			t.Errorf("frames are not what came: %x from %x", again, stream)
		}
		whole, n, _, err := wire.ParseFrame(stream, limit)
		if err == nil && n > 0 && len(again) == 0 {
			t.Errorf("the reader missed %+v", whole)
		}
	})
}

// pieces gives its bytes in reads of at most size.
type pieces struct {
	b    []byte
	size int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.b) == 0 {
		return 0, io.EOF
	}
	n := copy(to[:min(len(to), p.size)], p.b)
	p.b = p.b[n:]
	return n, nil
}
