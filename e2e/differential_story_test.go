package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stories is the folder of conversations that RabbitMQ has been asked to have.
const stories = "testdata/differential"

// A story is a conversation with a broker and the answers that RabbitMQ from
// Debian gave, in lines:
//
//	> 1 queue.declare Queue=q Durable    a frame for the broker, as package frametext writes it
//	~ 1 queue.declare Queue=q Passive    the same, again and again until the next answer comes
//	< 1 queue.declare-ok Queue=q         what both brokers answer
//	R 0 connection.close ReplyCode=503 … what RabbitMQ answers
//	T 1 channel.close ReplyCode=406 …    what Tidegate answers instead
//	because …                            why they differ: a line of docs/amqp.md
//	on b                                 the next lines are of connection b, a new one the first time
//	login c bob /other                   the same for another user or virtual host
//	connect d                            a connection that has not begun to speak
//	text …, raw …                        bytes for the broker, as text or hexadecimal digits
//	api PUT /api/vhosts/other {}         a request to the management API
//
// Connections begin with channel 1 open; the first is called a. An answer that
// ends in "*" is a prefix: RabbitMQ shows terms of Erlang there.
type story struct {
	file, title string
	lines       []string
}

func (s *story) name() string { return s.file + "/" + s.title }

// recorded tells whether the story has answers, beside those that are waited for.
func (s *story) recorded() bool {
	for i, line := range s.lines {
		if _, isAnswer := answerOf(line, "RT"); isAnswer && (i == 0 || !strings.HasPrefix(s.lines[i-1], "~")) {
			return true
		}
	}
	return false
}

// because is why the brokers differ, and "" when they do not.
func (s *story) because() string {
	for _, line := range s.lines {
		if reason, ok := strings.CutPrefix(line, "because "); ok {
			return reason
		}
	}
	return ""
}

// firstAnswer is the first answer that only one broker gives.
func (s *story) firstAnswer(side string) string {
	for _, line := range s.lines {
		if answer, ok := strings.CutPrefix(line, side+" "); ok {
			return answer
		}
	}
	return "nothing"
}

// answerOf returns the answer that a line has for a broker of the sides: "R", "T".
func answerOf(line, sides string) (answer string, ok bool) {
	side, answer, _ := strings.Cut(line, " ")
	return answer, side == "<" || len(side) == 1 && strings.Contains(sides, side)
}

// readStories reads every file of the folder.
func readStories(t *testing.T) []*story {
	t.Helper()
	files, err := filepath.Glob(stories + "/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var list []*story
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, part := range strings.Split("\n"+string(text), "\n== ") {
			if i == 0 {
				continue // what stands above the first story is a comment
			}
			lines := strings.Split(strings.TrimRight(part, "\n"), "\n")
			list = append(list, &story{strings.TrimSuffix(filepath.Base(file), ".txt"), lines[0], lines[1:]})
		}
	}
	return list
}

var declaration = regexp.MustCompile(`(queue|exchange)\.declare .*?\b(?:Queue|Exchange)=([^\s]+)`)

// declared lists the queues or exchanges that a story may leave behind.
func (s *story) declared(class string) []string {
	var names []string
	for _, m := range declaration.FindAllStringSubmatch(strings.Join(s.lines, "\n"), -1) {
		if m[1] == class && !strings.HasPrefix(m[2], "amq.") && !slices.Contains(names, m[2]) {
			names = append(names, m[2])
		}
	}
	return names
}
