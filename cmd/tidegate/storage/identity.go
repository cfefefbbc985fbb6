package storage

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/record"
)

// identityName is the file of the identity beside the directories of the shards.
const identityName = "IDENTITY"

// findIdentity reports an identity that is missing or no use, and returns what the
// segments tell of the shards; none when they do not.
func (r *Report) findIdentity(fs vfs.FS, dir string, cause error) ([]core.ShardFiles, error) {
	found, err := core.FindIdentity(fs, dir)
	if err != nil && !errors.Is(err, record.ErrCorrupt) {
		return nil, err
	}
	f := Finding{Severity: Damage, File: fs.PathJoin(dir, identityName), Text: cause.Error()}
	if err != nil {
		f.stays, f.Advice = true, fmt.Sprintf("restore the file from a copy; it can't be written anew: %v", err)
		r.Findings = append(r.Findings, f)
		return nil, nil
	}
	f.Advice = "no record is lost: restore the file from a copy, or write it anew with tidegate check --accept-loss: " + told(found)
	r.Findings, r.found = append(r.Findings, f), found
	return found.Shards, nil
}

// told says what was found, and by what.
func told(f *core.FoundIdentity) string {
	return fmt.Sprintf("cluster %s by the headers of %s; %s by the directories, which do not tell of a last shard that is gone",
		f.Cluster, plural(f.Headers, "segment"), plural(len(f.Shards), "shard"))
}

// restoreIdentity writes the identity that was found. What is there goes to
// quarantine.
func restoreIdentity(fs vfs.FS, dir string, found *core.FoundIdentity) error {
	path := fs.PathJoin(dir, identityName)
	_, err := fs.Stat(path)
	if err == nil {
		err = setAside(fs, dir, path)
	}
	if err != nil && !oserror.IsNotExist(err) {
		return fmt.Errorf("restore identity: %w", err)
	}
	return found.Restore(fs, dir)
}

// misplaced reports logs that lie in each other's place, and returns the layout of the
// other shards.
func (r *Report) misplaced(e *core.MisplacedError, layout []core.ShardFiles) []core.ShardFiles {
	for _, m := range e.Dirs {
		r.Findings = append(r.Findings, Finding{
			Severity: Damage, File: m.Dir, stays: true,
			Text: fmt.Sprintf("this directory holds the log of shard %d, not that of shard %d", m.Holds, m.Shard),
			Advice: fmt.Sprintf("no record is lost and nothing is to be given up: rename it to shard-%d, likewise the others that are named here, and check again",
				m.Holds),
		})
		layout = slices.DeleteFunc(layout, func(f core.ShardFiles) bool {
			return f.Identity.Shard == m.Shard || f.Identity.Shard == m.Holds
		})
	}
	return layout
}
