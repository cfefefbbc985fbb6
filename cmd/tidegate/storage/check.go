package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
	"github.com/tidegate/tidegate/metadata"
)

// Options says what to check.
type Options struct {
	FS vfs.FS
	// Data is the data directory of a broker that does not run.
	Data string
	// Cluster names the Tidegate cluster within etcd.
	Cluster string
	// Progress is called now and then with what was read of a shard's log; nil is
	// not called.
	Progress func(shard uint32, p commitlog.Progress)
}

// Check reads all of a data directory and changes nothing in it. An error tells
// that it can't be read; what is wrong with it is in the report.
func Check(ctx context.Context, o Options) (*Report, error) {
	r := &Report{Version: ReportVersion, Data: o.Data, Shards: []Shard{}, Metadata: checkMetadata(o.FS, o.Data)}
	dir := filepath.Join(o.Data, "log")
	layout, err := core.ReadLayout(o.FS, dir)
	misplaced, _ := errors.AsType[*core.MisplacedError](err)
	if misplaced != nil {
		layout, err = r.misplaced(misplaced, layout), nil
	}
	if errors.Is(err, record.ErrCorrupt) {
		layout, err = r.findIdentity(o.FS, dir, err)
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no data directory of a broker: %w", err)
	}
	if err != nil {
		return nil, err
	}
	published := r.published(&o, layout)
	for _, files := range layout {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s := &Shard{Shard: files.Identity.Shard}
		s.knows(published[s.Shard], "the marks and offsets in etcd")
		if err := s.check(ctx, &o, files); err != nil {
			return nil, fmt.Errorf("check shard %d: %w", s.Shard, err)
		}
		r.Shards = append(r.Shards, *s)
	}
	if err := r.checkTransfers(ctx, &o, layout); err != nil {
		return nil, err
	}
	r.checkDirectories()
	r.conclude()
	return r, nil
}

// logConfig is the configuration of a shard's log for the tools of commitlog.
func logConfig(fs vfs.FS, files core.ShardFiles, from record.LSN) commitlog.Config {
	return commitlog.Config{FS: fs, Dir: files.Log, Identity: files.Identity, From: from}
}

// check reads a shard. What is known of it stays known.
func (s *Shard) check(ctx context.Context, o *Options, files core.ShardFiles) error {
	*s = Shard{
		Shard: files.Identity.Shard, Log: files.Log, Unknown: []string{}, Segments: []Segment{},
		known: s.known, knownBy: s.knownBy,
	}
	var err error
	if s.Quarantine, err = listQuarantine(o.FS, o.FS.PathJoin(files.Log, "quarantine")); err != nil {
		return err
	}
	s.checkIndex(o.FS, files)
	s.knows(s.Index.Applied, "the index")
	if _, err := o.FS.Stat(files.Log); errors.Is(err, os.ErrNotExist) {
		s.First, s.Next, s.noDir = 1, 1, true
		s.emptyLog(files.Log)
		return nil
	}
	return s.checkLog(o.FS, files, func(p commitlog.Progress) {
		if o.Progress != nil && ctx.Err() == nil {
			o.Progress(s.Shard, p)
		}
	})
}

// checkTransfers looks again at logs that end before a transfer that another shard has:
// that was decided by a record on stable storage.
func (r *Report) checkTransfers(ctx context.Context, o *Options, layout []core.ShardFiles) error {
	for i := range r.Shards {
		s := &r.Shards[i]
		known := s.known
		for j := range r.Shards {
			for _, numbers := range r.Shards[j].transfers {
				s.knows(numbers[s.Shard], fmt.Sprintf("a transaction in shard %d", r.Shards[j].Shard))
			}
		}
		if s.known == known || s.report != nil && s.known < s.report.Next {
			continue
		}
		if err := s.check(ctx, o, layout[i]); err != nil {
			return fmt.Errorf("check shard %d: %w", s.Shard, err)
		}
	}
	return nil
}

// checkDirectories tells of directories of logs that are gone: all of them are made
// before the first record of any shard.
func (r *Report) checkDirectories() {
	if !slices.ContainsFunc(r.Shards, func(s Shard) bool { return len(s.Segments) > 0 }) {
		return
	}
	for i := range r.Shards {
		s := &r.Shards[i]
		if !s.noDir || s.noLog {
			continue
		}
		s.noLog = true
		s.Findings = append(s.Findings, Finding{
			Severity: Damage, File: s.Log, First: 1, Open: true,
			Text:   "the directory of the log is missing beside those of other shards; nothing tells whether it had records",
			Advice: "restore the directory from where it went; check --accept-loss gives up all messages of the shard",
		})
	}
}

