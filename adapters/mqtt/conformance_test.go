package mqtt_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// statements5 and statements3 are how many statements each section of MQTT 5 and
// MQTT 3.1.1 numbers. 2.2.1-1 of MQTT 5 does not exist.
var statements5 = map[string]int{
	"1.5.4": 3, "1.5.5": 1, "1.5.7": 1, "2.1.3": 1, "2.2.1": 6, "2.2.2": 1, "3.1.0": 2, "3.1.2": 30, "3.1.3": 12,
	"3.1.4": 6, "3.2.0": 2, "3.2.2": 22, "3.3.1": 13, "3.3.2": 20, "3.3.4": 10, "3.4.2": 3, "3.5.2": 3, "3.6.1": 1,
	"3.6.2": 3, "3.7.2": 3, "3.8.1": 1, "3.8.3": 5, "3.8.4": 8, "3.9.2": 2, "3.9.3": 2, "3.10.1": 1, "3.10.3": 2,
	"3.10.4": 6, "3.11.2": 2, "3.11.3": 2, "3.12.4": 1, "3.14.0": 1, "3.14.1": 1, "3.14.2": 4, "3.14.4": 3, "3.15.1": 1,
	"3.15.2": 3, "4.1.0": 2, "4.2.0": 1, "4.3.1": 1, "4.3.2": 5, "4.3.3": 13, "4.4.0": 2, "4.5.0": 2, "4.6.0": 6,
	"4.7.0": 1, "4.7.1": 2, "4.7.2": 1, "4.7.3": 4, "4.8.2": 6, "4.9.0": 3, "4.12.0": 7, "4.12.1": 2, "4.13.1": 1,
	"4.13.2": 1, "6.0.0": 4,
}

var statements3 = map[string]int{
	"1.5.3": 3, "2.2.2": 2, "2.3.1": 7, "3.1.0": 2, "3.1.2": 24, "3.1.3": 11, "3.1.4": 5, "3.2.0": 1, "3.2.2": 6,
	"3.3.1": 12, "3.3.2": 3, "3.3.4": 1, "3.3.5": 2, "3.6.1": 1, "3.8.1": 1, "3.8.3": 4, "3.8.4": 6, "3.9.3": 2,
	"3.10.1": 1, "3.10.3": 2, "3.10.4": 6, "3.12.4": 1, "3.14.1": 1, "3.14.4": 3, "4.1.0": 2, "4.3.1": 1, "4.3.2": 2,
	"4.3.3": 2, "4.4.0": 1, "4.5.0": 2, "4.6.0": 6, "4.7.1": 3, "4.7.2": 1, "4.7.3": 4, "4.8.0": 2, "6.0.0": 4,
	"7.0.0": 2, "7.1.1": 1, "7.1.2": 1,
}

// numbers lists the statements of a specification.
func numbers(sections map[string]int) (list []string) {
	for section, n := range sections {
		for i := range n {
			list = append(list, fmt.Sprintf("%s-%d", section, i+1))
		}
	}
	slices.Sort(list)
	return slices.DeleteFunc(list, func(s string) bool { return s == "2.2.1-1" })
}

// conformance is what docs/mqtt.md says.
type conformance struct {
	named [2][]string // the statements of MQTT 5 and of 3.1.1
	rows  map[string][]string
}

var (
	backquoted = regexp.MustCompile("`([^`]+)`")
	numbered   = regexp.MustCompile(`\d+\.\d+\.\d+-\d+`)
)

func readConformance(t *testing.T) conformance {
	t.Helper()
	text, err := os.ReadFile("../../docs/mqtt.md")
	if err != nil {
		t.Fatal(err)
	}
	c := conformance{rows: map[string][]string{}}
	_, body, _ := strings.Cut(string(text), "\n## ")
	tables, clients, found := strings.Cut(body, "## Statements that bind clients alone")
	if !found {
		t.Fatal("no list of statements that bind clients")
	}
	for line := range strings.Lines(tables) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || !numbered.MatchString(cells[1]+cells[2]) {
			continue
		}
		for i := range c.named {
			c.named[i] = append(c.named[i], numbered.FindAllString(cells[i+1], -1)...)
		}
		c.rows[line] = []string{}
		for _, m := range backquoted.FindAllStringSubmatch(cells[4], -1) {
			c.rows[line] = append(c.rows[line], m[1])
		}
	}
	of5, of3, _ := strings.Cut(clients, "For 3.1.1:")
	c.named[0] = append(c.named[0], numbered.FindAllString(of5, -1)...)
	c.named[1] = append(c.named[1], numbered.FindAllString(of3, -1)...)
	return c
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
	for _, story := range stories(t) {
		known[story.name] = true
	}
	for _, tc := range malformedCases(t) {
		known["malformed/"+tc.name] = true
	}
	return known
}

// TestConformanceTable checks what docs/mqtt.md says: that each statement of both
// specifications is there once, and that every row has tests that exist.
func TestConformanceTable(t *testing.T) {
	c := readConformance(t)
	for i, sections := range []map[string]int{statements5, statements3} {
		got := slices.Sorted(slices.Values(c.named[i]))
		want := numbers(sections)
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("statement %s has no row", name)
			}
		}
		for at, name := range got {
			if at > 0 && got[at-1] == name {
				t.Errorf("statement %s is there twice", name)
			}
			if !slices.Contains(want, name) {
				t.Errorf("statement %s does not exist", name)
			}
		}
	}
	known := knownTests(t)
	for line, tests := range c.rows {
		if len(tests) == 0 {
			t.Errorf("no test: %s", line)
		}
		for _, name := range tests {
			if !known[name] {
				t.Errorf("test %q does not exist: %s", name, line)
			}
		}
	}
}
