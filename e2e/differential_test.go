package e2e

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestStories tells every story to Tidegate, whose answers have to be those that
// RabbitMQ gave, but for the differences that the stories and docs/amqp.md state.
func TestStories(t *testing.T) {
	needsCrash(t)
	b := startBroker(t, 1)
	with := contender{side: "T", amqp: b.AMQP, http: b.HTTP}
	list := readStories(t)
	operations := 0
	for _, s := range list {
		reason, listed := notYet[s.name()]
		wait := patience
		if listed {
			wait = time.Second // nobody counts on an answer
		} else {
			operations++
		}
		t.Run(s.name(), func(t *testing.T) {
			err := with.tell(t, s, wait)
			with.sweep(t, s)
			switch {
			case err == nil && listed:
				t.Errorf("answers as RabbitMQ now, and is listed as one that does not: %s", reason)
			case err != nil && !listed:
				t.Error(err)
			}
		})
	}
	if operations < 80 {
		t.Errorf("%d operations are compared, want at least 80", operations)
	}
	for name := range notYet {
		if !slices.ContainsFunc(list, func(s *story) bool { return s.name() == name }) {
			t.Errorf("%s is listed, and is no story", name)
		}
	}
}

// TestStoriesOfRabbitMQ tells every story to RabbitMQ from Debian: what the stories
// say of it has to be so.
func TestStoriesOfRabbitMQ(t *testing.T) {
	with := startRabbitMQ(t)
	for _, s := range readStories(t) {
		t.Run(s.name(), func(t *testing.T) {
			err := with.tell(t, s, patience)
			with.sweep(t, s)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// tell has the conversation of a story, and returns the first answer that is not
// the story's.
func (with contender) tell(t *testing.T, s *story, wait time.Duration) error {
	t.Helper()
	if !s.recorded() {
		return errors.New("no answers of RabbitMQ: set TIDEGATE_E2E_RECORD=1 to have them recorded")
	}
	c := converse(t, with, wait)
	defer c.end()
	for i, text := range s.lines {
		want, isAnswer := answerOf(text, with.side)
		_, ofOther := answerOf(text, "RT")
		switch {
		case isAnswer && i > 0 && strings.HasPrefix(s.lines[i-1], "~"):
			if err := c.repeat(s.lines[i-1], want); err != nil {
				return err
			}
		case isAnswer:
			if got := c.answer(wait); !matches(want, got) {
				return fmt.Errorf("want (-), got (+):\n%s", cmp.Diff(want, got))
			}
		case ofOther, notSaid(text), strings.HasPrefix(text, "~"):
		default:
			if err := c.do(text); err != nil {
				return err
			}
		}
	}
	if more := c.end(); more != nil {
		return fmt.Errorf("more answers: %q", more)
	}
	return nil
}

// matches compares an answer with the story's, which may be a prefix. Quotes
// around a word are no part of it.
func matches(want, got string) bool {
	bare := strings.NewReplacer(`"`, "").Replace
	want, got = bare(want), bare(got)
	if prefix, rest, ok := strings.Cut(want, "*"); ok {
		return strings.HasPrefix(got, prefix) && strings.HasSuffix(got, rest)
	}
	return want == got
}

// TestDifferencesAreDocumented holds docs/amqp.md to the differences that the
// stories have.
func TestDifferencesAreDocumented(t *testing.T) {
	var reasons []string
	cases := map[string][]string{}
	for _, s := range readStories(t) {
		reason := s.because()
		theirs, ours := s.firstAnswer("R"), s.firstAnswer("T")
		differs := theirs != ours
		if differs != (reason != "") {
			t.Errorf("%s: differs %t, because %q", s.name(), differs, reason)
		}
		if !differs {
			continue
		}
		if cases[reason] == nil {
			reasons = append(reasons, reason)
		}
		answers := brief(theirs) + " → " + brief(ours)
		if brief(theirs) == brief(ours) {
			answers = brief(ours) + " in other words"
		}
		cases[reason] = append(cases[reason], "`"+s.name()+"` "+answers)
	}
	want := make([]string, 0, len(reasons))
	for _, reason := range reasons {
		want = append(want, "| "+reason+" | "+strings.Join(cases[reason], ", ")+" |")
	}
	text, err := os.ReadFile("../docs/amqp.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "## Differences from RabbitMQ\n")
	if !ok {
		t.Fatal("docs/amqp.md has no differences from RabbitMQ")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	got := regexp.MustCompile("(?m)^\\| .*`.*$").FindAllString(section, -1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of docs/amqp.md has to be:\n%s\nwant (-), got (+):\n%s", strings.Join(want, "\n"), diff)
	}
}

var closing = regexp.MustCompile(`(channel|connection)\.close ReplyCode=(\d+)`)

// brief is an answer in a word or two: a reply code and what it closes, or the
// method.
func brief(answer string) string {
	if m := closing.FindStringSubmatch(answer); m != nil {
		return m[2] + " " + m[1]
	}
	words := strings.Fields(answer)
	return words[min(1, len(words)-1)]
}
