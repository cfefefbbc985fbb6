package queue_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// The scripts in testdata are stories of a queue and its consumers. Each line is
// an event; what it hands out follows, per consumer and by name, behind "->":
//
//	add a priority=5 prefetch=2
//	append 3          -> a 0 1
//	ack a 0           -> a 2
//
// "append 2 at 5" appends messages of priority 5, which are named 5:0 and 5:1, and
// "mark 5 1" has those of priority 5 from 5:1 on wait for their mark.
// Whatever is handed out is fetched at once. "share single" sets how the
// consumers share the queue, "remove a" detaches one, "requeue a 1" gives a
// message back, "serves" lists who is served, and "keep 5" drops what waits
// beyond 5 from now on, told as "-" and the messages.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for story := range strings.SplitSeq(string(text), "\n== ") {
			title, lines, _ := strings.Cut(story, "\n")
			t.Run(strings.TrimPrefix(title, "== "), func(t *testing.T) {
				s := stage{t: t, q: new(queue.Queue), named: map[string]*queue.Consumer{}, above: map[uint8]*queue.Source{}}
				for line := range strings.SplitSeq(lines, "\n") {
					s.line(line)
				}
			})
		}
	}
}

// stage is a queue that a script plays on.
type stage struct {
	t     *testing.T
	q     *queue.Queue
	names []string // in the order of their coming
	named map[string]*queue.Consumer
	end   record.Offset
	most  *uint64 // keep
	above map[uint8]*queue.Source
}

var sharings = map[string]queue.Sharing{
	"shared": queue.Shared, "single": queue.Single, "single-by-priority": queue.SingleByPriority,
}

func (s *stage) line(line string) {
	event, want, _ := strings.Cut(line, "->")
	words := strings.Fields(event)
	if len(words) == 0 || strings.HasPrefix(line, "#") {
		return
	}
	got := s.play(words)
	if diff := cmp.Diff(strings.Join(strings.Fields(want), " "), got); diff != "" {
		s.t.Fatalf("%s\nwant (-), got (+):\n%s", line, diff)
	}
}

func (s *stage) play(words []string) string {
	s.t.Helper()
	switch words[0] {
	case "share":
		s.q.Share(sharings[words[1]])
	case "add":
		s.add(words[1], words[2:])
	case "remove":
		if !s.q.Remove(s.named[words[1]]) || s.q.Remove(s.named[words[1]]) {
			s.t.Fatalf("%q: the consumer is not removed once", words)
		}
	case "keep":
		most := uint64(s.number(words[1]))
		s.most = &most
	case "append":
		if len(words) == 4 {
			s.priority(uint8(s.number(words[3]))).End += record.Offset(s.number(words[1]))
			break
		}
		s.end += record.Offset(s.number(words[1]))
	case "mark":
		s.priority(uint8(s.number(words[1]))).Limit = record.Offset(s.number(words[2]))
	case "ack", "requeue":
		c := s.named[words[1]]
		for _, w := range words[2:] {
			o, settle := s.offset(w), s.q.Done
			if words[0] == "requeue" {
				settle = s.q.GiveBack
			}
			if !settle(c, o) {
				s.t.Fatalf("%q: message %d was not in flight", words, o)
			}
		}
	case "serves":
		var serves []string
		for _, name := range s.names {
			if s.q.Serves(s.named[name]) {
				serves = append(serves, name)
			}
		}
		return strings.Join(serves, " ")
	default:
		s.t.Fatalf("unknown event %q", words)
	}
	return s.dispatch()
}

func (s *stage) number(word string) int64 {
	s.t.Helper()
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// priority returns the messages of a priority above 0.
func (s *stage) priority(n uint8) *queue.Source {
	if s.above[n] == nil {
		s.above[n] = &queue.Source{Priority: n, Cursor: new(queue.Cursor), Limit: noLimit}
		s.q.SetPriority(n, s.above[n].Cursor)
	}
	return s.above[n]
}

// offset reads the name of a message.
func (s *stage) offset(name string) record.Offset {
	s.t.Helper()
	priority, in, above := strings.Cut(name, ":")
	if !above {
		return record.Offset(s.number(name))
	}
	return queue.WithPriority(record.Offset(s.number(in)), uint8(s.number(priority)))
}

// nameOf is the name of a message.
func nameOf(o record.Offset) string {
	in, priority := queue.SplitPriority(o)
	if priority == 0 {
		return fmt.Sprint(in)
	}
	return fmt.Sprintf("%d:%d", priority, in)
}

func (s *stage) add(name string, options []string) {
	var priority int64
	var limits []*queue.Limit
	for _, option := range options {
		switch what, value, _ := strings.Cut(option, "="); what {
		case "priority":
			priority = s.number(value)
		case "prefetch":
			limits = append(limits, queue.NewLimit(uint32(s.number(value))))
		}
	}
	s.named[name] = queue.NewConsumer(limits, priority, name)
	s.names = append(s.names, name)
	s.q.Add(s.named[name])
}

// dispatch hands out what can be, and tells who got what.
func (s *stage) dispatch() string {
	if len(s.above) == 0 {
		s.q.Dispatch(s.end, noLimit, nil)
	} else {
		var sources []queue.Source
		for _, n := range slices.Backward(slices.Sorted(maps.Keys(s.above))) {
			sources = append(sources, *s.above[n])
		}
		var woken []*queue.Consumer
		all := s.q.Consumers() > 0
		for _, from := range append(sources, queue.Source{Cursor: &s.q.Cursor, End: s.end, Limit: noLimit}) {
			if !all {
				break
			}
			woken, all = s.q.DispatchFrom(from, woken)
		}
		s.q.EndDispatch(woken)
	}
	var got []string
	for _, name := range s.names {
		items := s.q.Fetch(s.named[name], nil, 1000)
		if len(items) > 0 {
			got = append(got, name)
		}
		for _, it := range items {
			mark := ""
			if it.Redelivered {
				mark = "!"
			}
			got = append(got, nameOf(it.Offset)+mark)
		}
	}
	if s.most != nil {
		var dropped []string
		n := s.q.Shorten(s.end, &queue.Bounds{Limited: true, Length: *s.most}, func(o record.Offset) bool {
			dropped = append(dropped, fmt.Sprint(o))
			return s.q.Settle(o)
		})
		if int(n) != len(dropped) || s.q.Ready(s.end) > *s.most {
			s.t.Errorf("dropped %d, told of %v; %d wait", n, dropped, s.q.Ready(s.end))
		}
		if n > 0 {
			got = append(append(got, "-"), dropped...)
		}
	}
	return strings.Join(got, " ")
}
