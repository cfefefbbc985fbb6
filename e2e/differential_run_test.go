package e2e

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/tidegate/tidegate/adapters/amqp/frametext"
	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// contender is a broker that stories are told to.
type contender struct {
	side string // "R" or "T", as in stories
	amqp string
	http string
}

// line is a connection of a conversation.
type line struct {
	conn   net.Conn
	reader *wire.Reader
	open   bool // the handshake is behind it
	ended  bool
}

// conversation is one telling of a story to a broker.
type conversation struct {
	t       *testing.T
	with    contender
	lines   map[string]*line
	current *line
	pending []string      // answers that did not come over AMQP
	wait    time.Duration // for an answer
}

func converse(t *testing.T, with contender, wait time.Duration) *conversation {
	return &conversation{t: t, with: with, lines: map[string]*line{}, wait: wait}
}

// notSaid tells whether a line of a story is for its readers only.
func notSaid(text string) bool {
	return text == "" || strings.HasPrefix(text, "#") || strings.HasPrefix(text, "because ")
}

// do says one line of a story.
func (c *conversation) do(text string) error {
	words := frametext.Split(text)
	switch words[0] {
	case "on":
		return c.turnTo(words[1], "guest", "/")
	case "login":
		return c.turnTo(words[1], words[2], words[3])
	case "connect":
		return c.dial(words[1])
	case "api":
		return c.api(strings.SplitN(text, " ", 4)[1:])
	}
	if c.current == nil {
		if err := c.turnTo("a", "guest", "/"); err != nil {
			return err
		}
	}
	var b []byte
	var err error
	switch words[0] {
	case ">", "~":
		b, err = frametext.Encode(words[1:])
	case "raw":
		b, err = hex.DecodeString(strings.Join(words[1:], ""))
	case "text":
		b = []byte(strings.TrimPrefix(text, "text "))
	default:
		err = fmt.Errorf("unknown line %q", text)
	}
	if err != nil {
		return err
	}
	write(c.current.conn, b)
	return nil
}

// dial opens a connection that has not spoken yet.
func (c *conversation) dial(name string) error {
	conn, err := (&net.Dialer{}).DialContext(within(c.t), "tcp", c.with.amqp)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	c.current = &line{conn: conn, reader: wire.NewReader(conn, 1<<20)}
	c.lines[name] = c.current
	return nil
}

// turnTo goes on with a connection, and opens it with channel 1 if there is none.
func (c *conversation) turnTo(name, user, vhost string) error {
	if known, ok := c.lines[name]; ok {
		c.current = known
		return nil
	}
	if err := c.dial(name); err != nil {
		return err
	}
	write(c.current.conn, []byte(wire.Protocol))
	for _, step := range []struct {
		want string
		send []wire.Method
	}{
		{"0 connection.start ", []wire.Method{startOK(user)}},
		{"0 connection.tune ", []wire.Method{&wire.ConnectionTuneOK{ChannelMax: 2047, FrameMax: 131072}, &wire.ConnectionOpen{VirtualHost: vhost}}},
		{"0 connection.open-ok", nil},
	} {
		if got := c.answer(patience); !strings.HasPrefix(got, step.want) {
			return fmt.Errorf("login of %s: got %q, want %q", user, got, step.want)
		}
		for _, m := range step.send {
			write(c.current.conn, wire.AppendMethod(nil, 0, m))
		}
	}
	c.current.open = true
	write(c.current.conn, wire.AppendMethod(nil, 1, &wire.ChannelOpen{}))
	if got := c.answer(patience); got != "1 channel.open-ok" {
		return fmt.Errorf("channel of %s: got %q", user, got)
	}
	return nil
}

// startOK logs in with a password that is the user's name.
func startOK(user string) *wire.ConnectionStartOK {
	var able []wire.Field
	for _, name := range []string{
		"authentication_failure_close", "consumer_cancel_notify", "connection.blocked", "basic.nack", "publisher_confirms",
	} {
		able = append(able, wire.Field{Name: name, Value: true})
	}
	return &wire.ConnectionStartOK{
		ClientProperties: wire.EncodeTable([]wire.Field{{Name: "capabilities", Value: able}}),
		Mechanism:        "PLAIN", Response: []byte("\x00" + user + "\x00" + user), Locale: "en_US",
	}
}

// answer is the next frame that is no heartbeat, "eof" at the end, and "" when
// nothing came in time.
func (c *conversation) answer(wait time.Duration) string {
	if len(c.pending) > 0 {
		first := c.pending[0]
		c.pending = c.pending[1:]
		return first
	}
	if c.current == nil || c.current.ended {
		return "eof"
	}
	if err := c.current.conn.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	for {
		f, ok, err := c.current.reader.Next()
		switch {
		case err != nil:
			c.current.ended = true
			return "bytes that are no frame" // such as a protocol header
		case ok && f.Type == wire.FrameHeartbeat:
			continue
		case ok:
			text, err := frametext.Describe(f)
			if err != nil {
				c.t.Fatalf("frame of the broker: %v", err)
			}
			if strings.HasPrefix(text, "0 connection.close") {
				c.current.ended = true
			}
			return text
		}
		if err := c.current.reader.Fill(); errors.Is(err, os.ErrDeadlineExceeded) {
			return ""
		} else if err != nil {
			c.current.ended = true
			return "eof"
		}
	}
}

// api asks the management API, and keeps its status as an answer.
func (c *conversation) api(words []string) error {
	body := ""
	if len(words) > 2 {
		body = words[2]
	}
	req, err := http.NewRequestWithContext(within(c.t), words[0], "http://"+c.with.http+words[1], strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	req.SetBasicAuth("guest", "guest")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return fmt.Errorf("api: %w", err)
	}
	c.pending = append(c.pending, fmt.Sprintf("http %d", resp.StatusCode))
	return nil
}

// repeat says a line until the answer comes.
func (c *conversation) repeat(text, want string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	got := ""
	for end := time.Now().Add(c.wait); time.Now().Before(end); <-tick.C {
		if err := c.do(text); err != nil {
			return err
		}
		if got = c.answer(c.wait); matches(want, got) {
			return nil
		}
	}
	return fmt.Errorf("want %s, got again and again %s", want, got)
}

// end closes every connection, and returns what came beyond the story.
func (c *conversation) end() (more []string) {
	for _, l := range c.lines {
		c.current = l
		if l.open && !l.ended {
			write(l.conn, wire.AppendMethod(nil, 0, &wire.ConnectionClose{ReplyCode: 200}))
			for {
				got := c.answer(patience)
				if got == "0 connection.close-ok" || got == "eof" || got == "" {
					break
				}
				more = append(more, got)
			}
		}
		l.conn.Close()
	}
	return more
}

// sweep deletes what a story has declared. Queues of a connection that broke go a
// moment after it: until then they are locked.
func (with contender) sweep(t *testing.T, s *story) {
	t.Helper()
	queues, exchanges := s.declared("queue"), s.declared("exchange")
	if len(queues)+len(exchanges) == 0 {
		return
	}
	conn, err := amqp.Dial(amqpURL(with.amqp))
	if err != nil {
		t.Fatalf("dial AMQP: %v", err)
	}
	defer conn.Close()
	for _, name := range queues {
		eventually(t, "queue "+name+" goes", func() bool {
			ch := channelOn(t, conn)
			_, err := ch.QueueDelete(name, false, false, false)
			ch.Close()
			return err == nil
		})
	}
	ch := channelOn(t, conn)
	for _, name := range exchanges {
		if err := ch.ExchangeDelete(name, false, false); err != nil {
			t.Fatalf("delete exchange %s: %v", name, err)
		}
	}
}
