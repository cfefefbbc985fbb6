package e2e

import "syscall"

// dieWithParent lets no broker outlive a test run that was killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
