package sim_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// errDead is what a disk answers after the power went.
var errDead = errors.New("the power is off")

// sector is the unit in which unsynced data reaches the disk or does not.
const sector = 512

// node is a file. What is synced of it lies in safe.
type node struct {
	data, safe []byte
	dirty      int // what lies below is clean, and so is not written by a sync
}

// disk is a file system in memory that forgets, when it crashes, what it may:
// any sector that was not synced, and any entry of a directory that was not.
// The maps are by path; a directory is a nil node.
type disk struct {
	now, safe map[string]*node
	capacity  int
	// before is asked before each operation that changes the disk, and before
	// each that reads it.
	before func(kind, name string) error
	wrote  func(p []byte)  // told what is written
	origin map[*node]*node // of a disk after a crash: what its files were before
	vfs.FS                 // the syntax of paths
}

func newDisk() *disk {
	return &disk{
		now: map[string]*node{}, safe: map[string]*node{}, FS: vfs.NewMem(),
		before: func(string, string) error { return nil }, wrote: func([]byte) {},
	}
}

// crash returns the disk as the power's end may have left it. Each piece of
// what was not synced is kept with a probability of percent.
func (d *disk) crash(rng *rand.Rand, percent int) *disk {
	kept := func() bool { return rng.IntN(100) < percent }
	after := newDisk()
	after.capacity, after.origin = d.capacity, map[*node]*node{}
	entries := maps.Clone(d.safe)
	moved := map[*node]bool{}
	for _, p := range slices.Sorted(maps.Keys(d.now)) {
		old, was := d.safe[p]
		if n := d.now[p]; (!was || old != n) && kept() {
			entries[p] = n
			moved[n] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(d.safe)) {
		if _, is := d.now[p]; !is && kept() && (moved[d.safe[p]] || !slices.Contains(slices.Collect(maps.Values(d.now)), d.safe[p])) {
			delete(entries, p)
		}
	}
	copies := map[*node]*node{}
	for _, p := range slices.Sorted(maps.Keys(entries)) {
		n := entries[p]
		if _, there := entries[path.Dir(p)]; !there && path.Dir(p) != "." {
			delete(entries, p) // went with its directory; parents sort before
			continue
		}
		if n != nil && copies[n] == nil {
			data := n.survive(rng, kept)
			copies[n] = &node{data: data, safe: slices.Clone(data), dirty: len(data)}
			after.origin[n] = copies[n]
		}
		after.now[p] = copies[n]
	}
	after.safe = maps.Clone(after.now)
	return after
}

// survive is what is left of a file.
func (n *node) survive(rng *rand.Rand, kept func() bool) []byte {
	data := slices.Clone(n.safe)
	for from := n.dirty &^ (sector - 1); from < len(n.data); from += sector {
		if !kept() {
			continue
		}
		to := min(from+sector, len(n.data))
		if rng.IntN(8) == 0 {
			to = from + rng.IntN(to-from) // torn
		}
		if to > len(data) {
			data = append(data, make([]byte, to-len(data))...)
		}
		copy(data[from:to], n.data[from:to])
	}
	return data
}

// kill returns the disk as the end of the process alone leaves it: what was not
// synced is there, and may still be lost with the power.
func (d *disk) kill() *disk {
	after := newDisk()
	after.capacity, after.now, after.safe = d.capacity, maps.Clone(d.now), maps.Clone(d.safe)
	return after
}

func (d *disk) used() (n int) {
	for _, f := range d.now {
		if f != nil {
			n += len(f.data)
		}
	}
	return n
}

// files returns the paths of all files with the prefix, in order.
func (d *disk) files(prefix string) (all []string) {
	for _, p := range slices.Sorted(maps.Keys(d.now)) {
		if d.now[p] != nil && strings.HasPrefix(p, prefix) {
			all = append(all, p)
		}
	}
	return all
}

func missing(op, name string) error {
	return &os.PathError{Op: op, Path: name, Err: os.ErrNotExist}
}

// Create implements [vfs.FS].
func (d *disk) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.before("create", name); err != nil {
		return nil, err
	}
	d.now[name] = &node{}
	return &handle{d: d, n: d.now[name], name: name}, nil
}

// Open implements [vfs.FS].
func (d *disk) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	if err := d.before("open", name); err != nil {
		return nil, err
	}
	n := d.now[name]
	if n == nil {
		return nil, missing("open", name)
	}
	return &handle{d: d, n: n, name: name}, nil
}

// OpenReadWrite implements [vfs.FS].
func (d *disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, _ ...vfs.OpenOption) (vfs.File, error) {
	if d.now[name] == nil {
		return d.Create(name, c)
	}
	return d.Open(name)
}

// OpenDir implements [vfs.FS].
func (d *disk) OpenDir(name string) (vfs.File, error) {
	if err := d.before("opendir", name); err != nil {
		return nil, err
	}
	if _, there := d.now[name]; !there && name != "." {
		return nil, missing("open", name)
	}
	return &handle{d: d, name: name}, nil
}

// Remove implements [vfs.FS].
func (d *disk) Remove(name string) error {
	if err := d.before("remove", name); err != nil {
		return err
	}
	if _, there := d.now[name]; !there {
		return missing("remove", name)
	}
	delete(d.now, name)
	return nil
}

// RemoveAll implements [vfs.FS].
func (d *disk) RemoveAll(name string) error {
	if err := d.before("remove", name); err != nil {
		return err
	}
	maps.DeleteFunc(d.now, func(p string, _ *node) bool { return p == name || strings.HasPrefix(p, name+"/") })
	return nil
}

// Rename implements [vfs.FS].
func (d *disk) Rename(from, to string) error {
	if err := d.before("rename", from); err != nil {
		return err
	}
	n, there := d.now[from]
	if !there {
		return missing("rename", from)
	}
	delete(d.now, from)
	d.now[to] = n
	return nil
}

// MkdirAll implements [vfs.FS].
func (d *disk) MkdirAll(name string, _ os.FileMode) error {
	if err := d.before("mkdir", name); err != nil {
		return err
	}
	for ; name != "." && name != "/"; name = path.Dir(name) {
		d.now[name] = nil
	}
	return nil
}

// List implements [vfs.FS].
func (d *disk) List(name string) (names []string, _ error) {
	if err := d.before("list", name); err != nil {
		return nil, err
	}
	if _, there := d.now[name]; !there && name != "." {
		return nil, missing("open", name)
	}
	for p := range d.now {
		if path.Dir(p) == name {
			names = append(names, path.Base(p))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements [vfs.FS].
func (d *disk) Stat(name string) (vfs.FileInfo, error) {
	if err := d.before("stat", name); err != nil {
		return nil, err
	}
	n, there := d.now[name]
	if !there {
		if name == "." {
			return info{name: name, dir: true}, nil
		}
		return nil, missing("stat", name)
	}
	return infoOf(name, n), nil
}

// GetDiskUsage implements [vfs.FS].
func (d *disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	used := d.used()
	return vfs.DiskUsage{
		AvailBytes: uint64(max(d.capacity-used, 0)), TotalBytes: uint64(d.capacity), UsedBytes: uint64(used),
	}, nil
}
