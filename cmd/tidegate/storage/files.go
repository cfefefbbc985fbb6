package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// ErrNoSegments tells that a path holds no segment file.
var ErrNoSegments = errors.New("no segment file")

// SegmentFile is a segment file on its own: wherever it lies, and whatever its
// name.
type SegmentFile struct {
	Path     string
	Identity record.Identity
	Base     record.LSN
}

// SegmentFiles returns the segment files that the paths name; a directory stands
// for all in it, in order.
func SegmentFiles(fs vfs.FS, paths []string) ([]SegmentFile, error) {
	var all []SegmentFile
	for _, path := range paths {
		info, err := fs.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("segment files: %w", err)
		}
		names := []string{path}
		if info.IsDir() {
			if names, err = segmentsIn(fs, path); err != nil {
				return nil, err
			}
		}
		for _, name := range names {
			f, err := identify(fs, name)
			if err != nil {
				return nil, err
			}
			all = append(all, f)
		}
	}
	return all, nil
}

func segmentsIn(fs vfs.FS, dir string) ([]string, error) {
	names, err := fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("segment files: %w", err)
	}
	slices.Sort(names)
	var all []string
	for _, name := range names {
		if strings.HasSuffix(name, ".seg") || strings.HasSuffix(name, ".rws") {
			all = append(all, fs.PathJoin(dir, name))
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoSegments)
	}
	return all, nil
}

// identify finds out whose a file is. Where its own header does not tell, those
// of the files around it do, and its name where it begins.
func identify(fs vfs.FS, path string) (SegmentFile, error) {
	f := SegmentFile{Path: path}
	h, err := segment.ReadHeader(fs, path)
	if err == nil {
		f.Identity, f.Base = h.Identity, h.Base
		return f, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	digits, _, _ := strings.Cut(fs.PathBase(path), ".")
	base, parseErr := strconv.ParseUint(digits, 10, 64)
	if parseErr != nil {
		return f, err
	}
	f.Base = record.LSN(base)
	dir := fs.PathDir(path)
	around, listErr := segmentsIn(fs, dir)
	if more, upErr := segmentsIn(fs, fs.PathDir(dir)); upErr == nil { // from quarantine
		around = append(around, more...)
	}
	for _, name := range around {
		if h, otherErr := segment.ReadHeader(fs, name); otherErr == nil {
			f.Identity = h.Identity
			return f, nil
		}
	}
	return f, errors.Join(err, listErr)
}

// Verify reads all of one segment file.
func (f *SegmentFile) Verify(fs vfs.FS) (Segment, []Finding, error) {
	v, err := segment.Walk(fs, f.Path, f.Identity, f.Base,
		func(int64, *record.Header, *record.Batch) error { return nil })
	if err != nil {
		return Segment{}, nil, err
	}
	s := Segment{
		Name: f.Path, First: f.Base, Last: v.Next - 1, Records: v.Stats.Records, Batches: v.Stats.Batches, Bytes: v.Size,
		Raw: int64(v.Stats.Raw), Oldest: v.Stats.First, Newest: v.Stats.Last, State: StateOpen,
	}
	if v.Sealed {
		s.State = StateSealed
	}
	if v.Header.Rewritten {
		s.State = StateRewritten
	}
	var findings []Finding
	for i := range v.Faults {
		d := &v.Faults[i]
		fault := new(Shard).faultFinding(f.Path, &commitlog.Fault{From: d.From, To: d.To, First: d.First, Last: d.Last, Err: d.Err})
		if !v.Sealed && !d.Gap && d.From >= v.Watermark && v.HeaderErr == nil && !errors.Is(d.Err, record.ErrVersion) {
			fault.Severity, fault.To = Notice, v.Size
			fault.Text = fmt.Sprintf("torn tail, behind the last known sync, at record %d: what it held may or may not have been confirmed; a power cut leaves such a tail too: %v",
				v.Synced-1, d.Err)
			fault.Advice = "if this is the last segment of its log, the next start cuts it"
			s.State = StateTorn
			findings = append(findings, fault)
			break
		}
		fault.Advice = "tidegate check tells what it means for the log"
		s.State = StateDamaged
		findings = append(findings, fault)
	}
	return s, findings, nil
}

// VerifyPaths verifies segment files; a directory that is a log's is verified as
// such, with the order of its segments and its manifest.
func VerifyPaths(fs vfs.FS, paths []string, progress func(label string, done, total int64)) (*Report, error) {
	r := &Report{Version: ReportVersion, Data: strings.Join(paths, " "), Shards: []Shard{}}
	for _, path := range paths {
		s, err := verifyPath(fs, path, progress)
		if err != nil {
			return nil, err
		}
		r.Shards = append(r.Shards, *s)
	}
	r.conclude()
	return r, nil
}

func verifyPath(fs vfs.FS, path string, progress func(label string, done, total int64)) (*Shard, error) {
	files, err := SegmentFiles(fs, []string{path})
	if err != nil {
		return nil, err
	}
	s := &Shard{Shard: files[0].Identity.Shard, Log: path, Unknown: []string{}, Segments: []Segment{}, Quarantine: []File{}}
	if info, err := fs.Stat(path); err != nil {
		return nil, fmt.Errorf("segment files: %w", err)
	} else if info.IsDir() && filepath.Base(path) != "quarantine" {
		log := core.ShardFiles{Identity: files[0].Identity, Log: path}
		return s, s.checkLog(fs, log, func(p commitlog.Progress) { progress(path, p.Done, p.Total) })
	}
	for i := range files {
		v, findings, err := files[i].Verify(fs)
		if err != nil {
			return nil, err
		}
		progress(path, int64(i+1), int64(len(files)))
		if len(s.Segments) == 0 {
			s.First = v.First
		}
		s.Next = v.Last + 1
		s.Segments = append(s.Segments, v)
		s.Findings = append(s.Findings, findings...)
	}
	return s, nil
}
