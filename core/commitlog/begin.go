package commitlog

import (
	"fmt"

	"github.com/tidegate/tidegate/core/record"
)

// BeginBehind makes a log that has no original segment go on behind the LSN that
// last returns, if it would give that one or one before it to the next record. It is
// for LSNs that are known elsewhere, of records that the log has lost: what is said of
// them must not come to be said of others. last is not called for a log that has an
// original segment. moved tells that the log was changed. The log must not be open; its directory may not be there yet. A
// crash leaves the log as it was or as it shall be.
func BeginBehind(cfg Config, last func() record.LSN) (moved bool, err error) {
	cfg.setDefaults()
	if err := makeDir(cfg.FS, cfg.Dir); err != nil {
		return false, fmt.Errorf("begin log: %w", err)
	}
	dir, m, _, err := load(&cfg)
	if err != nil {
		return false, fmt.Errorf("begin log: %w", err)
	}
	if len(dir.originals) > 0 {
		return false, nil
	}
	lsn := last()
	if lsn < m.end {
		return false, nil
	}
	n := &manifest{generation: dir.above(m), end: lsn + 1, files: m.files, removed: m.removed}
	if err := writeManifest(&cfg, n); err != nil {
		return false, fmt.Errorf("begin log behind %d: %w", lsn, err)
	}
	return true, nil
}
