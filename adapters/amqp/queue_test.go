package amqp_test

import (
	"regexp"
	"strings"
	"testing"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// TestNamePrefix has the server make names of queues with a prefix.
func TestNamePrefix(t *testing.T) {
	h := newHarness(t)
	conn := h.connect()
	made := map[string]bool{}
	for range 3 {
		q, err := openChannel(t, conn).QueueDeclare("", false, false, true, false, amqp091.Table{"x-name-prefix": "answers.of-a"})
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^answers\.of-a-[A-Za-z0-9_-]{22}$`).MatchString(q.Name) || made[q.Name] {
			t.Errorf("got name %q, made before: %v", q.Name, made)
		}
		made[q.Name] = true
	}
	q, err := openChannel(t, conn).QueueDeclare("named", false, false, true, false, amqp091.Table{"x-name-prefix": "answers"})
	if err != nil || q.Name != "named" {
		t.Errorf("a queue with a name: got %q, %v", q.Name, err)
	}
	for _, tc := range []struct {
		prefix any
		code   int
		text   string
	}{
		{int32(5), 406, "invalid arg 'x-name-prefix' for queue '' in vhost '/': {unacceptable_type,signedint}"},
		{strings.Repeat("a", 65), 406, "{max_length_exceeded,65}"},
		{"amq.mine", 403, "contains reserved prefix 'amq.*'"},
	} {
		_, err := openChannel(t, conn).QueueDeclare("", false, false, true, false, amqp091.Table{"x-name-prefix": tc.prefix})
		if !isCode(err, tc.code) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("prefix %v: got %v, want %d %s", tc.prefix, err, tc.code, tc.text)
		}
	}
}
