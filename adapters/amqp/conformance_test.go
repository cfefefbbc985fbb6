package amqp_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
)

// feature is a row of docs/amqp.md.
type feature struct {
	section string
	names   []string // between backquotes in the first column
	status  string
	tests   []string // between backquotes in the last column
	line    string
}

var backquoted = regexp.MustCompile("`([^`]+)`")

func quotedIn(cell string) []string {
	var list []string
	for _, m := range backquoted.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// features reads the tables of docs/amqp.md.
func features(t *testing.T) []feature {
	t.Helper()
	text, err := os.ReadFile("../../docs/amqp.md")
	if err != nil {
		t.Fatal(err)
	}
	var list []feature
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if title := strings.TrimLeft(line, "#"); title != line {
			section = strings.TrimSpace(title)
		}
		cells := strings.Split(line, "|")
		if len(cells) != 6 || strings.Contains(line, "---") || strings.TrimSpace(cells[1]) == "" {
			continue
		}
		list = append(list, feature{
			section: section, names: quotedIn(cells[1]), status: strings.TrimSpace(cells[2]),
			tests: quotedIn(cells[4]), line: line,
		})
	}
	if len(list) < 90 {
		t.Fatalf("docs/amqp.md has %d rows", len(list))
	}
	return list
}

// knownTests are the functions, stories and malformed cases that rows may name.
func knownTests(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read tests: %w", err)
		}
		for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
			known[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	titles := regexp.MustCompile(`(?m)^== (.+)$`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range titles.FindAllStringSubmatch(string(text), -1) {
			known[strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+m[1]] = true
		}
	}
	for _, tc := range malformedCases(t) {
		known["malformed/"+tc.name] = true
	}
	return known
}

// TestConformanceTable checks what docs/amqp.md says: that every row which is not
// refused has tests, that they exist, and that no method is left out.
func TestConformanceTable(t *testing.T) {
	known := knownTests(t)
	var named []string
	for _, f := range features(t) {
		switch f.status {
		case "yes", "differs":
			if len(f.tests) == 0 {
				t.Errorf("no test: %s", f.line)
			}
		case "540":
			if len(f.names) != 1 {
				t.Errorf("refused, and not one name: %s", f.line)
			}
		default:
			t.Errorf("status %q: %s", f.status, f.line)
		}
		for _, name := range f.tests {
			if !known[name] {
				t.Errorf("test %q does not exist: %s", name, f.line)
			}
		}
		named = append(named, f.names...)
	}
	for class := range 100 {
		for method := range 130 {
			name := wire.MethodID(class<<16 | method).String()
			if !strings.HasPrefix(name, "method ") && !slices.Contains(named, name) {
				t.Errorf("method %s has no row", name)
			}
		}
	}
}

// TestRefusedFeatures asks for everything that docs/amqp.md calls refused.
func TestRefusedFeatures(t *testing.T) {
	h := newHarness(t)
	for _, f := range features(t) {
		if f.status != "540" {
			continue
		}
		argument := f.names[0]
		if !strings.Contains(argument, "=") {
			argument += "=1"
		}
		var frames [][]string
		switch f.section {
		case "Queue arguments":
			frames = [][]string{{"1", "queue.declare", "Queue=r", "Durable", argument}}
		case "Exchange types":
			frames = [][]string{{"1", "exchange.declare", "Exchange=r", "Type=" + f.names[0], "x-delayed-type=direct"}}
		case "Message headers":
			frames = [][]string{{"1", "basic.publish", "RoutingKey=q"}, {"1", "content", argument}}
		case "Consumer arguments":
			frames = [][]string{{"1", "queue.declare", "Queue=q", "NoWait"}, {"1", "basic.consume", "Queue=q", argument}}
		default:
			t.Errorf("section %q has no refusals to ask for: %s", f.section, f.line)
			continue
		}
		r := h.dial()
		r.login("guest")
		for _, words := range frames {
			r.write(encode(t, words))
		}
		if got := r.describe(); !strings.HasPrefix(got, "0 connection.close ReplyCode=540 ReplyText=NOT_IMPLEMENTED - ") {
			t.Errorf("%s: got %s, want 540", f.names[0], got)
		}
	}
}

// TestAMQPLAIN logs in with the mechanism of the first clients: a table without its length.
func TestAMQPLAIN(t *testing.T) {
	h := newHarness(t)
	for password, want := range map[string]string{
		"guest": "0 connection.tune ChannelMax=2047 FrameMax=131072 Heartbeat=60",
		"wrong": "0 connection.close ReplyCode=403 ReplyText=ACCESS_REFUSED - Login was refused using authentication" +
			" mechanism AMQPLAIN. For details see the broker logfile. FailingMethod=connection.start-ok",
	} {
		r := h.dial()
		r.write([]byte(wire.Protocol))
		expect[*wire.ConnectionStart](r)
		m := startOK("guest", password, "authentication_failure_close")
		m.Mechanism = "AMQPLAIN"
		m.Response = wire.EncodeTable([]wire.Field{{Name: "LOGIN", Value: "guest"}, {Name: "PASSWORD", Value: password}})
		r.send(0, m)
		if got := r.describe(); got != want {
			t.Errorf("password %s:\n got %s\nwant %s", password, got, want)
		}
	}
}
