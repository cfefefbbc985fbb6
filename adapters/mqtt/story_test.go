package mqtt_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/adapters/mqtt"
)

// The stories in testdata are packets, one line each, with the client first:
//
//	a > connect v5 clean id=a receive-maximum=2
//	a < connack 0x00 ...
//	a > subscribe id=1 t/#:1,nl
//	a < suback id=1 0x01
//	a < publish t/1 qos=1 id=1 payload=hello
//	a < eof
//
// ">" is sent by the client and "<" is what has to come next from the server;
// "..." at the end stands for further words. Packets of lines with "<&" that
// follow each other may come in any order. A CONNECT opens a connection unless
// the client has one. "a drop" breaks the connection, "a raw HEX" sends bytes,
// "a dial" only connects. "config NAME=VALUE" comes first; "crash" loses what was
// not synced and starts the server again, "shutdown" tells it to end; "gone N"
// waits until N connections are served, and "pass N" puts the clock N seconds
// ahead. "grace 1s" is the time that connections get at a shutdown, "drain N" waits until
// N of them use it, and "restart" is an orderly one. A story begins with a new server.
func TestStories(t *testing.T) {
	for _, story := range stories(t) {
		t.Run(story.name, func(t *testing.T) {
			t.Parallel()
			tell(t, story.lines)
		})
	}
}

// story is a part of a file of testdata. Its name is file/title.
type story struct{ name, lines string }

func stories(t *testing.T) (list []story) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq("\n"+string(text), "\n== ") {
			if title, lines, ok := strings.Cut(part, "\n"); ok && title != "" {
				name := strings.TrimSuffix(filepath.Base(file), ".txt") + "/" + title
				list = append(list, story{name: name, lines: lines})
			}
		}
	}
	return list
}

// teller plays one story.
type teller struct {
	w       *world
	clients map[string]*client
	open    [][]string // lines with "<&" that are still to be read
}

func tell(t *testing.T, story string) {
	var lines [][]string
	var settings []string
	for line := range strings.SplitSeq(story, "\n") {
		words := strings.Fields(line)
		switch {
		case len(words) == 0 || words[0] == "#":
		case words[0] == "config":
			settings = append(settings, words[1:]...)
		default:
			lines = append(lines, words)
		}
	}
	s := &teller{
		w:       newWorld(t, func(c *mqtt.Config) { configure(t, c, settings) }),
		clients: map[string]*client{},
	}
	for _, words := range append(lines, []string{"end"}) {
		if len(words) > 1 && words[1] == "<&" {
			s.open = append(s.open, words)
			continue
		}
		s.anyOrder()
		s.line(t, words)
	}
}

// anyOrder reads the packets of the lines with "<&" that were gathered.
func (s *teller) anyOrder() {
	s.w.t.Helper()
	for len(s.open) > 0 {
		c := s.clients[s.open[0][0]]
		got := c.describe(c.read())
		i := slices.IndexFunc(s.open, func(words []string) bool {
			return s.clients[words[0]] == c && isLike(words[2:], got)
		})
		if i < 0 {
			s.w.t.Fatalf("got %v, want one of %v", got, s.open)
		}
		s.open = slices.Delete(s.open, i, i+1)
	}
}

func configure(t *testing.T, c *mqtt.Config, settings []string) {
	t.Helper()
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		switch n := num(t, value, 32); name {
		case "receive_maximum":
			c.ReceiveMaximum = uint16(n)
		case "window":
			c.Window = uint16(n)
		case "topic_aliases":
			c.TopicAliases = uint16(n)
		case "max_keep_alive":
			c.MaxKeepAlive = time.Duration(n) * time.Second
		case "max_session_expiry":
			c.MaxSessionExpiry = time.Duration(n) * time.Second
		case "max_packet_size":
			c.MaxPacketSize = int(n)
		case "max_subscriptions":
			c.MaxSubscriptions = int(n)
		default:
			t.Fatalf("unknown setting %q", setting)
		}
	}
}

func (s *teller) line(t *testing.T, words []string) {
	t.Helper()
	line := strings.Join(words, " ")
	switch words[0] {
	case "crash":
		s.w.crash()
		clear(s.clients)
		return
	case "end":
		return
	case "restart":
		s.w.close()
		s.w.open()
		clear(s.clients)
		return
	case "shutdown":
		s.w.cancel()
		return
	case "grace":
		grace, err := time.ParseDuration(words[1])
		s.w.must(err)
		s.w.grace.Store(int64(grace))
		return
	case "drain":
		n := int64(num(t, words[1], 32))
		s.w.eventually(line, func() bool { return s.w.server.Stats().Draining == n })
		return
	case "pass":
		s.w.clock.ahead.Add(int64(num(t, words[1], 32)) * int64(time.Second))
		return
	case "gone":
		n := int64(num(t, words[1], 32))
		s.w.eventually(line, func() bool { return s.w.server.Stats().Connections == n })
		return
	case "queue": // queue NAME [KEY], bound to the topic exchange by the key
		s.w.queue(words[1:])
		return
	case "user": // user NAME PASSWORD WRITE READ
		s.w.user(words[1], words[2], words[3], words[4])
		return
	}
	if len(words) < 2 {
		t.Fatalf("unknown line %q", line)
	}
	name := words[0]
	c := s.clients[name]
	if c == nil && (words[1] == "dial" || words[1] == ">" && words[2] == "connect") {
		c = s.w.dial()
		s.clients[name] = c
	}
	switch {
	case c == nil:
		t.Fatalf("%s: no connection", line)
	case words[1] == "dial":
	case words[1] == "drop":
		s.w.must(c.conn.Close())
		delete(s.clients, name)
	case words[1] == "raw":
		b, err := hex.DecodeString(strings.Join(words[2:], ""))
		s.w.must(err)
		c.send(b)
	case words[1] == ">":
		c.send(c.encode(words[2:]))
	case line == name+" < eof":
		c.closed(line)
		s.w.must(c.conn.Close())
		delete(s.clients, name)
	case words[1] == "<":
		c.receive(line, words[2:])
	default:
		t.Fatalf("unknown line %q", line)
	}
}

// receive compares the next packet with the words of a line.
func (c *client) receive(line string, want []string) {
	c.t.Helper()
	if got := c.describe(c.read()); !isLike(want, got) {
		c.t.Fatalf("%s\ngot %s\nwant (-), got (+):\n%s", line, strings.Join(got, " "), cmp.Diff(want, got))
	}
}

// isLike tells whether a packet is what the words of a line want.
func isLike(want, got []string) bool {
	last := len(want) - 1
	if want[last] != "..." {
		return slices.Equal(want, got)
	}
	for _, word := range want[:last] {
		if !slices.Contains(got, word) {
			return false
		}
	}
	return got[0] == want[0]
}

func num(t testing.TB, value string, bits int) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(value, 0, bits)
	if err != nil {
		t.Fatalf("number %q: %v", value, err)
	}
	return n
}
