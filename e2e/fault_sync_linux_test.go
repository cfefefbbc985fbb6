package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shardStopped is how the log of a broker tells that it takes nothing more.
const shardStopped = `msg="shard stopped"`

// TestRealSyncErrorStopsTheShard has the image of the broker's disk on a tmpfs
// that is smaller: writes go into the cache, and only the sync finds out that
// there is no room for them.
func TestRealSyncErrorStopsTheShard(t *testing.T) {
	needsMounts(t, "mkfs.ext4", "mount", "e2fsck")
	const thin = 384 << 20
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	mountSmall(t, below, thin)
	d := newDisk(t, filepath.Join(below, "image"), filepath.Join(dir, "data", "log"), faultDisk)
	d.smallRequests()
	b := newBroker(t, dir, 1)
	b.start()
	c := newCrashRun(t, b)
	c.prepare()
	c.startClients()
	times, late := rounds(2, 20), 0
	ballast := filepath.Join(below, "ballast")
	for i := range times {
		c.live(i)
		fill(t, ballast)
		late += c.awaitStopped()
		c.crashBegins()
		d.unmount()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		d.check()
		d.mount()
		d.smallRequests()
		b.start()
	}
	c.finish()
	c.judge()
	c.row("sync fails (ext4 image larger than its tmpfs)", times, late)
}

// awaitStopped waits until the broker says that it takes nothing more, and for
// a while after that: none of the clients that still try may be told otherwise.
// The result is how many confirms came.
func (c *crashRun) awaitStopped() (late int) {
	c.t.Helper()
	eventually(c.t, "the shard stops after the error", func() bool {
		return strings.Contains(c.b.log.String(), shardStopped)
	})
	settle := time.NewTimer(100 * time.Millisecond) // confirms sent before the error arrive
	<-settle.C
	confirmed := c.history.Confirms()
	settle.Reset(400 * time.Millisecond)
	<-settle.C
	if late = c.history.Confirms() - confirmed; late > 0 {
		c.t.Errorf("%d messages were confirmed by a broker whose disk had failed", late)
	}
	return late
}

// crashBegins kills the broker; the caller starts it again.
func (c *crashRun) crashBegins() {
	c.t.Helper()
	c.history.Crashed(time.Now())
	c.b.kill()
	c.b.log.reset()
	c.history.Recovered(time.Now())
	c.restarts++
}

// TestInjectedSyncErrorStopsTheShard lets one sync of the log fail, the Nth of
// a thread for a random N, and then cuts the power: a broker that tried again,
// or that had confirmed before, has lost what it confirmed.
func TestInjectedSyncErrorStopsTheShard(t *testing.T) {
	needsMounts(t, "mkfs.ext4", "mount", "strace")
	for _, call := range []string{"fdatasync", "fsync"} {
		t.Run(call, func(t *testing.T) {
			c, d := startOnDisk(t)
			times, late := rounds(3, 25), 0
			trace := filepath.Join(t.TempDir(), "trace")
			for i := range times {
				c.live(i)
				nth := 4 + rand.IntN(80) // the first ones are those of the start
				if call == "fsync" {     // comes with each new file only
					nth = 4 + rand.IntN(4)
					c.b.env = []string{"TIDEGATE_CORE_SEGMENT_BYTES=65536"}
				}
				c.b.under = append(c.straced(trace, call, fmt.Sprintf("error=EIO:when=%d", nth)), c.logPaths()...)
				c.powerCut(d)
				late += c.awaitInjected(trace)
				c.b.under, c.b.env = nil, nil
				c.powerCut(d)
				c.b.log.reset()
			}
			c.finish()
			c.judge()
			c.row("EIO of the Nth "+call+" of the log, then power cut", times, late)
		})
	}
}

// straced is the command that runs the binary with faults in calls.
func (c *crashRun) straced(trace, call, fault string) []string {
	return []string{
		"strace", "-D", "-f", "-qq", "-o", trace, "-y", "-e", "trace=" + call, "-e", "inject=" + call + ":" + fault,
	}
}

// logPaths restricts strace to the directory of the log and the files in it.
func (c *crashRun) logPaths() (args []string) {
	c.t.Helper()
	dir := filepath.Join(c.b.dir, "data", "log", "shard-0")
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, path := range append(files, dir) {
		args = append(args, "-P", path)
	}
	return args
}

// awaitInjected waits for the fault and for what has to follow.
func (c *crashRun) awaitInjected(trace string) (late int) {
	c.t.Helper()
	eventually(c.t, "a sync fails", func() bool {
		text, err := os.ReadFile(trace)
		return err == nil && bytes.Contains(text, []byte("(INJECTED)"))
	})
	return c.awaitStopped()
}

// TestConfirmsWaitForSlowSyncs delays every sync: no confirm may come sooner.
func TestConfirmsWaitForSlowSyncs(t *testing.T) {
	needsMounts(t, "strace")
	const delay = 60 * time.Millisecond
	dir := t.TempDir()
	b := newBroker(t, dir, 1)
	c := newCrashRun(t, b)
	b.under = c.straced("/dev/null", "fdatasync", fmt.Sprintf("delay_enter=%d", delay.Microseconds()))
	b.start()
	ch := openChannel(t, b.AMQP)
	durableQueue(t, ch, "slow", "slow")
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	client := connect5(t, b.MQTT, "slow", mqtt5Options{})
	ways := map[string]func(){
		"AMQP": func() {
			publishConfirmed(t, b.AMQP, "amq.topic", []keyed{{"slow", []byte("x")}})
		},
		"MQTT QoS 1": func() { client.publish(t, "slow", 1, "x") },
		"MQTT QoS 2": func() { client.publish(t, "slow", 2, "x") },
	}
	const times = 20
	early := 0
	for name, publish := range ways {
		for range times {
			begin := time.Now()
			publish()
			if took := time.Since(begin); took < delay {
				early++
				t.Errorf("%s: confirmed after %v, a sync takes %v", name, took, delay)
			}
		}
	}
	faults.add(faultRow{fault: "every fdatasync takes 60 ms", times: times * len(ways), confirmed: times * len(ways), late: early})
}

// TestNothingIsLostByAPause stops the process for a while, as a suspended
// machine does, and lets it go on.
func TestNothingIsLostByAPause(t *testing.T) {
	needsCrash(t)
	pause := 5 * time.Second
	times := rounds(1, 2)
	if times > 1 {
		pause = patience
	}
	b := startBroker(t, 1)
	c := newCrashRun(t, b)
	c.confirmWithin = pause + patience
	c.prepare()
	c.startClients()
	for i := range times {
		c.live(i)
		if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(pause)
		<-timer.C
		if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		c.live(i)
	}
	c.finish()
	c.judge()
	c.row(fmt.Sprintf("SIGSTOP for %v", pause), times, 0)
}
