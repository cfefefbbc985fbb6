//go:build !linux

package e2e

import "testing"

// inOwnMounts has no means here, and no test that mounts anything.
func inOwnMounts() (code int, done bool) { return 0, false }

// needsRealFaults skips a test that lets a disk fail for real.
func needsRealFaults(t *testing.T) {
	t.Helper()
	t.Skip("SKIPPED, real faults need Linux")
}
