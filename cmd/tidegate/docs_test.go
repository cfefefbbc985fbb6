package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/metadata"
)

// flagOf names the flags that set a setting.
var flagOf = map[string]string{
	"data": "--data", "log_level": "--log-level", "core.shards": "--shards",
	"listen.mqtt": "--mqtt", "listen.mqtt_ws": "--mqtt-ws", "listen.amqp": "--amqp", "listen.http": "--http",
	"metadata.etcd_endpoints": "--etcd-endpoints",
}

// TestConfigurationDocument compares docs/configuration.md with the structs:
// each setting has one row with its variable, flag, default and meaning.
func TestConfigurationDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells[4]) < 10 {
			t.Errorf("%s has no meaning in words", cells[0])
		}
		got = append(got, strings.Join(cells[:4], " | "))
	}
	var want []string
	cfg := defaultConfig()
	for _, s := range settingsOf(&cfg) {
		want = append(want, strings.Join([]string{"`" + s.key + "`", "`" + s.env() + "`", code(flagOf[s.key]), code(s.text())}, " | "))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/configuration.md and the structs differ (-structs +document):\n%s", diff)
	}
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// text is the value as the environment would give it.
func (s setting) text() string {
	switch v := s.value.Interface().(type) {
	case []string:
		return strings.Join(v, ",")
	case time.Duration:
		return shortDuration(v)
	case metadata.Secret:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// shortDuration writes 1m for 1m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
