package core_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
)

// fullDisk is a disk of which the log takes as much as it has bytes.
type fullDisk struct {
	vfs.FS
	total uint64
	used  func() uint64
}

// GetDiskUsage implements vfs.FS.
func (d *fullDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	used := min(d.total, d.used())
	return vfs.DiskUsage{AvailBytes: d.total - used, TotalBytes: d.total, UsedBytes: used}, nil
}

// TestFullDiskRecovers fills the disk until publishers have to wait, drains the
// queue, and asks that they go on, without a restart and with nothing lost.
func TestFullDiskRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total = 8 << 20
		var w *world
		used := func() uint64 {
			if w == nil || w.Broker == nil {
				return 0
			}
			return w.Stats().LogBytes
		}
		w = newWorldWith(t, 1, func(c *core.Config, d *core.Deps) {
			calm(c, d)
			d.FS = &fullDisk{FS: d.FS, total: total, used: used}
			c.SegmentBytes, c.CheckpointInterval, c.BatchBytes = 256<<10, time.Second, 16<<10
			c.MaxMessageSize = 16 << 10
			c.Pressure.DiskFreeBytes, c.Pressure.DiskFreePercent = 0, 20
		})
		w.queue("q")
		p := w.publisher(nil)
		for round := range 3 {
			sent := 0
			for !w.Pressure().Disk {
				for range 50 {
					m := amqp("", "q", noise(w, 4096))
					got, err := p.p.Publish(&m)
					if err != nil {
						break
					}
					p.n = got.Seq
					sent++
				}
				p.confirmed()
				if sent > 2*total/4096 {
					t.Fatalf("round %d: the disk does not fill", round)
				}
				pass()
			}
			c, wake := w.consume("q")
			for _, d := range w.take(c, wake, sent) {
				c.Settle(core.Ack, d.Position)
			}
			w.must(c.Cancel(t.Context()))
			for range 30 {
				pass()
			}
			if p := w.Pressure(); p.Any() {
				t.Fatalf("round %d: after %d messages were drained: %+v, log of %d bytes", round, sent, p, w.Stats().LogBytes)
			}
		}
		if st := w.Stats().Upkeep; st.Dropped < total {
			t.Errorf("stats: %+v", st)
		}
	})
}

// noise is a payload that no codec makes smaller.
func noise(w *world, n int) string {
	var b strings.Builder
	for b.Len() < n {
		fmt.Fprintf(&b, "%c%c%c%c", w.rng.Int32N(256), w.rng.Int32N(256), w.rng.Int32N(256), w.rng.Int32N(256))
	}
	return b.String()
}

// TestSlowQueueHoldsNobodyBackForEver fills a small disk with messages of two queues
// and drains one. The other keeps a part of each segment, all the time, and there is
// little room to rewrite them: publishers go on all the same.
func TestSlowQueueHoldsNobodyBackForEver(t *testing.T) {
	for name, segment := range map[string]int64{
		"short segments":                         64 << 10,
		"segments that are longer than the disk": core.DefaultConfig().SegmentBytes,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { slowQueueOnSmallDisk(t, segment) })
		})
	}
}

func slowQueueOnSmallDisk(t *testing.T, segment int64) {
	const total, size = 24 << 20, 3000
	var w *world
	used := func() uint64 {
		if w == nil || w.Broker == nil {
			return 0
		}
		return w.Stats().LogBytes
	}
	w = newWorldWith(t, 1, func(c *core.Config, d *core.Deps) {
		calm(c, d)
		d.FS = &fullDisk{FS: d.FS, total: total, used: used}
		c.SegmentBytes, c.BatchBytes = segment, core.DefaultConfig().BatchBytes
	})
	w.queue("fast")
	w.queue("slow")
	p := w.publisher(nil)
	fast := 0
	for n := 0; !w.Pressure().Disk; n++ {
		to := "fast"
		if n%20 >= 16 {
			to = "slow"
		}
		m := amqp("", to, noise(w, size))
		got, err := p.p.Publish(&m)
		if err != nil {
			break
		}
		if p.n = got.Seq; to == "fast" {
			fast++
		}
		if n%20 == 19 {
			p.confirmed()
		}
		if n > 2*total/size {
			t.Fatal("the disk does not fill")
		}
	}
	p.confirmed()
	c, wake := w.consume("fast")
	for _, d := range w.take(c, wake, fast) {
		c.Settle(core.Ack, d.Position)
	}
	for range 120 {
		pass()
	}
	if p := w.Pressure(); p.Any() {
		t.Fatalf("after %d messages were drained: %+v, log of %d bytes", fast, p, w.Stats().LogBytes)
	}
	p.send(amqp("", "fast", "goes on"))
	p.confirmed()
}
