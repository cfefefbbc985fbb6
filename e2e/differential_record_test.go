package e2e

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestRecordStories asks both brokers for the answers of stories that have none,
// and writes them into the files: only those lines have to be written that are
// said. It is no test, but what makes them.
func TestRecordStories(t *testing.T) {
	if os.Getenv("TIDEGATE_E2E_RECORD") != "1" {
		t.Skip("writes answers into new stories; set TIDEGATE_E2E_RECORD=1")
	}
	rabbit, b := startRabbitMQ(t), startBroker(t, 1)
	tidegate := contender{side: "T", amqp: b.AMQP, http: b.HTTP}
	for _, s := range readStories(t) {
		if s.recorded() {
			continue
		}
		old := strings.Join(s.lines, "\n")
		theirs := rabbit.listen(t, s)
		ours := theirs
		if _, listed := notYet[s.name()]; !listed {
			ours = tidegate.listen(t, s)
		}
		lines := s.lines[:0:0]
		for i, text := range s.lines {
			lines = append(lines, text)
			if slices.Equal(theirs[i], ours[i]) {
				lines = append(lines, marked("< ", ours[i])...)
			} else {
				lines = append(append(lines, marked("R ", theirs[i])...), marked("T ", ours[i])...)
			}
		}
		rewriteFile(t, stories+"/"+s.file+".txt", "== "+s.title+"\n"+old, "== "+s.title+"\n"+strings.Join(lines, "\n"))
	}
}

func marked(mark string, answers []string) []string {
	list := make([]string, 0, len(answers))
	for _, a := range answers {
		list = append(list, mark+a)
	}
	return list
}

// listen says every line of a story and notes what comes before it is quiet.
func (with contender) listen(t *testing.T, s *story) [][]string {
	t.Helper()
	answers := make([][]string, len(s.lines))
	c := converse(t, with, patience)
	for i, text := range s.lines {
		if _, isAnswer := answerOf(text, "RT"); isAnswer || notSaid(text) {
			continue
		}
		if strings.HasPrefix(text, "~") {
			if err := c.repeat(text, strings.TrimPrefix(s.lines[i+1], "< ")); err != nil {
				t.Fatalf("%s: %v", s.name(), err)
			}
			continue
		}
		if err := c.do(text); err != nil {
			t.Fatalf("%s: %s: %v", s.name(), text, err)
		}
		wait := 160 * time.Millisecond
		for c.current != nil || len(c.pending) > 0 {
			got := c.answer(wait)
			if got == "" {
				break
			}
			if n := len(answers[i]); got == "eof" && (n > 0 && answers[i][n-1] == "eof" || i > 0 && c.current.ended && c.quiet(answers[:i])) {
				break
			}
			answers[i] = append(answers[i], got)
			wait = 40 * time.Millisecond
			if got == "eof" {
				break
			}
		}
	}
	c.end()
	with.sweep(t, s)
	return answers
}

// quiet tells whether the end of the connection is known already.
func (c *conversation) quiet(before [][]string) bool {
	for _, list := range slices.Backward(before) {
		if len(list) > 0 {
			last := list[len(list)-1]
			return last == "eof" || strings.HasPrefix(last, "0 connection.close")
		}
	}
	return false
}
