package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// outcome is what an answer is compared by: its status, what a refusal says, and of an
// object, or the first one of a list, the kinds of its members.
type outcome struct {
	Status int               `json:"status"`
	List   bool              `json:"list,omitempty"`
	Reason string            `json:"reason,omitempty"`
	Kinds  map[string]string `json:"kinds,omitempty"`
}

func readOutcome(status int, text []byte) outcome {
	o := outcome{Status: status}
	var whole any
	if json.Unmarshal(text, &whole) != nil {
		return o
	}
	if list, is := whole.([]any); is {
		if o.List = true; len(list) == 0 {
			return o
		}
		whole = list[0]
	}
	members, is := whole.(map[string]any)
	if !is {
		return o
	}
	if status >= http.StatusBadRequest {
		o.Reason = fmt.Sprint(members["reason"])
		return o
	}
	o.Kinds = map[string]string{}
	for name, value := range members {
		o.Kinds[name] = kindOf(value)
	}
	return o
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case string:
		return "string"
	case float64:
		return "number"
	case []any:
		return "list"
	}
	return "object"
}

// differs tells how an answer is another than RabbitMQ's. Members that are missing are
// the business of TestKeysOfRabbitMQ.
func (o outcome) differs(from outcome) string {
	switch {
	case o.Status != from.Status:
		return fmt.Sprintf("status %d, RabbitMQ %d", o.Status, from.Status)
	case o.List != from.List:
		return fmt.Sprintf("list is %v, RabbitMQ %v", o.List, from.List)
	case o.Reason != from.Reason:
		return fmt.Sprintf("reason %q, RabbitMQ %q", o.Reason, from.Reason)
	}
	var wrong []string
	for name, kind := range o.Kinds {
		if theirs := from.Kinds[name]; theirs != "" && theirs != kind {
			wrong = append(wrong, fmt.Sprintf("%s is %s, RabbitMQ %s", name, kind, theirs))
		}
	}
	slices.Sort(wrong)
	return strings.Join(wrong, ", ")
}

// steps are the requests that are compared: user, method, path and body.
func steps(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "steps.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return line == "" || strings.HasPrefix(line, "#")
	})
}

// ask sends the requests, each but its first word, which is the user; admin stands for
// the administrator.
func ask(t *testing.T, api, admin, node string, lines []string) []outcome {
	t.Helper()
	defer http.DefaultClient.CloseIdleConnections()
	var all []outcome
	for _, line := range lines {
		part := strings.SplitN(line, " ", 4)
		user, body := part[0], ""
		if user == "admin" {
			user = admin
		}
		if len(part) > 3 {
			body = part[3]
		}
		path := strings.ReplaceAll(part[2], "{node}", node)
		req, err := http.NewRequestWithContext(t.Context(), part[1], "http://"+api+"/api/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		req.SetBasicAuth(user, user)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, readOutcome(resp.StatusCode, text))
	}
	return all
}

// TestAnswersOfRabbitMQ sends some hundred good and bad requests to all routes, and compares
// the answers with those that RabbitMQ gave. Those that differ are listed with how and
// why, so that neither list can go stale.
func TestAnswersOfRabbitMQ(t *testing.T) {
	lines := steps(t)
	file := filepath.Join("testdata", "rabbitmq_answers.json")
	if *recordHTTP != "" {
		var overview struct{ Node string }
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+*recordHTTP+"/api/overview", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("guest", "guest")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&overview); err != nil {
			t.Fatal(err)
		}
		recorded := map[string]outcome{}
		for i, o := range ask(t, *recordHTTP, "guest", overview.Node, lines) {
			recorded[numbered(i, lines)] = o
		}
		writeJSON(t, file, recorded)
		return
	}
	var recorded map[string]outcome
	readJSON(t, file, &recorded)
	var known map[string][2]string // how, and why
	readJSON(t, filepath.Join("testdata", "answers_differ.json"), &known)
	w := newWorld(t)
	for i, got := range ask(t, w.http, "boss", "node", lines) {
		line := numbered(i, lines)
		theirs, there := recorded[line]
		if !there {
			t.Errorf("%s: not recorded", line)
			continue
		}
		if how := got.differs(theirs); how != known[line][0] {
			t.Errorf("%s: got %s; known is %q", line, how, known[line][0])
		}
		delete(known, line)
	}
	for line := range known {
		t.Errorf("answers_differ.json has %s, which is no step", line)
	}
}

// numbered tells apart the steps that are the same.
func numbered(i int, lines []string) string {
	n := 1
	for _, before := range lines[:i] {
		if before == lines[i] {
			n++
		}
	}
	if n == 1 {
		return lines[i]
	}
	return fmt.Sprintf("%s #%d", lines[i], n)
}

func readJSON(t *testing.T, file string, to any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func writeJSON(t *testing.T, file string, v any) {
	t.Helper()
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
