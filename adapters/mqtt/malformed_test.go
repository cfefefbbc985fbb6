package mqtt_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// malformedCase is a line of testdata/malformed.tsv: its name, the versions that
// it is sent in, the packet behind a CONNECT in hex with text between quotes, and
// the words of the answer.
type malformedCase struct {
	name     string
	versions string
	send     []byte
	want     []string
}

func malformedCases(t *testing.T) []malformedCase {
	t.Helper()
	text, err := os.ReadFile("testdata/malformed.tsv")
	if err != nil {
		t.Fatal(err)
	}
	var list []malformedCase
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(cells) != 4 {
			t.Fatalf("line %q has %d cells", line, len(cells))
		}
		list = append(list, malformedCase{
			name: cells[0], versions: cells[1], send: bytesOf(t, cells[2]), want: strings.Fields(cells[3]),
		})
	}
	return list
}

// bytesOf reads hex with text between quotes; hex*N repeats a word.
func bytesOf(t *testing.T, cell string) (b []byte) {
	t.Helper()
	for word := range strings.FieldsSeq(cell) {
		if text, quoted := strings.CutPrefix(word, "'"); quoted {
			b = append(b, strings.TrimSuffix(text, "'")...)
			continue
		}
		word, times, repeated := strings.Cut(word, "*")
		part, err := hex.DecodeString(word)
		if err != nil {
			t.Fatalf("%q: %v", cell, err)
		}
		n := 1
		if repeated {
			n = int(num(t, times, 32))
		}
		b = append(b, slices.Repeat(part, n)...)
	}
	return b
}

// TestMalformed sends each malformed or illegal packet behind a CONNECT. MQTT 5
// is told why, 3.1.1 is closed without a word.
func TestMalformed(t *testing.T) {
	w := newWorld(t)
	for i, tc := range malformedCases(t) {
		for _, version := range []string{"3", "5"} {
			if !strings.Contains(tc.versions, version) {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", tc.name, version), func(t *testing.T) {
				c, _ := w.connect(connect{v5: version == "5", clean: true, id: fmt.Sprint(version, "-", i)})
				c.t = t
				c.send(tc.send)
				want := tc.want
				if version == "3" && want[0] == "disconnect" {
					want = []string{"eof"}
				}
				got := c.describe(c.read())
				if !isLike(want, got) {
					t.Fatalf("got %v, want %v", got, want)
				}
				if want[0] == "disconnect" {
					c.closed("behind the DISCONNECT")
				}
			})
		}
	}
}

// legalBodies has a body for each packet type that a client may send in the
// middle of a connection, and the answer to it: by version, without and with
// properties.
var legalBodies = map[byte]struct {
	flags []byte
	body3 string
	body5 string
	want3 string
	want5 string
}{
	3:  {flags: []byte{0, 1}, body3: "0001 74", body5: "0001 74 00"},
	4:  {flags: []byte{0}, body3: "0001", body5: "0001"},
	5:  {flags: []byte{0}, body3: "0001", body5: "0001", want3: "pubrel id=1", want5: "pubrel id=1 0x92"},
	6:  {flags: []byte{2}, body3: "0001", body5: "0001", want3: "pubcomp id=1", want5: "pubcomp id=1 0x92"},
	7:  {flags: []byte{0}, body3: "0001", body5: "0001"},
	8:  {flags: []byte{2}, body3: "0001 0001 74 00", body5: "0001 00 0001 74 00", want3: "suback id=1 0x00", want5: "suback id=1 0x00"},
	10: {flags: []byte{2}, body3: "0001 0001 74", body5: "0001 00 0001 74", want3: "unsuback id=1", want5: "unsuback id=1 0x11"},
	12: {flags: []byte{0}, want3: "pingresp", want5: "pingresp"},
	14: {flags: []byte{0}, want3: "eof", want5: "eof"},
}

// TestEveryTypeAndFlags sends each packet type with each of the 16 flags behind a
// CONNECT, with a body that is legal for the type.
func TestEveryTypeAndFlags(t *testing.T) {
	w := newWorld(t)
	for kind := range byte(16) {
		for flags := range byte(16) {
			for _, v5 := range []bool{false, true} {
				c, _ := w.connect(connect{v5: v5, clean: true, id: fmt.Sprint(kind, "-", flags, "-", v5)})
				legal, known := legalBodies[kind]
				text, want := legal.body3, legal.want3
				if v5 {
					text, want = legal.body5, legal.want5
				}
				body := bytesOf(t, text)
				reason := "0x81"
				ok := known && slices.Contains(legal.flags, flags)
				switch {
				case kind == 3 && !ok:
					ok, want, reason = publishFlags(flags, v5)
					if ok {
						body = slices.Insert(body, 3, 0, 1)
					}
				case kind == 15 && flags == 0 && v5:
					reason = "0x8c"
				case !known && kind != 0 && flags == 0 && (kind != 15 || v5):
					reason = "0x82" // a CONNECT, or what only servers send
				}
				if !ok {
					want = "eof"
					if v5 {
						want = "disconnect " + reason + " ..."
					}
				}
				c.send(raw(kind<<4|flags, body))
				if want == "" {
					c.send(ping)
					want = "pingresp"
				}
				if got := c.describe(c.read()); !isLike(strings.Fields(want), got) {
					t.Errorf("type %d flags %x, v5 %v: got %v, want %s", kind, flags, v5, got, want)
				}
				w.must(c.conn.Close())
			}
		}
	}
}

// publishFlags tells whether a PUBLISH may have the flags, which ask for an
// identifier, and the answer to it.
func publishFlags(flags byte, v5 bool) (ok bool, want, reason string) {
	nobody := ""
	if v5 {
		nobody = " 0x10"
	}
	switch flags >> 1 & 3 {
	case 1:
		return true, "puback id=1" + nobody, ""
	case 2:
		return true, "pubrec id=1" + nobody, ""
	case 0:
		return false, "", "0x82" // DUP
	default:
		return false, "", "0x81"
	}
}
