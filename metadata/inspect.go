package metadata

import "github.com/cockroachdb/pebble/v2/vfs"

// CopyInfo is what a local copy of the metadata holds.
type CopyInfo struct {
	// Cluster names the cluster, Revision that of the store which the copy has.
	Cluster  string
	Revision Revision
	// Entries is the number of keys.
	Entries int
}

// InspectCopy checks the local copy that a catalog keeps at the path, for tools.
// It changes nothing. os.ErrNotExist when there is no copy.
func InspectCopy(fs vfs.FS, path string) (CopyInfo, error) {
	stored, err := readCopy(fs, path)
	if err != nil {
		return CopyInfo{}, err
	}
	return CopyInfo{Cluster: stored.Cluster, Revision: stored.Revision, Entries: len(stored.Entries)}, nil
}
