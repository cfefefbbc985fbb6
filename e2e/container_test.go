package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestContainerBuild does what the Dockerfile has a builder do: it builds the binary from
// what .dockerignore lets through, alone, runs it with the image's environment, and holds
// the image's ports and commands against it. No container is run.
func TestContainerBuild(t *testing.T) {
	context := t.TempDir()
	n := copyContext(t, "..", context)
	if n < 100 {
		t.Fatalf("%d files reach the builder", n)
	}
	bin := filepath.Join(t.TempDir(), "tidegate")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-X main.version=v1.2.3", "-o", bin, "./cmd/tidegate")
	build.Dir = context
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	image := readDockerfile(t, "../Dockerfile")

	run := exec.CommandContext(t.Context(), bin, "config", "print")
	run.Env = append([]string{"HOME=" + t.TempDir()}, image.env...)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("with the image's environment: %v\n%s", err, out)
	}
	if len(image.env) == 0 || len(image.ports) == 0 {
		t.Fatalf("the Dockerfile has %d settings and %d ports", len(image.env), len(image.ports))
	}
	for _, port := range image.ports {
		if !strings.Contains(string(out), "0.0.0.0:"+port) {
			t.Errorf("port %s is exposed, and nothing listens there", port)
		}
	}
	for _, setting := range image.env {
		if _, value, _ := strings.Cut(setting, "="); !strings.Contains(string(out), value) {
			t.Errorf("%s changes nothing in the configuration:\n%s", setting, out)
		}
	}
	for _, command := range []string{"serve", "health"} {
		if !strings.Contains(image.text, `"`+command+`"`) {
			t.Errorf("the image does not run %s", command)
		}
		if out, err := exec.CommandContext(t.Context(), bin, command, "--help").CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", command, err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), bin, "version").Output(); err != nil || !strings.Contains(string(out), "v1.2.3") {
		t.Errorf("version: %s, %v, want that of the build argument", out, err)
	}
	module, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module); want == nil || !strings.Contains(image.text, "FROM golang:"+string(want[1])+"-") {
		t.Errorf("the builder's Go is not that of go.mod, %s", want)
	}
}

// dockerfile is what a Dockerfile says of the image.
type dockerfile struct {
	text       string
	env, ports []string
}

func readDockerfile(t *testing.T, name string) dockerfile {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	d := dockerfile{text: string(text)}
	for line := range strings.Lines(strings.ReplaceAll(d.text, "\\\n", " ")) {
		switch words := strings.Fields(line); {
		case len(words) == 0:
		case words[0] == "ENV":
			d.env = append(d.env, words[1:]...)
		case words[0] == "EXPOSE":
			d.ports = append(d.ports, words[1:]...)
		}
	}
	return d
}

// copyContext copies what reaches the builder, and returns how many files that is. It
// knows of the rules of a .dockerignore what ours has: the last that matches counts, a
// folder's holds for all in it, and **/ is any folder.
func copyContext(t *testing.T, from, to string) (files int) {
	t.Helper()
	f, err := os.Open(filepath.Join(from, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rules []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if rule := strings.TrimSpace(s.Text()); rule != "" && rule[0] != '#' {
			rules = append(rules, rule)
		}
	}
	tracked, err := exec.CommandContext(t.Context(), "git", "-C", from, "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Skipf("not in a working copy of git: %v", err)
	}
	for name := range strings.Lines(string(tracked)) {
		name = strings.TrimSpace(name)
		content, err := os.ReadFile(filepath.Join(from, name))
		if ignored(rules, name) || err != nil {
			continue
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(target, content, 0o600); err != nil {
			t.Fatal(err)
		}
		files++
	}
	return files
}

func ignored(rules []string, name string) (out bool) {
	for _, rule := range rules {
		pattern, kept := strings.CutPrefix(rule, "!")
		if ruleMatches(pattern, name) {
			out = !kept
		}
	}
	return out
}

// ruleMatches tells whether a pattern is of a file, or of a folder that it is in.
func ruleMatches(pattern, name string) bool {
	below, anywhere := strings.CutPrefix(pattern, "**/")
	levels := strings.Split(name, "/")
	for i := range levels {
		if ok, _ := path.Match(below, strings.Join(levels[:i+1], "/")); ok {
			return true
		}
		if ok, _ := path.Match(below, levels[i]); ok && anywhere {
			return true
		}
	}
	return false
}
