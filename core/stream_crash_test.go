package core_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core"
)

// streamHistory is the checker of what a stream queue owes: it sees every
// publish, confirm, reading and ack.
type streamHistory struct {
	t         *testing.T
	compacted bool
	key       []int // of message i
	confirmed map[int]bool
	at        map[int]core.Offset // where a message was seen
	low       core.Offset         // where the stream began when it was last read
	acked     map[int]bool        // by the group
	recent    map[int]bool        // acked since the last start: a crash may forget it
	fresh     int                 // highest message that the group got unmarked
}

// readAll checks what a reader got that read all there is.
func (h *streamHistory) readAll(got []core.Delivery) {
	h.t.Helper()
	newest := map[int]int{}
	there := map[int]bool{}
	for i := range got {
		n, o := number(h.t, &got[i], len(h.key)), got[i].Position.Offset
		if i > 0 && o <= got[i-1].Position.Offset || !h.compacted && i > 0 && o != got[i-1].Position.Offset+1 {
			h.t.Fatalf("offset %d behind %d", o, got[i-1].Position.Offset)
		}
		if was, seen := h.at[n]; seen && was != o {
			h.t.Fatalf("message %d was at %d and is at %d", n, was, o)
		}
		h.at[n], newest[h.key[n]], there[n] = o, n, true
	}
	if len(got) > 0 {
		if first := got[0].Position.Offset; first < h.low {
			h.t.Fatalf("the stream begins at %d, and began at %d before", first, h.low)
		}
		h.low = got[0].Position.Offset
	}
	for n := range h.key {
		switch {
		case !h.confirmed[n]:
		case h.compacted && newest[h.key[n]] < n:
			h.t.Fatalf("key %d: confirmed message %d is lost, the newest is %d", h.key[n], n, newest[h.key[n]])
		case !h.compacted && !there[n] && len(got) == 0:
			h.t.Fatalf("all is lost, also message %d", n)
		case !h.compacted && !there[n]:
			if o, seen := h.at[n]; seen && o >= h.low || n > number(h.t, &got[0], len(h.key)) {
				h.t.Fatalf("confirmed message %d is lost", n)
			}
		}
	}
}

// grouped checks a delivery to the group.
func (h *streamHistory) grouped(d *core.Delivery) int {
	h.t.Helper()
	n := number(h.t, d, len(h.key))
	if h.acked[n] {
		h.t.Fatalf("message %d came to the group again after its ack was durable", n)
	}
	if !d.Redelivered {
		if n < h.fresh {
			h.t.Fatalf("message %d came to the group after %d", n, h.fresh)
		}
		h.fresh = n
	}
	return n
}

func number(t *testing.T, d *core.Delivery, end int) int {
	t.Helper()
	n, err := strconv.Atoi(string(d.Message.Payload))
	if err != nil || n >= end {
		t.Fatalf("invented: %q", d.Message.Payload)
	}
	return n
}

// streamDriver drives a stream queue at random.
type streamDriver struct {
	*world
	*streamHistory
	rng  *rand.Rand
	args []any
	pub  *publisher
	seqs []int
	cons *core.Consumer
	held []core.Delivery
}

func (d *streamDriver) connect() {
	d.world.t.Helper()
	d.pub, d.seqs, d.held = d.publisher(nil), nil, nil
	d.stream("s", d.args...)
	if err := d.Bind(d.world.t.Context(), "/", core.BindingSpec{Source: core.TopicExchange, Dest: "s", Key: "#"}); err != nil {
		d.world.t.Fatal(err)
	}
	d.cons, _ = d.read("s", "g", core.StartFirst(), uint32(1+d.rng.IntN(40)))
}

func (d *streamDriver) publish() {
	for range 1 + d.rng.IntN(60) {
		key := d.rng.IntN(7)
		d.pub.send(amqp(core.TopicExchange, strconv.Itoa(key), strconv.Itoa(len(d.key))))
		d.seqs = append(d.seqs, len(d.key))
		d.key = append(d.key, key)
	}
}

func (d *streamDriver) confirms() {
	n, err := d.pub.p.Settled()
	d.must(err)
	for _, m := range d.seqs[:n] {
		d.confirmed[m] = true
	}
}

