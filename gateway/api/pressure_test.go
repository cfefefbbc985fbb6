package api_test

import (
	"strings"
	"testing"
)

// TestPressureMarks changes the marks of a broker and sees its alarms.
func TestPressureMarks(t *testing.T) {
	w := newWorld(t)
	for _, s := range []struct {
		status             int
		method, path, body string
		contains           string
	}{
		{200, "GET", "pressure", "", `"memory_high_percent":60`},
		{400, "PUT", "pressure", `{"memory_high_percent":101}`, "pressure.memory_high_percent must be 0 to 100"},
		{400, "PUT", "pressure", `{"memory_high_bytes":-1}`, "pressure.memory_high_bytes must not be negative"},
		{200, "GET", "health/checks/alarms", "", `"ok"`},
		{204, "PUT", "pressure", `{"memory_high_bytes":50000000}`, ""},
		{200, "GET", "pressure", "", `"memory_high_bytes":50000000`},
		{200, "GET", "pressure", "", `"reason":"low on memory"`},
		{503, "GET", "health/checks/alarms", "", `"resource":"memory"`},
		{204, "PUT", "pressure", `{"memory_high_percent":0,"memory_high_bytes":0}`, ""},
		{200, "GET", "pressure", "", `"memory_alarm":false`},
		{200, "GET", "health/checks/alarms", "", `"ok"`},
	} {
		if got := w.want(s.status, s.method, s.path, s.body); !strings.Contains(got.text, s.contains) {
			t.Errorf("%s %s: got %s, want %q in it", s.method, s.path, got.text, s.contains)
		}
	}
}