// checkLog reads the directory of a log.
func (s *Shard) checkLog(fs vfs.FS, files core.ShardFiles, progress func(commitlog.Progress)) error {
	ends, err := s.checkEnds(fs, files)
	if err != nil {
		return err
	}
	s.knows(ends.Highest, shard.EndsName)
	if err := s.checkReached(fs, files); err != nil {
		return err
	}
	s.report, err = commitlog.Verify(logConfig(fs, files, s.known), progress)
	if bad, ok := errors.AsType[*commitlog.CorruptError](err); ok {
		s.noManifest = true
		s.Findings = append(s.Findings, Finding{
			Severity: Damage, File: bad.Segment, To: bad.To, Text: bad.Err.Error(),
			Advice: "no record is lost while all segments are there: tidegate check --accept-loss makes a new manifest of them, and then tells what is missing",
		})
		if _, err := segmentsIn(fs, files.Log); errors.Is(err, ErrNoSegments) {
			s.First, s.Next = 1, 1
			s.emptyLog(files.Log)
		}
		return nil
	}
	if err != nil {
		return err
	}
	s.fill()
	if !ends.Present && !ends.GivenUp && !s.noEnds && s.needsEnds() {
		s.noEnds = true
		s.Findings = append(s.Findings, Finding{
			Severity: Damage, File: fs.PathJoin(files.Log, shard.EndsName),
			Text:   "the ends of streams are missing beside segments that were dropped or rewritten",
			Advice: "no record is lost: restore the file from a copy, or give it up with tidegate check --accept-loss; without an index, settled messages come again",
		})
	}
	return nil
}

// needsEnds tells that segments were dropped or rewritten, other than by a fault.
func (s *Shard) needsEnds() bool {
	next := record.LSN(1)
	for i := range s.report.Segments {
		v := &s.report.Segments[i]
		if v.Rewritten || v.Base > next && (len(v.Faults) == 0 || v.Faults[0].First >= v.Base) {
			return true
		}
		next = v.Last + 1
	}
	return false
}

// fill takes over what was verified.
func (s *Shard) fill() {
	r := s.report
	s.Generation, s.First, s.Next, s.Durable = r.Generation, r.First, r.Next, r.Synced-1
	s.transfers = append(s.transfers, r.Transfers)
	for i := range r.Segments {
		v := &r.Segments[i]
		s.Segments = append(s.Segments, segmentOf(v))
		for j := range v.Faults {
			s.Findings = append(s.Findings, s.faultFinding(v.Name, &v.Faults[j]))
		}
		if t := v.Torn; t != nil && (len(v.Faults) == 0 || v.Faults[len(v.Faults)-1].From != t.From) {
			s.Findings = append(s.Findings, Finding{
				Severity: Notice, File: v.Name, From: t.From, To: t.To, First: t.First, Last: t.First - 1,
				Text: fmt.Sprintf("torn tail, behind the last known sync, at record %d: what it held may or may not have been confirmed; a power cut leaves such a tail too",
					s.Durable),
				Advice: "the next start cuts it; if the file was cut or overwritten, restore it from a copy before that",
			})
		}
	}
	for _, name := range r.Unknown {
		s.Unknown = append(s.Unknown, name)
		s.Findings = append(s.Findings, Finding{
			Severity: Notice, File: name, Text: "segment that is no part of the log",
			Advice: "the next start removes it if it was replaced or an interrupted rewrite has left it, and else moves it to quarantine",
		})
	}
	if len(r.Segments) == 0 {
		s.emptyLog(s.Log)
	}
}

// emptyLog judges a log without segments by what was there once.
func (s *Shard) emptyLog(dir string) {
	if s.known < s.Next {
		return
	}
	s.noLog = true
	s.Findings = append(s.Findings, Finding{
		Severity: Damage, File: dir, First: 1, Last: s.known,
		Text:   fmt.Sprintf("all segments are missing, and there were records up to %d, as known from %s", s.known, s.knownBy),
		Advice: "restore the log's directory from where it went; check --accept-loss gives up all messages of the shard",
	})
}

// faultFinding is a fault in the words of the report.
func (s *Shard) faultFinding(name string, f *commitlog.Fault) Finding {
	out := Finding{
		Severity: Damage, File: name, From: f.From, To: f.To, First: f.First, Last: f.Last,
		Open: f.Last == 0 && f.First > 0, Text: f.Err.Error(),
		Advice: "restore the file from a copy of this disk, or give the records up with tidegate check --accept-loss",
	}
	if out.Open {
		out.Text += "; nothing tells how many records there were, and they may have been confirmed"
		if s.known >= f.First {
			out.Text += fmt.Sprintf(": there were records up to %d at least, as known from %s", s.known, s.knownBy)
		}
	}
	if errors.Is(f.Err, commitlog.ErrBehind) {
		out.Text += fmt.Sprintf("; record %d is known from %s", s.known, s.knownBy)
	}
	if errors.Is(f.Err, record.ErrVersion) {
		out.Advice, out.stays = "written by a later version of Tidegate: start that one", true
	}
	return out
}

