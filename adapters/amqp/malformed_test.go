package amqp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// bits makes bytes of hexadecimal digits; texts between single quotes stand for
// themselves.
func bits(t testing.TB, text string) []byte {
	t.Helper()
	var b []byte
	for i, part := range strings.Split(text, "'") {
		if i%2 == 1 {
			b = append(b, part...)
			continue
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(part, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		b = append(b, raw...)
	}
	return b
}

// nest is a table of tables, or of arrays, so deep.
func nest(depth int, tag byte) []byte {
	var b []byte
	for range depth {
		inner := binary.BigEndian.AppendUint32([]byte{tag}, uint32(len(b)))
		if tag == 'F' {
			inner = append([]byte("\x01n"), inner...)
		}
		b = append(inner, b...)
	}
	if tag != 'F' {
		b = append([]byte("\x01n"), b...)
	}
	return b
}

// malformed makes the bytes of a case. Its words are frames: "m1" to "m0" are
// methods on the channel of that number, "h1" and "b1" headers and bodies, "raw"
// is bytes; "publish" is basic.publish, "headers" a content header with that table
// and "declare" a queue.declare with that table as arguments.
func malformed(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for line := range strings.SplitSeq(text, ";") {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var body []byte
		switch {
		case strings.HasPrefix(rest, "nest "):
			body = nest(map[string]int{"63": 63, "64": 64, "5000": 5000}[rest[7:]], rest[5])
		default:
			body = bits(t, rest)
		}
		table := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
		switch word {
		case "raw":
			out = append(out, body...)
		case "publish":
			out = wire.AppendMethod(out, 1, &wire.BasicPublish{RoutingKey: []byte("q")})
		case "headers":
			content := append(bits(t, "003c0000 0000000000000000 2000"), table...)
			out = wire.AppendFrame(out, wire.FrameHeader, 1, content)
		case "declare":
			out = wire.AppendFrame(out, wire.FrameMethod, 1, append(bits(t, "0032000a 0000 01'q' 00"), table...))
		default:
			typ := map[byte]byte{'m': wire.FrameMethod, 'h': wire.FrameHeader, 'b': wire.FrameBody, 'x': wire.FrameHeartbeat}
			out = wire.AppendFrame(out, typ[word[0]], uint16(word[1]-'0'), body)
		}
	}
	return out
}

// malformedCase is a line of testdata/malformed.tsv: its name, what is sent behind
// the login, and the answer.
type malformedCase struct{ name, send, want string }

func malformedCases(t testing.TB) []malformedCase {
	t.Helper()
	text, err := os.ReadFile("testdata/malformed.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var cases []malformedCase
	for line := range strings.Lines(string(text)) {
		if fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); len(fields) == 3 {
			cases = append(cases, malformedCase{fields[0], fields[1], fields[2]})
		}
	}
	if len(cases) < 60 {
		t.Fatalf("%d cases, want at least 60", len(cases))
	}
	return cases
}

// TestMalformed sends what no correct client does, and compares the exact answers.
func TestMalformed(t *testing.T) {
	h := newHarness(t)
	for _, tc := range malformedCases(t) {
		r := h.dial()
		r.login("guest")
		r.write(malformed(t, tc.send))
		got := strings.ReplaceAll(r.describe(), "\t", " ")
		if got != tc.want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, tc.want)
		}
		_ = r.conn.Close()
	}
	// The broker goes on as if nothing had been.
	r := h.dial()
	r.login("guest")
	r.write(encode(t, []string{"1", "queue.declare", "Queue=after"}))
	if got := r.describe(); got != "1 queue.declare-ok Queue=after" {
		t.Errorf("afterwards: got %s", got)
	}
}

// TestLengthBombs announces lengths that never come, and counts what that costs.
func TestLengthBombs(t *testing.T) {
	h := newHarness(t)
	for name, send := range map[string]string{
		"frame":        "raw 03 0001 0001ffff",
		"body":         "publish; h1 003c0000 0000000000ffffff 0000; b1 '1'",
		"header table": "publish; h1 003c0000 0000000000000000 2000 fffffff0",
		"string":       "publish; headers 01'a' 'S' ffffffff",
		"array":        "publish; headers 01'a' 'A' fffffff0",
		"arguments":    "m1 0032000a 0000 01'q' 00 ffffffff",
	} {
		const clients = 20
		bomb := malformed(t, send)
		var before, after runtime.MemStats
		list := make([]*raw, clients)
		for i := range list {
			list[i] = h.dial()
			list[i].login("guest")
		}
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, r := range list {
			r.write(bomb)
			r.write(bytes.Repeat([]byte{0}, 1<<10))
		}
		for _, r := range list { // the server has read it all when it closes
			if half, ok := r.conn.(*net.TCPConn); !ok || half.CloseWrite() != nil {
				t.Fatal("the connection does not close")
			}
			for err := error(nil); err == nil; {
				_, err = r.read()
			}
		}
		runtime.ReadMemStats(&after)
		if cost := (after.TotalAlloc - before.TotalAlloc) / clients; cost > 300<<10 {
			t.Errorf("%s: %d bytes allocated per client", name, cost)
		}
	}
}

// TestAllFieldTypes sends a header of every type that tables have, and gets the
// same bytes back; tables one level below the limit are among them.
func TestAllFieldTypes(t *testing.T) {
	h := newHarness(t)
	deep := nest(62, 'F')
	headers := bytes.Join([][]byte{
		bits(t, "01't' 't' 01"), bits(t, "01'b' 'b' ff"), bits(t, "01'B' 'B' ff"), bits(t, "01's' 's' ffff"),
		bits(t, "01'u' 'u' ffff"), bits(t, "01'I' 'I' ffffffff"), bits(t, "01'i' 'i' ffffffff"),
		bits(t, "01'l' 'l' ffffffffffffffff"), bits(t, "01'L' 'L' ffffffffffffffff"), bits(t, "01'f' 'f' 3f000000"),
		bits(t, "01'd' 'd' 3fe0000000000000"), bits(t, "01'D' 'D' 02 0000013a"), bits(t, "01'S' 'S' 00000002 ff00"),
		bits(t, "01'x' 'x' 00000002 ff00"), bits(t, "01'A' 'A' 00000003 'V' 't' 01"), bits(t, "01'T' 'T' 00000000ffffffff"),
		bits(t, "01'V' 'V'"), bits(t, "00 'V'"), bits(t, "01't' 't' 00"), deep,
	}, nil)
	properties := append(bits(t, "2000"), binary.BigEndian.AppendUint32(nil, uint32(len(headers)))...)
	properties = append(properties, headers...)
	r := h.dial()
	r.login("guest")
	r.write(encode(t, []string{"1", "queue.declare", "Queue=q"}))
	r.describe()
	r.write(encode(t, []string{"1", "basic.publish", "RoutingKey=q"}))
	r.write(wire.AppendContent(nil, 1, 0, properties, nil))
	r.write(encode(t, []string{"1", "basic.get", "Queue=q", "NoAck"}))
	r.describe()
	f, err := r.read()
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.ParseHeader(f.Payload)
	if err != nil || !bytes.Equal(got.Properties, properties) {
		t.Errorf("properties: %v\n got %x\nwant %x", err, got.Properties, properties)
	}
}
