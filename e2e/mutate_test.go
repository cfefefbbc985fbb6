package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// failedTest finds the tests that failed in the output of go test.
var failedTest = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

// TestTheSuiteSeesMutations switches one known bug on at a time and demands
// that the suite fails. It takes minutes, so it must be asked for.
func TestTheSuiteSeesMutations(t *testing.T) {
	if os.Getenv("TIDEGATE_E2E_MUTATIONS") != "1" {
		t.Skip("SKIPPED: TIDEGATE_E2E_MUTATIONS=1 builds the engine with known bugs")
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			if m.in == "e2e" {
				needsRealFaults(t)
			}
			out, err := m.test(t)
			caught := failedTest.FindAllSubmatch(out, -1)
			switch {
			case err == nil:
				t.Errorf("%s: the suite did not see that bug", m.name)
			case len(caught) == 0 && !bytes.Contains(out, []byte("panic: ")):
				t.Errorf("%s: the tests did not run: %v\n%s", m.name, err, out)
			default:
				t.Logf("%s: seen by %s of %s", m.name, names(caught), m.in)
			}
		})
	}
}

// TestMutationsHaveTheirPlace tells as soon as code has moved away from under a
// mutation.
func TestMutationsHaveTheirPlace(t *testing.T) {
	for _, m := range mutations {
		text, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(m.file)))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			t.Errorf("%s: %s has %d places for it, want 1: mutations_test.go has to follow the code", m.name, m.file, n)
		}
	}
}

// names joins what failedTest has found.
func names(found [][][]byte) string {
	var all []string
	for _, f := range found {
		all = append(all, string(f[1]))
	}
	if all == nil {
		return "a panic"
	}
	return strings.Join(all, ", ")
}

// test runs the tests with the bug; an error is what should be.
func (m *mutation) test(t *testing.T) ([]byte, error) {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(root, filepath.FromSlash(m.file))
	text, err := os.ReadFile(original)
	if err != nil {
		t.Fatal(err)
	}
	mutated := filepath.Join(t.TempDir(), "mutated.go")
	if err := os.WriteFile(mutated, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {original: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "-failfast", "-vet=off", "-timeout=2m",
		"-run="+m.run, "./"+m.in)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOFLAGS=-overlay="+file) // also for a binary that the tests build
	return cmd.CombinedOutput()
}
