package e2e

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// clientModule is the AMQP client whose own integration tests are run.
const clientModule = "github.com/rabbitmq/amqp091-go"

// notPassing are the client's integration tests that do not pass, with the
// reason. One that passes has to leave the list.
var notPassing = map[string]string{}

// TestIntegrationSuiteOfTheGoClient runs the integration tests that amqp091-go
// has for itself against a broker, those that recover connections which the
// management API closed among them.
func TestIntegrationSuiteOfTheGoClient(t *testing.T) {
	if os.Getenv("TIDEGATE_E2E_CLIENT_SUITE") != "1" {
		t.Skip("takes two minutes; set TIDEGATE_E2E_CLIENT_SUITE=1")
	}
	b := startBroker(t, 1)
	b.needsAMQP()
	dir, names := clientSuite(t, b.HTTP)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-tags", "integration", "-count", "1", "-v", "-timeout", "4m",
		"-run", "^("+strings.Join(names, "|")+")$", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "AMQP_URL=amqp://guest:guest@"+b.AMQP+"/", "GOFLAGS=-mod=mod", "GOWORK=off",
		"RABBITMQ_RABBITMQCTL_PATH="+b.rabbitmqctl())
	out, err := cmd.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Fatalf("run the suite: %v", err)
	}
	results := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP): (\w+)`).FindAllStringSubmatch(string(out), -1) {
		results[m[2]] = m[1]
	}
	passed := 0
	for _, name := range names {
		reason, listed := notPassing[name]
		switch result := results[name]; {
		case result == "PASS" && listed:
			t.Errorf("%s passes now, and is listed as one that can't: %s", name, reason)
		case result == "PASS":
			passed++
		case !listed:
			t.Errorf("%s: got %q, want PASS", name, result)
		}
	}
	for name := range notPassing {
		if !slices.Contains(names, name) {
			t.Errorf("%s is listed, and is no test of the suite", name)
		}
	}
	t.Logf("%d of %d tests passed, %d are known not to", passed, len(names), len(notPassing))
	if t.Failed() {
		t.Logf("end of the output:\n%s", out[max(0, len(out)-20_000):])
	}
}

// rabbitmqctl writes a program for the one command of rabbitmqctl that the suite
// calls: it sets the share of the memory from which on the broker has publishers
// wait. So the alarm of the suite is a true one.
func (b *broker) rabbitmqctl() string {
	b.t.Helper()
	tidegate, err := builtBinary()
	if err != nil {
		b.t.Fatal(err)
	}
	script := `#!/bin/sh
[ "$1" = set_vm_memory_high_watermark ] || { echo "unknown command: $1" >&2; exit 64; }
bytes=$(awk -v share="$2" '$1 == "MemTotal:" { printf "%d", share * $2 * 1024 }' /proc/meminfo)
exec '` + tidegate + `' pressure set --url 'http://` + b.HTTP + `' --memory-high-bytes "$bytes"
`
	path := filepath.Join(b.t.TempDir(), "rabbitmqctl")
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		b.t.Fatal(err)
	}
	return path
}

// clientSuite copies the client's module, has the copy ask the management API at
// the address, and returns its folder and the names of its integration tests.
func clientSuite(t *testing.T, management string) (dir string, names []string) {
	t.Helper()
	source, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", clientModule).Output()
	if err != nil {
		t.Fatalf("find %s: %v", clientModule, err)
	}
	dir = filepath.Join(t.TempDir(), "client")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSpace(string(source)))); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		return os.Chmod(path, 0o755) // the module cache is read-only
	}); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(management)
	if err != nil {
		t.Fatal(err)
	}
	rewriteFile(t, filepath.Join(dir, "internal", "utils", "http.go"),
		"localhost:15672", management, `"http://localhost:"`, `"http://127.0.0.1:"`)
	rewriteFile(t, filepath.Join(dir, "recovery_test.go"), `"15672"`, `"`+port+`"`)
	tests := regexp.MustCompile(`(?m)^func (Test\w+)\(\w+ \*testing\.T\)`)
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\n//go:build integration\n") {
			continue
		}
		for _, m := range tests.FindAllStringSubmatch(string(text), -1) {
			names = append(names, m[1])
		}
	}
	if len(names) < 90 {
		t.Fatalf("found %d integration tests, want at least 90", len(names))
	}
	return dir, names
}

// rewriteFile replaces texts that must be in the file.
func rewriteFile(t *testing.T, path string, oldnew ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(text), oldnew[i]) {
			t.Fatalf("%s does not have %q any more", path, oldnew[i])
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.NewReplacer(oldnew...).Replace(string(text))), 0o644); err != nil {
		t.Fatal(err)
	}
}
