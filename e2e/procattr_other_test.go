//go:build !linux

package e2e

import "syscall"

// dieWithParent has no means here: a broker may outlive a killed test run.
func dieWithParent() *syscall.SysProcAttr { return nil }
