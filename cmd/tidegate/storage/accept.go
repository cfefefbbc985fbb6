package storage

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
	"github.com/tidegate/tidegate/core/shard"
)

// manifestName is what AcceptLoss of commitlog calls the manifest.
const manifestName = "MANIFEST"

// Loss is one thing to give up, so that a shard opens again.
type Loss struct {
	Shard uint32
	// Segment is the file in the log's directory, also MANIFEST or ENDS; "" for the
	// index, and IDENTITY for the directory's.
	Segment string
	// Records is what is lost of it; the last is 0 when nothing says where it ends.
	Records []commitlog.Loss
	// Known is the newest record of which anything tells that it was in the log.
	Known record.LSN

	accept commitlog.Loss
	found  *core.FoundIdentity // of the identity
}

// Losses returns what has to be given up so that all shards open. What is only
// known once the first are accepted is not among them: check again afterwards.
func Losses(r *Report) []Loss {
	var all []Loss
	if r.found != nil { // first: the others are of its shards
		all = append(all, Loss{Segment: identityName, found: r.found})
	}
	for i := range r.Shards {
		all = append(all, r.Shards[i].losses()...)
	}
	return all
}

func (s *Shard) losses() (all []Loss) {
	if s.noEnds {
		all = append(all, Loss{Shard: s.Shard, Segment: shard.EndsName})
	}
	switch {
	case s.noLog:
		all = append(all, Loss{
			Shard: s.Shard, Segment: manifestName, Known: s.known, Records: []commitlog.Loss{{First: 1, Last: s.known}},
		})
	case s.noManifest:
		all = append(all, Loss{Shard: s.Shard, Segment: manifestName, Known: s.known})
	}
	if s.report != nil {
		// A segment needs a sound header behind it, so the last comes first.
		for _, v := range slices.Backward(s.report.Segments) {
			if len(v.Faults) == 0 || slices.ContainsFunc(v.Faults, isLater) {
				continue
			}
			l := Loss{Shard: s.Shard, Segment: v.Name, Known: s.known}
			l.accept.First = v.Faults[0].First
			for _, f := range v.Faults {
				l.Records = append(l.Records, commitlog.Loss{First: f.First, Last: f.Last})
				l.accept.Last = max(l.accept.Last, f.Last, f.First)
			}
			all = append(all, l)
		}
	}
	if s.Index.broken || s.noLog && s.Index.Present {
		all = append(all, Loss{Shard: s.Shard, Known: s.known})
	}
	return all
}

func isLater(f commitlog.Fault) bool { return errors.Is(f.Err, record.ErrVersion) }

// String says in words what is given up.
func (l *Loss) String() string {
	switch l.Segment {
	case "":
		return fmt.Sprintf("shard %d: the index, which goes to quarantine; the next start makes it from the log", l.Shard)
	case identityName:
		return "the identity, which is written anew; no record is lost: " + told(l.found)
	case shard.EndsName:
		return fmt.Sprintf("shard %d: the ends of streams (%s), which go to quarantine; no record is lost", l.Shard, shard.EndsName)
	case manifestName:
		if len(l.Records) > 0 && l.Known == 0 {
			return fmt.Sprintf("shard %d: the log, all records that it had", l.Shard)
		}
		if len(l.Records) > 0 {
			return fmt.Sprintf("shard %d: the log, records 1 to %d; what is published goes on behind them", l.Shard, l.Known)
		}
		return fmt.Sprintf("shard %d: the manifest; the segments that are there are then the log", l.Shard)
	}
	var ranges []string
	for _, r := range l.Records {
		switch {
		case r.Last == 0:
			text := fmt.Sprintf("records from %d to the end of the log, which may have been confirmed", r.First)
			if l.Known >= r.First {
				text += fmt.Sprintf(", up to %d at least", l.Known)
			}
			ranges = append(ranges, text)
		case r.Last >= r.First:
			ranges = append(ranges, fmt.Sprintf("records %d to %d (%d)", r.First, r.Last, r.Last-r.First+1))
		}
	}
	if len(ranges) == 0 {
		ranges = append(ranges, "no record")
	}
	return fmt.Sprintf("shard %d, %s: %s", l.Shard, l.Segment, strings.Join(ranges, ", "))
}

// Acceptance is what can be given up, and was not yet.
type Acceptance struct {
	losses []Loss
	fs     vfs.FS
	dir    string
	layout []core.ShardFiles
}

// ErrRefused tells that nothing was given up, and nothing changed.
var ErrRefused = errors.New("nothing was given up and nothing was changed")

