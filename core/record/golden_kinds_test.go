package record_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/record"
)

// sample is a record of a kind: its body, and the body as it is when it was
// decoded and encoded once more.
type sample struct {
	body  []byte
	again func(body []byte) ([]byte, error)
}

// samples has one record of every kind but messages and placed ones, which have
// golden files of their own.
func samples() map[record.Kind]sample {
	ref := sample{
		record.AppendCursorRef(nil, record.CursorRef{Stream: 1<<60 + 5, Cursor: 77, Offset: 1000}),
		func(body []byte) ([]byte, error) {
			c, err := record.DecodeCursorRef(body)
			return record.AppendCursorRef(nil, c), err
		},
	}
	session := sample{
		record.AppendSession(nil, &record.Session{
			ID: 9, Expiry: math.MaxUint64, Disconnected: 1700000000000, Namespace: "/", Client: "device-7", Owner: "guest",
		}),
		func(body []byte) ([]byte, error) {
			var s record.Session
			err := record.DecodeSession(body, &s)
			return record.AppendSession(nil, &s), err
		},
	}
	transfer := sample{
		record.AppendTransferRef(nil, record.TransferRef{Source: 2, Number: 70000, Open: 300}),
		func(body []byte) ([]byte, error) {
			r, err := record.DecodeTransferRef(body)
			return record.AppendTransferRef(nil, r), err
		},
	}
	subscription := sample{
		record.AppendSubscription(nil, &record.Subscription{
			Session: 9, ID: 300, QoS: 2, NoLocal: true, Filter: "plant/+/temp", Data: []byte{1, 2, 3},
		}),
		func(body []byte) ([]byte, error) {
			var s record.Subscription
			err := record.DecodeSubscription(body, &s)
			return record.AppendSubscription(nil, &s), err
		},
	}
	return map[record.Kind]sample{
		record.KindAck: {
			record.AppendAck(nil, &record.Ack{Stream: 5, Cursor: 9, Ranges: []record.Range{{First: 3, End: 4}, {First: 300, End: 700}}}),
			func(body []byte) ([]byte, error) {
				var a record.Ack
				err := record.DecodeAck(body, &a)
				return record.AppendAck(nil, &a), err
			},
		},
		record.KindStreamCreate: {
			record.AppendStream(nil, &record.Stream{ID: 5, Filter: true, Namespace: "/", Name: "plant/#"}),
			func(body []byte) ([]byte, error) {
				var s record.Stream
				err := record.DecodeStream(body, &s)
				return record.AppendStream(nil, &s), err
			},
		},
		record.KindStreamDrop: ref, record.KindCursorCreate: ref, record.KindCursorDrop: ref, record.KindDelivered: ref,
		record.KindSession: session, record.KindSessionDrop: session,
		record.KindSubscription: subscription, record.KindSubscriptionDrop: subscription,
		record.KindValue: {
			record.AppendValue(nil, &record.Value{Session: 9, Key: 70000, Present: true, Value: []byte("v")}),
			func(body []byte) ([]byte, error) {
				var v record.Value
				err := record.DecodeValue(body, &v)
				return record.AppendValue(nil, &v), err
			},
		},
		record.KindRelease: {
			record.AppendOnce(nil, record.Once{Session: 9, ID: 65535}),
			func(body []byte) ([]byte, error) {
				o, err := record.DecodeOnce(body)
				return record.AppendOnce(nil, o), err
			},
		},
		record.KindTruncate: {
			record.AppendTruncate(nil, &record.Truncate{Stream: 5, Low: 70000, Bytes: 1 << 30}),
			func(body []byte) ([]byte, error) {
				t, err := record.DecodeTruncate(body)
				return record.AppendTruncate(nil, &t), err
			},
		},
		record.KindGroup: {
			record.AppendGroup(nil, &record.Group{Stream: 5, Cursor: 9, Offset: 300, Name: "billing"}),
			func(body []byte) ([]byte, error) {
				g, err := record.DecodeGroup(body)
				return record.AppendGroup(nil, &g), err
			},
		},
		record.KindSeek: ref,
		record.KindCompact: {
			record.AppendCompact(nil, &record.Compact{Stream: 5, Below: 70000, First: 3, End: 200}),
			func(body []byte) ([]byte, error) {
				c, err := record.DecodeCompact(body)
				return record.AppendCompact(nil, &c), err
			},
		},
		record.KindForget: {
			record.AppendForget(nil, &record.Forget{Stream: 5, Tombstones: []record.Tombstone{{Offset: 300, Key: "a"}, {Offset: 301, Key: ""}}}),
			func(body []byte) ([]byte, error) {
				f, err := record.DecodeForget(body)
				return record.AppendForget(nil, &f), err
			},
		},
		record.KindTransfer: {
			record.AppendTransfer(nil, &record.Transfer{Target: 2, Acks: [][]byte{{1}, {2, 3}}, Messages: [][]byte{{4}, {}}}),
			func(body []byte) ([]byte, error) {
				t, err := record.DecodeTransfer(body)
				return record.AppendTransfer(nil, &t), err
			},
		},
		record.KindTransferred: transfer, record.KindTransferDone: transfer,
		record.KindReturns: {
			record.AppendReturns(nil, &record.Returns{Stream: 5, Of: []record.Returned{{3, 1}, {4, 300}, {70000, 1<<32 - 1}}}),
			func(body []byte) ([]byte, error) {
				var r record.Returns
				err := record.DecodeReturns(body, &r)
				return record.AppendReturns(nil, &r), err
			},
		},
		record.KindHeld: heldKind(),
		record.KindFire: {func() []byte { f := fireSample(); return record.AppendFire(nil, &f) }(), againFire},
		record.KindCancel: {
			record.AppendCancel(nil, &record.Cancel{Body: 70000, Due: 1700000005000, Namespace: "/", Schedule: "remind-7"}),
			func(body []byte) ([]byte, error) {
				var c record.Cancel
				err := record.DecodeCancel(body, &c)
				return record.AppendCancel(nil, &c), err
			},
		},
		record.KindLoss: {
			record.AppendLoss(nil, record.Loss{End: 1 << 40}),
			func(body []byte) ([]byte, error) {
				l, err := record.DecodeLoss(body)
				return record.AppendLoss(nil, l), err
			},
		},
	}
}