func (s *Shard) checkIndex(fs vfs.FS, files core.ShardFiles) {
	info, err := index.Inspect(fs, files.Index, files.Identity)
	if errors.Is(err, os.ErrNotExist) {
		s.Findings = append(s.Findings, Finding{
			Severity: Notice, File: files.Index, Text: "there is no index",
			Advice: "the next start makes it from the log",
		})
		return
	}
	const rebuild = "check --accept-loss moves the index to quarantine; the next start makes it from the log"
	if err != nil {
		s.Index = Index{Present: true, broken: true}
		s.Findings = append(s.Findings, Finding{Severity: Damage, File: files.Index, Text: err.Error(), Advice: rebuild})
		return
	}
	s.Index = Index{
		Present: true, Applied: info.Applied, Streams: info.Streams, Cursors: info.Cursors, Sessions: info.Sessions,
		Retained: info.Retained, References: info.References, broken: info.Faults > 0,
	}
	s.transfers = append(s.transfers, info.Transfers)
	if info.Faults > 0 {
		s.Findings = append(s.Findings, Finding{
			Severity: Damage, File: files.Index, Text: fmt.Sprintf("%d entries are no use; the first: %v", info.Faults, info.Err),
			Advice: rebuild,
		})
	}
}

// checkEnds reads the file by which an index is made again from a log with gaps.
func (s *Shard) checkEnds(fs vfs.FS, files core.ShardFiles) (shard.EndsInfo, error) {
	info, err := shard.CheckEnds(fs, files.Log, files.Identity)
	f := Finding{Severity: Damage, File: fs.PathJoin(files.Log, shard.EndsName)}
	switch {
	case info.GivenUp:
		f.Severity, f.Text = Notice, "the ends of streams were given up; until the broker drops or rewrites segments again, an index that is lost brings settled messages back"
		f.Advice = "the broker writes them anew then"
	case err == nil:
		return info, nil
	case errors.Is(err, record.ErrVersion):
		f.Advice, f.stays = "written by a later version of Tidegate: start that one", true
	case errors.Is(err, record.ErrCorrupt):
		s.noEnds = true
		f.Advice = "no record is lost: tidegate check --accept-loss moves the file to quarantine; without an index, settled messages may come again"
	default:
		return info, err //nolint:wrapcheck // says what was read
	}
	if err != nil {
		f.Text = err.Error()
	}
	s.Findings = append(s.Findings, f)
	return info, nil
}

// checkReached reads which record a start has known of, from published offsets, that had
// refused the log for that.
func (s *Shard) checkReached(fs vfs.FS, files core.ShardFiles) error {
	reached, err := shard.ReadReached(fs, files.Log, files.Identity)
	s.knows(reached, shard.ReachedName)
	if err == nil {
		return nil
	}
	f := Finding{Severity: Notice, File: fs.PathJoin(files.Log, shard.ReachedName), Text: err.Error()}
	switch {
	case errors.Is(err, record.ErrCorrupt):
		f.Advice = "a start without an index asks the published offsets again, and writes it anew if need be"
	case errors.Is(err, record.ErrVersion):
		f.Advice = "written by a later version of Tidegate: start that one"
	default:
		return err //nolint:wrapcheck // says what was read
	}
	s.Findings = append(s.Findings, f)
	return nil
}

func listQuarantine(fs vfs.FS, dir string) ([]File, error) {
	files := []File{}
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return files, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	for _, name := range names {
		info, err := fs.Stat(fs.PathJoin(dir, name))
		if err != nil {
			return nil, fmt.Errorf("list quarantine: %w", err)
		}
		files = append(files, File{Name: name, Bytes: info.Size()})
	}
	return files, nil
}

func checkMetadata(fs vfs.FS, data string) *Metadata {
	m := &Metadata{Path: filepath.Join(data, "catalog", "copy.json")}
	info, err := metadata.InspectCopy(fs, m.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		m.Findings = append(m.Findings, Finding{
			Severity: Notice, File: m.Path, Text: "there is no local copy of the metadata",
			Advice: "it is made at the next start, which needs etcd",
		})
	case err != nil:
		m.Present = true
		m.Findings = append(m.Findings, Finding{
			Severity: Notice, File: m.Path, Text: err.Error(),
			Advice: "it is replaced at the next start, which needs etcd",
		})
	default:
		m.Present, m.Entries, m.Revision = true, info.Entries, int64(info.Revision)
	}
	return m
}