// Plan decides whether all that [Losses] returned for a report can be given up, and
// changes nothing. An error wraps ErrRefused.
func Plan(fs vfs.FS, r *Report, losses []Loss) (*Acceptance, error) {
	if f := r.stuck(); f != nil {
		return nil, fmt.Errorf("%w: %s: %s: %s", ErrRefused, f.File, f.Text, f.Advice)
	}
	a := &Acceptance{losses: losses, fs: fs, dir: filepath.Join(r.Data, "log")}
	var err error
	if a.layout, err = r.layout(fs, a.dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	// Of each shard the first that concerns the log: those behind it depend on it.
	planned := map[uint32]bool{}
	for i := range losses {
		l := &losses[i]
		if !l.ofLog() || planned[l.Shard] {
			continue
		}
		planned[l.Shard] = true
		if _, err := commitlog.PlanLoss(a.config(l), l.Segment, l.accept); err != nil {
			return nil, fmt.Errorf("%w: shard %d: %w", ErrRefused, l.Shard, err)
		}
	}
	return a, nil
}

// Carry gives it up. Damaged files are moved to quarantine. An error leaves what comes
// behind it as it was.
func (a *Acceptance) Carry() error {
	for i := range a.losses {
		if err := a.carry(&a.losses[i]); err != nil {
			return fmt.Errorf("give up %s: %w", a.losses[i].String(), err)
		}
	}
	return nil
}

func (a *Acceptance) config(l *Loss) commitlog.Config {
	return logConfig(a.fs, a.layout[l.Shard], l.Known)
}

func (a *Acceptance) carry(l *Loss) error {
	if l.found != nil {
		return restoreIdentity(a.fs, a.dir, l.found)
	}
	files := a.layout[l.Shard]
	if l.Segment == "" {
		return setAside(a.fs, a.dir, files.Index)
	}
	if !l.ofLog() {
		return giveUpEnds(a.fs, files)
	}
	plan, err := commitlog.PlanLoss(a.config(l), l.Segment, l.accept)
	if err != nil {
		return err
	}
	// Before the log is changed, so that a file that was never there is not missed
	// beside what that rewrites.
	if err := giveUpEnds(a.fs, files); err != nil {
		return err
	}
	return plan.Carry()
}

// stuck returns damage that can't be given up; nil when there is none.
func (r *Report) stuck() *Finding {
	all := [][]Finding{r.Findings}
	for i := range r.Shards {
		all = append(all, r.Shards[i].Findings)
	}
	for _, findings := range all {
		for i := range findings {
			if f := &findings[i]; f.Severity == Damage && f.stays {
				return f
			}
		}
	}
	return nil
}

// layout returns where the shards are, also while the identity is not restored.
func (r *Report) layout(fs vfs.FS, dir string) ([]core.ShardFiles, error) {
	if r.found != nil {
		return r.found.Shards, nil
	}
	return core.ReadLayout(fs, dir)
}

// ofLog tells that the log itself is concerned.
func (l *Loss) ofLog() bool {
	return l.found == nil && l.Segment != "" && l.Segment != shard.EndsName
}

// giveUpEnds has ENDS say that it is lost, if it is missing or no use. That goes to
// quarantine.
func giveUpEnds(fs vfs.FS, files core.ShardFiles) error {
	if err := fs.MkdirAll(files.Log, 0o700); err != nil {
		return fmt.Errorf("make directory of the log: %w", err)
	}
	info, err := shard.CheckEnds(fs, files.Log, files.Identity)
	switch {
	case errors.Is(err, record.ErrCorrupt):
		err = setAside(fs, files.Log, fs.PathJoin(files.Log, shard.EndsName))
	case info.Present || info.GivenUp:
		return nil
	}
	if err != nil {
		return err
	}
	return shard.GiveUpEnds(fs, files.Log, files.Identity)
}

// setAside moves the directory of an index, or a file, out of the way.
func setAside(fs vfs.FS, dir, path string) error {
	quarantine := fs.PathJoin(dir, "quarantine")
	if err := fs.MkdirAll(quarantine, 0o700); err != nil {
		return fmt.Errorf("quarantine %s: %w", path, err)
	}
	name := fs.PathBase(path)
	target := fs.PathJoin(quarantine, name)
	for i := 1; ; i++ {
		if _, err := fs.Stat(target); oserror.IsNotExist(err) {
			break
		} else if err != nil {
			return fmt.Errorf("quarantine %s: %w", path, err)
		}
		target = fs.PathJoin(quarantine, fmt.Sprintf("%s.%d", name, i))
	}
	if err := fs.Rename(path, target); err != nil {
		return fmt.Errorf("quarantine %s: %w", path, err)
	}
	return errors.Join(segment.SyncDir(fs, quarantine), segment.SyncDir(fs, dir))
}
