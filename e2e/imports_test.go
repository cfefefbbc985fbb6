package e2e

import (
	"bufio"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tidegate/tidegate/"

// importRules say which packages of this module a package may depend on, for
// every folder of it. A package is ruled by the longest prefix that matches. A
// trailing slash stands for everything below.
var importRules = []struct {
	folder string
	may    []string
}{
	{"cmd/", []string{"adapters/", "gateway", "gateway/", "core", "core/", "metadata", "metadata/", "cmd/"}},
	{"adapters/mqtt", []string{"adapters/mqtt/", "gateway", "core", "core/clock", "metadata"}},
	{"adapters/amqp", []string{"adapters/amqp/", "gateway", "core", "core/clock", "core/selector", "metadata"}},
	{"gateway/api", []string{"gateway", "core", "metadata"}},
	{"gateway", []string{"core", "metadata"}},
	{"core", []string{"core/", "metadata"}},
	{"metadata/etcd", []string{"metadata"}},
	{"metadata/memory", []string{"metadata"}},
	{"metadata/storetest", []string{"metadata"}},
	{"metadata", nil},
	{"e2e", nil},
	{"docs/tour", nil}, // programs of the README, written as a user would
}

// coreOrder lists the packages of core: each may depend on those after it only.
var coreOrder = []string{
	"core/sim", "core/shard", "core/replica", "core/queue", "core/schedule", "core/txn", "core/route", "core/index",
	"core/commitlog", "core/segment", "core/record", "core/work", "core/clock", "core/selector",
}

// onlyImporters names packages from elsewhere that one folder alone may import,
// beside cmd, which wires everything.
var onlyImporters = map[string]string{
	"go.etcd.io/etcd":                   "metadata/etcd",
	"go.etcd.io/bbolt":                  "metadata/etcd",
	"github.com/mochi-mqtt/":            "adapters/mqtt",
	"github.com/coder/websocket":        "gateway",
	"github.com/prometheus/":            "gateway",
	"github.com/cockroachdb/pebble/v2.": "core/index",
}

// pkg is a package of this module with what its own code imports.
type pkg struct {
	name    string
	imports []string
}

// packages lists the module's packages without their tests.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []pkg
	lines := bufio.NewScanner(strings.NewReader(string(out)))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, imports, _ := strings.Cut(lines.Text(), " ")
		list = append(list, pkg{strings.TrimPrefix(name, module), strings.Fields(imports)})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// inFolder tells whether a package lies in a folder.
func inFolder(name, folder string) bool {
	folder = strings.TrimSuffix(folder, "/")
	return name == folder || strings.HasPrefix(name, folder+"/")
}

func TestImports(t *testing.T) {
	list := packages(t)
	if len(list) < 10 {
		t.Fatalf("go list found %d packages", len(list))
	}
	for _, p := range list {
		rule := slices.IndexFunc(importRules, func(r struct {
			folder string
			may    []string
		},
		) bool {
			return inFolder(p.name, r.folder)
		})
		if rule < 0 {
			t.Errorf("package %s lies outside the folders of the design", p.name)
			continue
		}
		for _, imported := range p.imports {
			if own, ok := strings.CutPrefix(imported, module); ok {
				if !allowed(own, importRules[rule].may) {
					t.Errorf("%s may not import %s", p.name, own)
				}
				continue
			}
			for foreign, owner := range onlyImporters {
				if strings.HasPrefix(imported+".", foreign) && !inFolder(p.name, owner) && !inFolder(p.name, "cmd") {
					t.Errorf("%s may not import %s: only %s does", p.name, imported, owner)
				}
			}
		}
	}
}

func allowed(name string, may []string) bool {
	return slices.ContainsFunc(may, func(m string) bool {
		return name == m || (strings.HasSuffix(m, "/") && strings.HasPrefix(name, m))
	})
}

// TestCoreOrder holds the layers of the engine.
func TestCoreOrder(t *testing.T) {
	for _, p := range packages(t) {
		if !strings.HasPrefix(p.name, "core/") {
			continue
		}
		at := slices.Index(coreOrder, p.name)
		if at < 0 {
			t.Errorf("package %s has no place in the order of core", p.name)
			continue
		}
		for _, imported := range p.imports {
			own, ok := strings.CutPrefix(imported, module)
			if ok && slices.Index(coreOrder, own) <= at {
				t.Errorf("%s may not import %s, which is not below it", p.name, own)
			}
		}
	}
}

// TestGatewayNeedsNoProtocol holds that not even indirectly an adapter, or an
// inner package of the metadata, is below the front door or the engine.
func TestGatewayNeedsNoProtocol(t *testing.T) {
	for folder, banned := range map[string][]string{
		"gateway":  {"adapters", "cmd", "metadata/etcd", "metadata/memory"},
		"core":     {"gateway", "adapters", "cmd", "metadata/etcd", "metadata/memory"},
		"metadata": {"core", "gateway", "adapters", "cmd"},
	} {
		cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", module+folder)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go list -deps %s: %v", folder, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			own, ok := strings.CutPrefix(dep, module)
			if ok && slices.ContainsFunc(banned, func(b string) bool { return inFolder(own, b) }) {
				t.Errorf("%s depends on %s", folder, own)
			}
		}
	}
}
