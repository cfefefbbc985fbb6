package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// ownMountsMark tells the test binary that it runs in its own mount namespace.
const ownMountsMark = "TIDEGATE_E2E_OWN_MOUNTS"

// inOwnMounts runs this test binary again in a mount namespace of its own, if
// it may: what tests mount ends with it, however it ends. done tells that
// there is nothing left to do but to end with the code.
func inOwnMounts() (code int, done bool) {
	if os.Geteuid() != 0 || os.Getenv(ownMountsMark) != "" {
		return 0, false
	}
	runtime.LockOSThread() // the child dies with the thread that started it
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), ownMountsMark+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil { // a container without the right to
		return 0, false
	}
	err := cmd.Wait()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return max(1, exit.ExitCode()), true
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "run in an own mount namespace:", err)
		return 1, true
	}
	return 0, true
}

// needsMounts skips a test of real faults where there is no root to mount
// with, or a tool or device is missing.
func needsMounts(t *testing.T, tools ...string) {
	t.Helper()
	needsCrash(t)
	if os.Getenv(ownMountsMark) == "" {
		t.Skip("SKIPPED, real faults need root and the right to make a mount namespace")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED, real faults need %s: %v", tool, err)
		}
	}
}

// needsRealFaults skips a test that lets a disk fail for real.
func needsRealFaults(t *testing.T) {
	t.Helper()
	needsMounts(t, "mkfs.ext4", "mount", "strace")
	newDisk(t, filepath.Join(t.TempDir(), "image"), filepath.Join(t.TempDir(), "dir"), 16<<20)
}

// disk is an ext4 file system in an image, mounted through a loop device.
type disk struct {
	t       *testing.T
	image   string
	dir     string
	mounted bool
}

// newDisk makes an image of the size and mounts it on dir until the test ends.
// A test of real faults is skipped where there are no loop devices.
func newDisk(t *testing.T, image, dir string, size int64) *disk {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(image)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	command(t, "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "nodiscard", image)
	d := &disk{t: t, image: image, dir: dir}
	if out, err := d.tryMount(); err != nil {
		t.Skipf("SKIPPED, real faults need a loop device: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if d.mounted {
			d.unmount()
		}
	})
	return d
}

// command runs a tool that must succeed.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (d *disk) tryMount() (string, error) {
	var out bytes.Buffer
	cmd := exec.Command("mount", "-t", "ext4", "-o", "loop,errors=remount-ro", d.image, d.dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	d.mounted = err == nil
	return strings.TrimSpace(out.String()), err
}

// mount mounts the image; the file system replays its journal.
func (d *disk) mount() {
	d.t.Helper()
	if out, err := d.tryMount(); err != nil {
		d.t.Fatalf("mount %s: %v: %s", d.image, err, out)
	}
}

// unmount also frees the loop device. Nobody may use the disk any more, but
// the kernel may need a moment to see that.
func (d *disk) unmount() {
	d.t.Helper()
	d.mounted = false
	eventually(d.t, "the disk can be unmounted", func() bool {
		err := syscall.Unmount(d.dir, 0)
		return err == nil || errors.Is(err, syscall.EINVAL)
	})
}

// smallRequests has the loop device write single pages: it reports success for
// a write that its file took only a part of, and a page is taken whole or not
// at all.
func (d *disk) smallRequests() {
	d.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		d.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		device, rest, _ := strings.Cut(line, " ")
		if !strings.HasPrefix(rest, d.dir+" ") {
			continue
		}
		setting := filepath.Join("/sys/block", filepath.Base(device), "queue", "max_sectors_kb")
		if err := os.WriteFile(setting, []byte("4"), 0o600); err != nil {
			d.t.Skipf("SKIPPED, the loop device can't be set to single pages: %v", err)
		}
		return
	}
	d.t.Fatalf("%s is not mounted", d.dir)
}

// check repairs the file system, which is not mounted, as the start of a
// machine does.
func (d *disk) check() {
	d.t.Helper()
	out, err := exec.Command("e2fsck", "-fy", d.image).CombinedOutput()
	const repaired = 3 // bits of the exit code: errors corrected, and a reboot wanted
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() <= repaired {
		return
	}
	if err != nil {
		d.t.Fatalf("e2fsck: %v\n%s", err, out)
	}
}

// cut ends the file system as a power failure does: what was not synced is
// gone, journal included.
func (d *disk) cut() {
	d.t.Helper()
	const (
		shutdown   = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush = uint32(2)
	)
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer f.Close()
	flags := noLogFlush
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&flags))); errno != 0 {
		d.t.Fatalf("shut the file system down: %v", errno)
	}
}

// mountSmall mounts a tmpfs of the size on dir until the test ends.
func mountSmall(t *testing.T, dir string, size int64) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount tmpfs: %v", err)
		}
	})
}

// fill takes all that is left on a file system, whoever else takes of it, but
// for the given bytes.
func fill(t *testing.T, path string, leave int64) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if leave > 0 { // who writes must not see it full for a moment
		var s syscall.Statfs_t
		if err := syscall.Statfs(path, &s); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Fallocate(int(f.Fd()), 0, 0, max(1, int64(s.Bavail)*s.Bsize-leave)); err != nil {
			t.Fatalf("fill %s: %v", path, err)
		}
		return
	}
	size, piece := int64(0), int64(16<<20)
	for piece >= 4<<10 {
		switch err := syscall.Fallocate(int(f.Fd()), 0, size, piece); {
		case errors.Is(err, syscall.ENOSPC):
			piece /= 2
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			t.Fatalf("fill %s: %v", path, err)
		default:
			size += piece
		}
	}
}
