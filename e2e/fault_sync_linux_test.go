package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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
		fill(t, ballast, 0)
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
	for _, tt := range []struct {
		call string
		last int // N is at most this
		env  []string
	}{
		{"fdatasync", 40, nil},
		{"fsync", 2, []string{"TIDEGATE_CORE_SEGMENT_BYTES=65536"}}, // comes with each new file only
	} {
		t.Run(tt.call, func(t *testing.T) {
			c, d := startOnDisk(t, tt.env...)
			times, late := rounds(3, 25), 0
			for i := range times {
				c.live(i)
				ended := c.inject(tt.call, fmt.Sprintf("error=EIO:when=%d", 1+rand.IntN(tt.last)))
				late += c.awaitStopped()
				c.powerCut(d)
				c.b.log.reset()
				<-ended
			}
			c.finish()
			c.judge()
			c.row("EIO of the Nth "+tt.call+" of the log, then power cut", times, late)
		})
	}
}

// inject attaches strace to the broker and has it make a fault in calls on the
// log. The result is closed when strace has ended, as it does with the broker.
func (c *crashRun) inject(call, fault string) (ended <-chan struct{}) {
	c.t.Helper()
	pid := strconv.Itoa(c.b.cmd.Process.Pid)
	args := append([]string{
		"-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", "inject=" + call + ":" + fault, "-p", pid,
	}, c.logPaths()...)
	cmd := exec.Command("strace", args...)
	cmd.Stderr, cmd.SysProcAttr = c.b.log, dieWithParent()
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		cmd.Wait()
	}()
	c.t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
	})
	return done
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

// TestConfirmsWaitForSlowSyncs delays every sync: no confirm may come sooner.
func TestConfirmsWaitForSlowSyncs(t *testing.T) {
	needsMounts(t, "strace")
	const delay = 60 * time.Millisecond
	dir := t.TempDir()
	b := newBroker(t, dir, 1)
	b.under = []string{
		"strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync",
		"-e", fmt.Sprintf("inject=fdatasync:delay_enter=%d", delay.Microseconds()),
	}
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
