package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// served is a broker that runs in this process.
type served struct {
	readyFile
	data, file     string
	stdout, stderr bytes.Buffer // to be read after stop
	stop           func() error
}

// serve runs the broker on free ports until the test ends or stop is called.
func serve(t *testing.T, data string, args ...string) *served {
	t.Helper()
	s := &served{data: data, file: filepath.Join(t.TempDir(), "ready.json")}
	args = append([]string{
		"serve", "--data", data, "--ready-file", s.file, "--mqtt", "127.0.0.1:0", "--mqtt", "127.0.0.1:0",
		"--mqtt-ws", "127.0.0.1:0", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0",
	}, args...)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = run(ctx, args, &s.stdout, &s.stderr)
	}()
	s.stop = func() error {
		cancel()
		<-done
		return err
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("serve: %v\n%s", err, s.stderr.String())
		}
	})
	text := s.await(t, done)
	if err := json.Unmarshal(text, &s.readyFile); err != nil {
		t.Fatalf("ready file %q: %v", text, err)
	}
	return s
}

// await returns the ready file once it is there.
func (s *served) await(t *testing.T, done <-chan struct{}) []byte {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		text, err := os.ReadFile(s.file)
		if err == nil {
			return text
		}
		select {
		case <-done:
			t.Fatalf("serve ended before it was ready:\n%s", s.stderr.String())
		case <-t.Context().Done():
			t.Fatal("not ready in time")
		case <-poll.C:
		}
	}
}

// status asks the HTTP side.
func (s *served) status(t *testing.T, path, user, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.HTTP+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func TestServe(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"))
	for name, addr := range map[string]string{"mqtt": s.MQTT, "mqtt_ws": s.MQTTWS, "amqp": s.AMQP, "http": s.HTTP} {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Errorf("%s at %q: %v", name, addr, err)
			continue
		}
		_ = conn.Close()
	}
	if s.PID != os.Getpid() {
		t.Errorf("pid is %d, want %d", s.PID, os.Getpid())
	}
	if got := s.status(t, "/readyz", "", ""); got != http.StatusOK {
		t.Errorf("readyz: %d", got)
	}
	if got := s.status(t, "/debug/pprof/cmdline", "guest", "guest"); got != http.StatusOK {
		t.Errorf("guest is no administrator: %d", got)
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"health", "--ready-file", s.file}, &out, &out); err != nil || out.String() != "ready\n" {
		t.Errorf("health: got %q, %v", out.String(), err)
	}
	if err := run(t.Context(), []string{"health", "--http", s.HTTP}, &out, &out); err != nil {
		t.Errorf("health by address: %v", err)
	}
	refusesSecond(t, s)

	if err := s.stop(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if _, err := os.Stat(s.file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ready file after the stop: %v, want none", err)
	}
	if err := run(t.Context(), []string{"health", "--http", s.HTTP}, &out, &out); err == nil || exitCode(err) != exitFailed {
		t.Errorf("health of a stopped broker: got %v, want a failure", err)
	}
	for _, want := range []string{"mqtt://" + s.MQTT + "  mqtt://", "ws://" + s.MQTTWS + "/mqtt", "amqp://" + s.AMQP, "http://" + s.HTTP, "guest / guest"} {
		if !strings.Contains(s.stdout.String(), want) {
			t.Errorf("the banner lacks %q:\n%s", want, s.stdout.String())
		}
	}
}

// refusesSecond starts a second broker on the same data.
func refusesSecond(t *testing.T, s *served) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), []string{"serve", "--data", s.data, "--http", "127.0.0.1:0"}, &out, &out)
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second broker on the same data: got %v, want that it is in use", err)
	}
}

func TestFirstUser(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	t.Setenv("TIDEGATE_DEFAULT_USER", "boss")
	t.Setenv("TIDEGATE_DEFAULT_PASS", "tide")
	s := serve(t, data)
	if got := s.status(t, "/debug/pprof/cmdline", "boss", "tide"); got != http.StatusOK {
		t.Errorf("the first user: %d, want 200", got)
	}
	if got := s.status(t, "/debug/pprof/cmdline", "guest", "guest"); got != http.StatusUnauthorized {
		t.Errorf("guest beside another first user: %d, want 401", got)
	}
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(s.stdout.String(), "guest") || strings.Contains(s.stderr.String(), "tide\"") {
		t.Errorf("the banner speaks of guest, or the log of the password:\n%s%s", s.stdout.String(), s.stderr.String())
	}

	// Only the first start makes a user.
	t.Setenv("TIDEGATE_DEFAULT_PASS", "other")
	s = serve(t, data)
	if got := s.status(t, "/debug/pprof/cmdline", "boss", "other"); got != http.StatusUnauthorized {
		t.Errorf("another default password after the first start: %d, want 401", got)
	}
	if got := s.status(t, "/debug/pprof/cmdline", "boss", "tide"); got != http.StatusOK {
		t.Errorf("the first password after a restart: %d, want 200", got)
	}
}

func TestStopWhileStarting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	err := run(ctx, []string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--http", "127.0.0.1:0"}, &out, &out)
	if err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
}

func TestAddressInUse(t *testing.T) {
	s := serve(t, filepath.Join(t.TempDir(), "data"))
	var out bytes.Buffer
	err := run(t.Context(), []string{
		"serve", "--data", filepath.Join(t.TempDir(), "other"), "--mqtt", s.MQTT, "--mqtt-ws", "127.0.0.1:0",
		"--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0",
	}, &out, &out)
	if err == nil || exitCode(err) != exitFailed || !strings.Contains(err.Error(), "listen for mqtt") {
		t.Errorf("got %v, want a failure to listen", err)
	}
}

func TestCommandLine(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		want int
		out  string
	}{
		"help":           {[]string{"--help"}, exitOK, "serve"},
		"help of serve":  {[]string{"serve", "--help"}, exitOK, "--ready-file"},
		"version":        {[]string{"version"}, exitOK, "tidegate "},
		"no command":     {nil, exitUsage, ""},
		"no such thing":  {[]string{"sreve"}, exitUsage, ""},
		"no such flag":   {[]string{"serve", "--port", "1"}, exitUsage, ""},
		"bad address":    {[]string{"serve", "--mqtt", "here"}, exitUsage, ""},
		"port of health": {[]string{"health", "--http", "127.0.0.1:0"}, exitUsage, ""},
		"no ready file":  {[]string{"health", "--ready-file", "/does/not/exist"}, exitFailed, ""},
		"config missing": {[]string{"config", "print", "--config", "/does/not/exist"}, exitUsage, ""},
	} {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), tc.args, &stdout, &stderr)
		got := exitOK
		if err != nil {
			got = exitCode(err)
		}
		if got != tc.want || !strings.Contains(stdout.String(), tc.out) {
			t.Errorf("%s: exit code %d (%v), output %q; want %d and %q", name, got, err, stdout.String(), tc.want, tc.out)
		}
	}
}

func TestReachable(t *testing.T) {
	for addr, want := range map[string]string{
		"0.0.0.0:15672": "127.0.0.1:15672", ":15672": "127.0.0.1:15672", "[::]:15672": "[::1]:15672",
		"192.0.2.1:80": "192.0.2.1:80", "localhost:80": "localhost:80",
	} {
		if got, err := reachable(addr); err != nil || got != want {
			t.Errorf("reachable(%s) = %s, %v; want %s", addr, got, err, want)
		}
	}
}
