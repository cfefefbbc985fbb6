package commitlog

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Names in a log's directory. A segment's name is the LSN it begins with in 20
// digits, for a rewritten one a dot and its generation in 20 digits, and the
// suffix.
const (
	originalSuffix  = ".seg"
	rewrittenSuffix = ".rws"
	manifestName    = "MANIFEST"
	quarantineName  = "quarantine"
)

// file is a sealed segment. It does not change once it is in a log's list, but
// for gone.
type file struct {
	base, next record.LSN
	size       int64
	sum        uint32 // CRC that ends the file
	generation uint64 // of a rewritten segment; 0 for an original one
	stats      segment.Stats

	gone bool // guarded by readers.mu: it is not in the list any more
}

func (f *file) leftover() leftover { return leftover{f.base, f.generation} }

func (f *file) name() string { return f.leftover().name() }

func (r leftover) name() string {
	if r.generation == 0 {
		return fmt.Sprintf("%020d%s", r.base, originalSuffix)
	}
	return fmt.Sprintf("%020d.%020d%s", r.base, r.generation, rewrittenSuffix)
}

// parseName is the reverse of leftover.name.
func parseName(name string) (leftover, bool) {
	var r leftover
	digits, ok := strings.CutSuffix(name, originalSuffix)
	if !ok {
		var generation string
		if digits, ok = strings.CutSuffix(name, rewrittenSuffix); !ok {
			return r, false
		}
		digits, generation, _ = strings.Cut(digits, ".")
		r.generation, _ = strconv.ParseUint(generation, 10, 64)
	}
	base, err := strconv.ParseUint(digits, 10, 64)
	r.base = record.LSN(base)
	return r, err == nil && r.name() == name
}

// ownersName and reachedName are files that the owner of the log keeps beside the
// segments.
const (
	ownersName  = "ENDS"
	reachedName = "REACHED"
)

// listing is what a log's directory holds.
type listing struct {
	originals []record.LSN // in order
	rewritten []leftover
	temps     []string // files of ours that were never finished
	manifest  bool
}

func list(cfg *Config) (*listing, error) {
	names, err := cfg.FS.List(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("list: %w", err)
	}
	d := new(listing)
	for _, name := range names {
		r, ok := parseName(name)
		temp, isTemp := strings.CutSuffix(name, segment.TempSuffix)
		_, ofSegment := parseName(temp)
		switch {
		case ok && r.generation > 0:
			d.rewritten = append(d.rewritten, r)
		case ok:
			d.originals = append(d.originals, r.base)
		case name == manifestName:
			d.manifest = true
		case isTemp && (ofSegment || temp == manifestName || temp == ownersName || temp == reachedName):
			d.temps = append(d.temps, name)
		case name == ownersName || name == reachedName: // not ours to read
		case name != quarantineName:
			cfg.Log.Warn("strange file in the log's directory", slog.String("file", name))
		}
	}
	slices.Sort(d.originals)
	return d, nil
}

// has tells whether the directory holds the file.
func (d *listing) has(r leftover) bool {
	if r.generation > 0 {
		return slices.Contains(d.rewritten, r)
	}
	_, ok := slices.BinarySearch(d.originals, r.base)
	return ok
}

// above returns a generation for the next manifest that is above that of every
// file: what an interrupted rewrite has left may then be all that there is of
// records that are given up, and is not taken for a copy of what is there.
func (d *listing) above(m *manifest) uint64 {
	generation := m.generation + 1
	for _, r := range d.rewritten {
		generation = max(generation, r.generation+1)
	}
	return generation
}

// unlisted returns the files that are no part of the log by the manifest: those
// that it replaced, and those that it knows nothing of.
func (d *listing) unlisted(m *manifest) (replaced, unknown []leftover) {
	listed := make(map[leftover]bool, len(m.files))
	for _, f := range m.files {
		listed[f.leftover()] = true
	}
	sort := func(r leftover) {
		switch {
		case listed[r]:
		case slices.Contains(m.removed, r):
			replaced = append(replaced, r)
		default:
			unknown = append(unknown, r)
		}
	}
	for _, base := range d.originals {
		if base < m.end {
			sort(leftover{base: base})
		}
	}
	for _, r := range d.rewritten {
		sort(r)
	}
	return replaced, unknown
}
