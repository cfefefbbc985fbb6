package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidegate/tidegate/core/record"
)

var update = flag.Bool("update", false, "write the golden files of the present version")

var manifestID = record.Identity{Cluster: [16]byte{15: 9}, Shard: 2}

func sampleManifest() *manifest {
	return &manifest{
		generation: 12, end: 900, chain: 0xfeed,
		files: []*file{
			{base: 10, next: 300, size: 4000, generation: 11, sum: 1},
			{base: 400, next: 900, size: 5000, sum: 0xfeed},
		},
		removed: []leftover{{10, 0}, {100, 3}},
	}
}

var manifestOptions = cmp.Options{
	cmp.AllowUnexported(manifest{}, file{}, leftover{}), cmpopts.EquateEmpty(),
}

func TestGoldenManifest(t *testing.T) {
	want := sampleManifest()
	encoded := want.encode(manifestID)
	path := filepath.Join("testdata", "v1", "MANIFEST")
	if *update {
		if err := os.WriteFile(path, encoded, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content, encoded) {
		t.Error("what is written differs from the golden file")
	}
	got, err := decodeManifest(content, manifestID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, manifestOptions); diff != "" {
		t.Errorf("golden manifest (-want +got):\n%s", diff)
	}
}

func TestManifestEveryBitFlip(t *testing.T) {
	p := sampleManifest().encode(manifestID)
	for bit := range 8 * len(p) {
		p[bit/8] ^= 1 << (bit % 8)
		if _, err := decodeManifest(p, manifestID); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("bit %d flipped: got %v, want ErrCorrupt", bit, err)
		}
		p[bit/8] ^= 1 << (bit % 8)
	}
	for n := range p {
		if _, err := decodeManifest(p[:n], manifestID); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d of %d bytes: got %v, want ErrCorrupt", n, len(p), err)
		}
	}
}

func TestManifestRefuses(t *testing.T) {
	other := manifestID
	other.Shard++
	if _, err := decodeManifest(sampleManifest().encode(other), manifestID); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another log's: got %v, want ErrCorrupt", err)
	}
	for name, change := range map[string]func(*manifest){
		"overlap":                 func(m *manifest) { m.files[1].base = 299 },
		"disorder":                func(m *manifest) { slices.Reverse(m.files) },
		"empty range":             func(m *manifest) { m.files[0].next = 10 },
		"file behind the end":     func(m *manifest) { m.end = 899 },
		"file of the future":      func(m *manifest) { m.generation = 10 },
		"file without a footer":   func(m *manifest) { m.files[0].size = 127 },
		"negative length":         func(m *manifest) { m.files[0].size = -1 },
		"live file removed":       func(m *manifest) { m.removed[0] = leftover{400, 0} },
		"removed behind the end":  func(m *manifest) { m.removed[0].base = 900 },
		"file before the first":   func(m *manifest) { m.files[0].base = 0 },
		"file around the numbers": func(m *manifest) { m.files[1].next = 1 },
	} {
		m := sampleManifest()
		change(m)
		if _, err := decodeManifest(m.encode(manifestID), manifestID); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want ErrCorrupt", name, err)
		}
	}
	p := sampleManifest().encode(manifestID)
	p[4] = 2
	binary.LittleEndian.PutUint32(p[len(p)-4:], manifestID.Checksum(p[:len(p)-4]))
	if _, err := decodeManifest(p, manifestID); !errors.Is(err, record.ErrVersion) || errors.Is(err, ErrCorrupt) {
		t.Errorf("later version: got %v, want ErrVersion", err)
	}
}

func TestNames(t *testing.T) {
	for _, r := range []leftover{{1, 0}, {1<<64 - 1, 0}, {7, 1}, {7, 1<<64 - 1}} {
		if got, ok := parseName(r.name()); !ok || got != r {
			t.Errorf("%s: got %v, %v, want %v", r.name(), got, ok, r)
		}
	}
	for _, name := range []string{
		"", ".seg", "1.seg", "00000000000000000001.rws", "00000000000000000001.seg.tmp", "0000000000000000000x.seg",
		"99999999999999999999.seg", "00000000000000000001.00000000000000000000.rws", "-0000000000000000001.seg",
	} {
		if r, ok := parseName(name); ok {
			t.Errorf("%q: got %v, want none", name, r)
		}
	}
}

func FuzzManifest(f *testing.F) {
	p := sampleManifest().encode(manifestID)
	f.Add(p[:len(p)-4])
	f.Add((&manifest{end: 1}).encode(manifestID)[:manifestHeader])
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = decodeManifest(body, manifestID)
		p := binary.LittleEndian.AppendUint32(slices.Clone(body), manifestID.Checksum(body))
		m, err := decodeManifest(p, manifestID)
		if err != nil {
			return
		}
		again, err := decodeManifest(m.encode(manifestID), manifestID)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if diff := cmp.Diff(m, again, manifestOptions); diff != "" {
			t.Fatalf("decode of encode differs (-want +got):\n%s", diff)
		}
	})
}
