package api

import (
	"os"
	"syscall"
)

// openFiles returns how many files and sockets the process has open, and may have.
func openFiles() (used, total uint64, known bool) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, 0, false
	}
	names, err := dir.Readdirnames(-1)
	if e := dir.Close(); err != nil || e != nil {
		return 0, 0, false
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0, false
	}
	return uint64(len(names)), limit.Cur, true
}
