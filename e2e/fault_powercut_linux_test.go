package e2e

import (
	"path/filepath"
	"testing"
	"time"
)

// faultDisk is the size of the disk in tests of real faults, sparse.
const faultDisk = 1 << 30

// TestNothingConfirmedIsLostByPowerCut cuts the power of the broker's machine
// under load, again and again: what the broker did not sync is gone, of log,
// index and metadata alike.
func TestNothingConfirmedIsLostByPowerCut(t *testing.T) {
	needsMounts(t, "mkfs.ext4", "mount")
	c, d := startOnDisk(t)
	cuts := rounds(5, 50)
	for i := range cuts {
		c.live(i)
		c.powerCut(d)
	}
	c.finish()
	c.judge()
	c.row("power cut (ext4 shutdown without log flush)", cuts, 0)
}

// startOnDisk starts a broker with a disk of its own, and the clients.
func startOnDisk(t *testing.T, env ...string) (*crashRun, *disk) {
	t.Helper()
	dir := t.TempDir()
	d := newDisk(t, filepath.Join(dir, "image"), filepath.Join(dir, "data"), faultDisk)
	b := newBroker(t, dir, 1)
	b.env = env
	b.start()
	c := newCrashRun(t, b)
	c.prepare()
	c.startClients()
	return c, d
}

// powerCut ends the broker and what its disk has not synced, and starts both
// again. The process is told to die first: the one fdatasync under way at the
// moment of the ioctl may report success for what the kernel then throws away,
// and a machine without power would not pass that on.
func (c *crashRun) powerCut(d *disk) {
	c.t.Helper()
	c.history.Crashed(time.Now())
	if err := c.b.cmd.Process.Kill(); err != nil {
		c.t.Fatalf("kill tidegate: %v", err)
	}
	d.cut()
	<-c.b.done
	c.b.cmd = nil
	c.history.Recovered(time.Now())
	d.unmount()
	d.mount()
	c.b.start()
	c.restarts++
}