// heldKind is a held message without a payload: any other beginning of one is one too.
func heldKind() sample {
	m := heldSample()
	m.Payload = nil
	return sample{record.AppendMessage(nil, &m), func(body []byte) ([]byte, error) {
		var m record.Message
		err := record.DecodeMessage(body, &m)
		return record.AppendMessage(nil, &m), err
	}}
}

// TestGoldenKinds checks that a body of every kind is read, and written, byte
// for byte.
func TestGoldenKinds(t *testing.T) {
	for kind, s := range samples() {
		want := golden(t, fmt.Sprintf("kind-%02d.bin", kind), s.body)
		if !bytes.Equal(s.body, want) {
			t.Errorf("kind %d: got\n%x, want\n%x", kind, s.body, want)
		}
		again, err := s.again(want)
		if err != nil || !bytes.Equal(again, want) {
			t.Errorf("kind %d, decoded and encoded: got\n%x, %v, want\n%x", kind, again, err, want)
		}
		for n := range want {
			if _, err := s.again(want[:n]); err == nil {
				t.Errorf("kind %d: %d of %d bytes are taken", kind, n, len(want))
			}
		}
	}
}

// TestEveryKindIsDescribed checks that no kind is without a golden file or a row
// in FORMAT.md.
func TestEveryKindIsDescribed(t *testing.T) {
	parsed, err := parser.ParseFile(token.NewFileSet(), "kinds.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	format, err := os.ReadFile("../FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rows, _ := strings.Cut(string(format), "| kind | what | body |")
	var declared, described, sampled []string
	ast.Inspect(parsed, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(v.Names[0].Name, "Kind") && len(v.Values) == 1 {
			declared = append(declared, v.Values[0].(*ast.BasicLit).Value)
		}
		return true
	})
	for line := range strings.Lines(rows) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			if len(described) > 0 {
				break
			}
			continue
		}
		if kind := strings.TrimSpace(cells[1]); !strings.HasPrefix(kind, "-") {
			described = append(described, kind)
		}
	}
	all := samples()
	for _, kind := range declared {
		var n record.Kind
		if _, err := fmt.Sscan(kind, &n); err != nil {
			t.Fatal(err)
		}
		if _, ok := all[n]; ok || n == record.KindMessage || n == record.KindPlaced || n == record.KindPlacedFire {
			sampled = append(sampled, kind)
		}
	}
	if diff := cmp.Diff(declared, described); diff != "" {
		t.Errorf("kinds.go and FORMAT.md (-code +document):\n%s", diff)
	}
	if diff := cmp.Diff(declared, sampled); diff != "" {
		t.Errorf("kinds.go and golden files (-code +files):\n%s", diff)
	}
}
