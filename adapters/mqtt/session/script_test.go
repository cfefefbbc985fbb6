package session_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/core"
)

// A script is a protocol story: lines that begin with "> " are events, the
// indented lines below one are what the state machine does because of it, and
// other lines are prose.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, got := replay(t, file)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-script +got):\n%s", file, diff)
			}
		})
	}
}

// replay returns the script, and the script with what really happens.
func replay(t *testing.T, file string) (want, got []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := newMachine()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		want = append(want, line)
		if strings.HasPrefix(line, "    ") {
			continue // what happens is written by the machine
		}
		got = append(got, line)
		if event, ok := strings.CutPrefix(line, "> "); ok {
			for _, out := range m.do(t, strings.Fields(event)) {
				got = append(got, "    "+out)
			}
		}
	}
	return want, got
}

// machine holds the state machines that scripts drive. Messages are named in
// scripts by the number of their log record.
type machine struct {
	flight   *session.Inflight
	in       *session.Inbound
	aliasIn  session.AliasesIn
	aliasOut session.AliasesOut
	stored   uint64
	values   map[uint16]session.Saved
}

func newMachine() *machine {
	return &machine{flight: session.NewInflight(), values: map[uint16]session.Saved{}}
}

func number(t *testing.T, args []string, name string) uint64 {
	t.Helper()
	for _, a := range args {
		if v, ok := strings.CutPrefix(a, name+"="); ok {
			n, err := strconv.ParseUint(v, 0, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func (m *machine) do(t *testing.T, args []string) []string {
	t.Helper()
	n := func(name string) uint64 { return number(t, args, name) }
	id := uint16(n("id"))
	switch args[0] {
	case "connect":
		m.stored = 0
		m.flight.Connect(int(n("window")), n("put"))
		return m.pump()
	case "restart":
		m.flight = session.NewInflight()
		var saved []session.Saved
		for _, s := range m.values {
			saved = append(saved, s)
		}
		m.flight.Restore(saved)
		return []string{fmt.Sprintf("restored %d", m.flight.Len())}
	case "return":
		var out []string
		for _, id := range m.flight.Return() {
			delete(m.values, id)
			out = append(out, fmt.Sprintf("forget id=%d", id))
		}
		return append(out, fmt.Sprintf("%d in flight", m.flight.Len()))
	case "deliver":
		return m.deliver(n("msg"), uint8(n("qos")), n("put"), n("shared") == 1)
	case "stored":
		m.stored = n("put")
		return append(m.pump(), m.comps()...)
	case "puback", "pubrec", "pubcomp":
		return m.acknowledge(args[0], id, n("reason") >= 0x80, n("put"))
	case "drop":
		m.flight.Drop(id)
		return append(m.pump(), m.room())
	case "serve":
		m.in = session.NewInbound(int(n("window")), n("strict") == 1)
		return nil
	case "publish":
		return []string{verdict(m.in.Publish(uint8(n("qos")), id)) + full(m.in)}
	case "taken":
		m.in.Answer(session.PendingAck{Seq: n("seq"), ID: id, QoS: uint8(n("qos")), Reason: uint8(n("reason"))})
		return nil
	case "settled":
		return m.acks(n("seq"))
	case "pubrel":
		known, v := m.in.Pubrel(id)
		return []string{fmt.Sprintf("%s known=%v", verdict(v), known)}
	case "released":
		m.in.Released(session.PendingComp{Put: n("put"), ID: id})
		return m.comps()
	case "aliases":
		m.aliasIn, m.aliasOut = session.NewAliasesIn(uint16(n("in"))), session.NewAliasesOut(uint16(n("out")))
		return nil
	case "resolve":
		return m.resolve(uint16(n("alias")), args)
	case "send":
		return m.send(args[1])
	default:
		t.Fatalf("unknown event %q", args[0])
		return nil
	}
}

func (m *machine) deliver(msg uint64, qos uint8, put uint64, shared bool) []string {
	if m.flight.Room() == 0 {
		return []string{"no room"}
	}
	id := m.flight.Add(core.Position{Stream: 1, Offset: core.Offset(msg), LSN: core.LSN(msg)}, qos, shared)
	if qos == 2 {
		m.values[id] = m.flight.Saved(id, session.Waiting)
		m.flight.Storing(id, put)
	}
	return append([]string{fmt.Sprintf("msg=%d gets id=%d", msg, id)}, m.pump()...)
}

func (m *machine) pump() (out []string) {
	for {
		a, ok := m.flight.Next(m.stored)
		if !ok {
			return out
		}
		if a.Kind == session.SendPubrel {
			out = append(out, fmt.Sprintf("PUBREL id=%d", a.ID))
			continue
		}
		dup := ""
		if a.Dup {
			dup = " dup"
		}
		out = append(out, fmt.Sprintf("PUBLISH id=%d qos=%d msg=%d%s", a.ID, a.QoS, a.Position.LSN, dup))
	}
}

func (m *machine) acknowledge(kind string, id uint16, failed bool, put uint64) (out []string) {
	var pos core.Position
	var answer session.Answer
	switch kind {
	case "puback":
		pos, answer = m.flight.Puback(id)
	case "pubrec":
		pos, answer = m.flight.Pubrec(id, failed)
	default:
		answer = m.flight.Pubcomp(id)
	}
	switch answer {
	case session.Settled:
		delete(m.values, id)
		if pos.LSN != 0 {
			out = append(out, fmt.Sprintf("settle msg=%d", pos.LSN))
		} else {
			out = append(out, fmt.Sprintf("forget id=%d", id))
		}
	case session.Record:
		m.values[id] = m.flight.Saved(id, session.Recorded)
		m.flight.Recording(id, put)
		out = append(out, fmt.Sprintf("record id=%d, settle msg=%d", id, pos.LSN))
	case session.Unknown:
		out = append(out, "unknown")
	case session.Wrong:
		out = append(out, "wrong")
	case session.Repeat:
	}
	return append(append(out, m.pump()...), m.room())
}

func (m *machine) room() string { return fmt.Sprintf("room %d", m.flight.Room()) }

func (m *machine) acks(seq uint64) (out []string) {
	for {
		a, ok := m.in.NextAck(seq)
		if !ok {
			return out
		}
		kind := "PUBACK"
		if a.QoS == 2 {
			kind = "PUBREC"
		}
		out = append(out, fmt.Sprintf("%s id=%d reason=0x%02x", kind, a.ID, a.Reason))
	}
}

func (m *machine) comps() (out []string) {
	for m.in != nil {
		c, ok := m.in.NextComp(m.stored)
		if !ok {
			break
		}
		out = append(out, fmt.Sprintf("PUBCOMP id=%d", c.ID))
	}
	return out
}

func (m *machine) resolve(alias uint16, args []string) []string {
	var topic []byte
	if len(args) > 2 {
		topic = []byte(args[2])
	}
	got, ok := m.aliasIn.Resolve(alias, topic)
	if !ok {
		return []string{"invalid"}
	}
	return []string{"topic " + string(got)}
}

func (m *machine) send(topic string) []string {
	alias, known := m.aliasOut.Find([]byte(topic))
	switch {
	case alias == 0:
		return []string{"topic " + topic}
	case known:
		return []string{fmt.Sprintf("alias %d", alias)}
	}
	m.aliasOut.Sent([]byte(topic), alias)
	return []string{fmt.Sprintf("topic %s alias %d", topic, alias)}
}

func verdict(v session.Verdict) string {
	return [...]string{"accept", "receive maximum exceeded", "identifier in use", "too early"}[v]
}

func full(in *session.Inbound) string {
	if in.Full() {
		return ", then wait"
	}
	return ""
}
