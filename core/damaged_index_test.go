package core_test

import (
	"crypto/rand"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/clock"
)

// TestDamagedIndexTable flips a byte at many places of each table of an index, most
// of which are not read before the broker serves: a damage ends as an error, of the
// start or of the read that meets it, and what is served before is right. Without
// the index everything is there.
func TestDamagedIndexTable(t *testing.T) {
	const messages = 3000
	w := newWorldWith(t, 1, func(c *core.Config, d *core.Deps) {
		calm(c, d)
		c.SpillRefs = 64
	})
	w.queue("q")
	p := w.publisher(nil)
	for i := range messages {
		p.send(amqp("", "q", strconv.Itoa(i)))
	}
	p.confirmed()
	w.must(w.Close())
	sound := w.fs
	names, err := sound.List("data/index-0")
	w.must(err)
	met := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		path := "data/index-0/" + name
		good := w.content(path)
		for at := 10; at < len(good); at += max(1, len(good)/20) {
			w.fs = sound.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 0})
			w.overwrite(path, good[:at]+string(good[at]^0x20)+good[at+1:])
			if w.readDamaged(messages) != nil {
				met++
			}
		}
	}
	if met == 0 {
		t.Error("no damage was met")
	}
	w.must(w.cat.Close())
	w.fs = sound
	w.loseIndex()
	w.open()
	if n := w.ready("q"); n != messages {
		t.Errorf("%d messages without the index, want %d", n, messages)
	}
}

// readDamaged starts a broker and reads the queue until it is empty or something
// fails. What closing says of a shard that has failed is of no interest.
func (w *world) readDamaged(messages int) error {
	w.t.Helper()
	cfg := core.DefaultConfig()
	cfg.SpillRefs = 64
	b, err := core.Open(w.t.Context(), cfg, core.Deps{
		Dir: "data", FS: w.fs, Clock: clock.System, Rand: rand.Reader, Catalog: w.cat, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	for i := range messages {
		d, _, _, ok, err := b.Get(w.t.Context(), "/", "q", "", true)
		switch {
		case err != nil:
			return err
		case !ok:
			w.t.Errorf("the queue is empty after %d messages of %d", i, messages)
			return nil
		case string(d.Message.Payload) != strconv.Itoa(i):
			w.t.Errorf("got %q, want %d", d.Message.Payload, i)
			return nil
		}
	}
	return nil
}
