package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fullDisk is the size of the tmpfs that holds log, index and etcd in the tests
// of a full disk. Its mark is at 36 MiB: a segment of a 16th of it, and five batches.
const fullDisk = 256 << 20

// startOnSmallDisk starts a broker with all its data on a small disk, and the
// clients. Checkpoints come often, so that the index needs the disk too.
func startOnSmallDisk(t *testing.T, env ...string) (c *crashRun, ballast string) {
	t.Helper()
	needsMounts(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	mountSmall(t, data, fullDisk)
	b := newBroker(t, dir, 1)
	b.env = append([]string{"TIDEGATE_CORE_CHECKPOINT_INTERVAL=200ms", "TIDEGATE_CORE_PRESSURE_INTERVAL=20ms"}, env...)
	b.start()
	c = newCrashRun(t, b)
	c.confirmWithin = 5 * patience // blocked publishers wait
	c.prepare()
	c.startClients()
	return c, filepath.Join(data, "ballast")
}

// TestFullDiskHoldsPublishersBack has another program take the disk up to
// below the mark: publishers wait, consumers get all that there is, and all go
// on without a restart when there is room again.
func TestFullDiskHoldsPublishersBack(t *testing.T) {
	c, ballast := startOnSmallDisk(t)
	times := rounds(2, 20)
	for i := range times {
		c.live(i)
		fill(t, ballast, 6<<20)
		c.awaitStandstill()
		c.awaitDrained()
		select {
		case err := <-c.b.done:
			c.b.cmd = nil
			t.Fatalf("the broker ended on a full disk: %v", err)
		default:
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	c.live(0)
	c.finish()
	c.judge()
	c.row("disk full up to the mark, no restart", times, 0)
}

// awaitStandstill waits until nothing is confirmed any more.
func (c *crashRun) awaitStandstill() {
	c.t.Helper()
	confirmed, since := -1, time.Now()
	eventually(c.t, "publishers are held back", func() bool {
		if n := c.history.Confirms(); n != confirmed {
			confirmed, since = n, time.Now()
		}
		return time.Since(since) > time.Second
	})
}

// awaitDrained waits until the consumers have all that was confirmed.
func (c *crashRun) awaitDrained() {
	c.t.Helper()
	eventually(c.t, "consumers get all that there is", func() bool {
		return c.history.Missing(crashQueue)+c.history.Missing(crashSession) == 0
	})
}

// TestDiskFullToTheLastByte fills the disk of a broker that does not watch it:
// log, index or etcd meets the end of the disk first. The process goes on with
// what it can do, and nothing is confirmed that a start on a disk with room
// does not find.
func TestDiskFullToTheLastByte(t *testing.T) {
	c, ballast := startOnSmallDisk(t, "TIDEGATE_CORE_PRESSURE_DISK_FREE_PERCENT=0")
	c.fillAndRestart(ballast, "disk full to the last byte, then restart")
}

// TestDiskOfTheIndexFull gives the index a disk of its own, so that it is sure
// to be the one that meets the end.
func TestDiskOfTheIndexFull(t *testing.T) {
	needsMounts(t)
	dir := t.TempDir()
	small := filepath.Join(dir, "data", "log", "index-0")
	mountSmall(t, small, 16<<20)
	b := newBroker(t, dir, 1)
	b.env = []string{"TIDEGATE_CORE_CHECKPOINT_INTERVAL=50ms"}
	b.start()
	c := newCrashRun(t, b)
	c.prepare()
	c.startClients()
	c.fillAndRestart(filepath.Join(small, "ballast"), "disk of the index full, then restart")
}

// fillAndRestart fills the disk to the last byte under load, again and again.
func (c *crashRun) fillAndRestart(ballast, fault string) {
	c.t.Helper()
	times, late := rounds(2, 20), 0
	for i := range times {
		c.live(i)
		fill(c.t, ballast, 0)
		late += c.awaitStopped()
		select {
		case err := <-c.b.done:
			c.b.cmd = nil
			c.t.Fatalf("the process ended on a full disk: %v", err)
		default:
		}
		c.crashBegins()
		if err := os.Remove(ballast); err != nil {
			c.t.Fatal(err)
		}
		c.b.start()
	}
	c.live(0)
	c.finish()
	c.judge()
	c.row(fault, times, late)
}