// readFirst reads all that the stream has, again when its beginning has moved
// meanwhile: then what was read is not one moment's state. Nobody publishes, so
// retention comes to rest.
func (d *streamDriver) readFirst() {
	d.pub.confirmed()
	d.confirms()
	for {
		before := d.extent()
		got := d.readTo(before.End)
		if d.extent().Low == before.Low {
			d.readAll(got)
			return
		}
	}
}

// extent says where the stream begins and ends.
func (d *streamDriver) extent() core.Group {
	groups, err := d.Groups("/", "s")
	d.must(err)
	return groups[0]
}

// readTo reads the stream up to its end. It does not stop at the last confirmed
// message: what survived a crash or a stop without its confirm stands behind it,
// and compaction may take a confirmed message for it. Neither compaction nor
// retention takes the stream's last message.
func (d *streamDriver) readTo(end core.Offset) (got []core.Delivery) {
	c, wake := d.read("s", "", core.StartFirst(), 0)
	defer func() { d.must(c.Cancel(d.world.t.Context())) }()
	deadline := time.After(time.Minute)
	for next := core.Offset(0); next < end; {
		more, err := c.Next(got, 1+d.rng.IntN(64))
		d.must(err)
		if len(more) > len(got) {
			got = more
			next = got[len(got)-1].Position.Offset + 1
			continue
		}
		select {
		case <-wake:
		case <-deadline:
			d.world.t.Fatalf("read %d messages up to %d of %d", len(got), next, end)
		}
	}
	return got
}

func (d *streamDriver) receive() {
	got, err := d.cons.Next(nil, 1+d.rng.IntN(40))
	d.must(err)
	for i := range got {
		d.grouped(&got[i])
	}
	d.held = append(d.held, got...)
}

func (d *streamDriver) settle() {
	d.rng.Shuffle(len(d.held), func(i, j int) { d.held[i], d.held[j] = d.held[j], d.held[i] })
	n := d.rng.IntN(len(d.held) + 1)
	for i := range d.held[:n] {
		if d.rng.IntN(10) == 0 {
			d.cons.Settle(core.Requeue, d.held[i].Position)
			continue
		}
		m := number(d.world.t, &d.held[i], len(d.key))
		d.acked[m], d.recent[m] = true, true
		d.cons.Settle(core.Ack, d.held[i].Position)
	}
	d.held = d.held[n:]
}

func (d *streamDriver) restartSomehow() {
	d.confirms()
	clean := d.rng.IntN(3) == 0
	if !clean {
		d.store.SetAway(true) // nothing gets there that the broker does after the crash
	}
	after := d.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: d.rng.IntN(101), RNG: d.rng})
	d.close()
	d.store.SetAway(false)
	if !clean {
		d.fs = after
		for m := range d.recent {
			delete(d.acked, m)
		}
		maps.DeleteFunc(d.at, func(n int, _ core.Offset) bool { return !d.confirmed[n] })
	}
	if d.rng.IntN(5) == 0 {
		d.loseIndex()
	}
	d.open()
	clear(d.recent)
	d.fresh = 0
	d.connect()
}

// TestRandomStreamCrashes publishes to a stream, reads it with a group and from
// its beginning, and crashes at random, while retention goes on.
func TestRandomStreamCrashes(t *testing.T) {
	for _, c := range []struct {
		name string
		args []any
	}{
		{"all", nil},
		{"bytes", []any{"x-max-length-bytes", int64(1500)}},
		{"compact", []any{"x-cleanup-policy", "compact"}},
		{"compact by bytes", []any{"x-cleanup-policy", "compact", "x-max-length-bytes", int64(1500)}},
	} {
		for seed := range uint64(12) {
			t.Run(fmt.Sprintf("%s/seed=%d", c.name, seed), func(t *testing.T) {
				w, _ := streamWorld(t)
				h := &streamHistory{
					t: t, compacted: len(c.args) > 0 && c.args[0] == "x-cleanup-policy", confirmed: map[int]bool{},
					at: map[int]core.Offset{}, acked: map[int]bool{}, recent: map[int]bool{},
				}
				d := &streamDriver{world: w, streamHistory: h, rng: rand.New(rand.NewPCG(seed, 9)), args: c.args}
				d.connect()
				for range 60 {
					switch d.rng.IntN(10) {
					case 0, 1, 2:
						d.publish()
					case 3, 4:
						d.receive()
					case 5, 6:
						d.settle()
					case 7, 8:
						d.readFirst()
					default:
						d.restartSomehow()
					}
				}
				d.readFirst()
			})
		}
	}
}
