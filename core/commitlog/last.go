package commitlog

import (
	"fmt"

	"github.com/cockroachdb/errors/oserror"

	"github.com/tidegate/tidegate/core/record"
)

// LastSegment returns the LSN at which the last segment of a log begins that was
// never rewritten. When all were, it is where the next one will begin; 0 when there
// is none. The log need not be open: until Open has returned, the records before
// that one are on stable storage for certain, and no others.
func LastSegment(cfg Config) (record.LSN, error) {
	cfg.setDefaults()
	dir, err := list(&cfg)
	if oserror.IsNotExist(err) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open log %s: %w", cfg.Dir, err)
	}
	last := record.LSN(0)
	if n := len(dir.originals); n > 0 {
		last = dir.originals[n-1]
	}
	if !dir.manifest {
		return last, nil
	}
	m, err := readManifest(&cfg)
	if err != nil {
		return 0, fmt.Errorf("open log %s: %w", cfg.Dir, err)
	}
	return max(last, m.end), nil
}
