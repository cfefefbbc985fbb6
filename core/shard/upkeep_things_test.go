package shard

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// devices are sessions that come and go.
type devices struct {
	*upkept
	n uint64
}

// log appends a record, and waits for some of them.
func (d *devices) log(kind record.Kind, body []byte) {
	d.t.Helper()
	lsn, err := d.Append(kind, body, nil)
	must(d.t, err)
	if d.rng.IntN(20) == 0 {
		must(d.t, d.Wait(d.t.Context(), lsn))
	}
}

// session returns the record of a device.
func (d *devices) session(id uint64) record.Session {
	return record.Session{ID: id + 1, Expiry: 1000, Namespace: "/", Client: fmt.Sprintf("c%d", id), Owner: "guest"}
}

func (d *devices) records() (n uint64) {
	for _, g := range d.Shard.log.Segments() {
		n += g.Records
	}
	return n
}

// hold fills two segments with messages that a queue keeps, so that no later one
// is ever the oldest.
func (d *devices) hold() {
	d.queue(9, true)
	d.publish(2*smallSegment/200, to(9))
}

// TestControlsStayBounded has devices do the same for ever, with and without old
// messages in a queue: the log stays in proportion to their number, and tells what
// there is.
func TestControlsStayBounded(t *testing.T) {
	for name, round := range map[string]func(d *devices, round int){
		"reconnect with new state": func(d *devices, round int) {
			for id := range d.n {
				r := d.session(id)
				r.Disconnected = int64(1 + round)
				r.Client = fmt.Sprintf("%s-%x-%x", r.Client, d.rng.Uint64(), d.rng.Uint64())
				d.log(record.KindSession, record.AppendSession(nil, &r))
			}
		},
		"reconnect with the same state": func(d *devices, _ int) {
			for id := range d.n {
				r := d.session(id)
				d.log(record.KindSession, record.AppendSession(nil, &r))
			}
		},
		"resubscribe": func(d *devices, _ int) {
			for id := range d.n {
				r := d.session(id)
				if d.rng.IntN(2) == 0 {
					d.log(record.KindSession, record.AppendSession(nil, &r))
				}
				sub := record.Subscription{Session: r.ID, Filter: "a/b"}
				d.log(record.KindSubscription, record.AppendSubscription(nil, &sub))
				if d.rng.IntN(2) == 0 {
					d.log(record.KindSubscriptionDrop, record.AppendSubscription(nil, &sub))
				}
				v := record.Value{Session: r.ID, Key: 1, Present: d.rng.IntN(2) == 0, Value: []byte("will")}
				d.log(record.KindValue, record.AppendValue(nil, &v))
			}
		},
		"come and go": func(d *devices, _ int) {
			for id := range d.n {
				r := d.session(id)
				d.log(record.KindSession, record.AppendSession(nil, &r))
				sub := record.Subscription{Session: r.ID, Filter: "a/b"}
				d.log(record.KindSubscription, record.AppendSubscription(nil, &sub))
				d.log(record.KindSessionDrop, record.AppendSession(nil, &r))
			}
		},
		"subscribe and unsubscribe": func(d *devices, round int) {
			if round == 0 {
				must(d.t, d.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: "a/b", Filter: true}, true))
			}
			for id := range d.n {
				_, err := d.CreateCursor(1, id+1)
				must(d.t, err)
				d.log(record.KindDelivered, record.AppendCursorRef(nil, record.CursorRef{Stream: 1 << 60}))
				if id%3 != 0 {
					_, _, err = d.DropCursor(1, id+1)
					must(d.t, err)
				}
			}
		},
		"make and drop queues": func(d *devices, _ int) {
			for id := range d.n {
				d.queue(record.StreamID(100+id), true)
				if id%10 == 0 {
					d.publish(1, to(record.StreamID(100+id)))
				}
				_, err := d.DropStream(record.StreamID(100 + id))
				must(d.t, err)
			}
		},
		"make and drop one queue": func(d *devices, _ int) {
			for range 100 {
				name := fmt.Sprintf("%x-%x-%x", d.rng.Uint64(), d.rng.Uint64(), d.rng.Uint64())
				must(d.t, d.CreateStream(record.Stream{ID: 1, Namespace: "/", Name: name}, true))
				lsn, err := d.DropStream(1)
				must(d.t, err)
				if d.rng.IntN(20) == 0 {
					must(d.t, d.Wait(d.t.Context(), lsn))
				}
			}
		},
	} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, held %v", name, held), func(t *testing.T) { boundedControls(t, held, round) })
		}
	}
}

// active is about how many records the newest segment has, which stays as it is.
const active = 250

func boundedControls(t *testing.T, held bool, round func(*devices, int)) {
	d := &devices{upkept: newUpkept(t, nil), n: 200}
	if held {
		d.hold()
	}
	var first, last uint64
	for i := range 14 {
		round(d, i)
		d.rest(t)
		d.upkeepAll(t)
		last = d.records()
		if i < 4 {
			first = max(first, last)
		}
		if i%5 == 4 {
			d.sameFold(t, d.fs.CrashClone(vfs.CrashCloneCfg{}))
		}
	}
	written := uint64(d.lastAppended())
	t.Logf("%d records of %d are left, %d at the beginning", last, written, first)
	if last > first*3/2+active {
		t.Errorf("the log grows from %d to %d records, and upkeep has nothing to do", first, last)
	}
	again, err := openOn(t, d.fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), d.cfg)
	must(t, err)
	defer again.Close()
	again.rest(t)
	for _, prefix := range [][]byte{index.SessionPrefix, index.SubscriptionPrefix, index.ValuePrefix} {
		if got, want := keys(t, again, prefix), keys(t, d.Shard, prefix); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s after the index was lost: got %d keys, want %d", prefix, len(got), len(want))
		}
	}
	if got, want := again.Streams(), d.Streams(); got != want {
		t.Errorf("%d streams after the index was lost, want %d", got, want)
	}
	if st := d.UpkeepStats(); st.Rewritten > 3*d.controlsSoFar()+32*smallSegment {
		t.Errorf("%d bytes were rewritten for %d of records", st.Rewritten, d.controlsSoFar())
	}
}

func keys(t *testing.T, s *Shard, prefix []byte) (all []string) {
	t.Helper()
	must(t, s.store.Scan(prefix, func(k, v []byte) error {
		all = append(all, string(k)+"="+string(v))
		return nil
	}))
	return all
}

// ends returns how many ends of things the store tells of.
func (d *devices) ends() (n int) {
	for _, prefix := range [][]byte{index.NewestPrefix, index.EndedPrefix} {
		must(d.t, d.store.Scan(prefix, func(k, _ []byte) error {
			if index.TellsEnd(k) {
				n++
			}
			return nil
		}))
	}
	return n
}

// TestEndsAreForgotten has devices come once each: what the store knows of their
// ends goes with the log's last records of them.
func TestEndsAreForgotten(t *testing.T) {
	d := &devices{upkept: newUpkept(t, nil)}
	d.queue(9, true)
	for id := range uint64(3000) {
		r := d.session(id)
		d.log(record.KindSession, record.AppendSession(nil, &r))
		sub := record.Subscription{Session: r.ID, Filter: "a/b"}
		d.log(record.KindSubscription, record.AppendSubscription(nil, &sub))
		d.log(record.KindSubscriptionDrop, record.AppendSubscription(nil, &sub))
		if id%10 != 0 {
			d.log(record.KindSessionDrop, record.AppendSession(nil, &r))
		}
		if id%500 == 499 {
			d.settle()
		}
	}
	for range 3 { // the newest segment stays, and a sweep follows a rewrite
		d.publish(100, to(9))
		d.drain(9)
		d.settle()
	}
	d.rest(t)
	if n := d.ends(); n > 0 {
		t.Errorf("%d ends are left of 3000 sessions, after upkeep", n)
	}
	d.sameFold(t, d.fs.CrashClone(vfs.CrashCloneCfg{}))
}

// TestEqualRecordsAfterAStart judges equal records anew, as after a start: one of
// each is left.
func TestEqualRecordsAfterAStart(t *testing.T) {
	d := &devices{upkept: newUpkept(t, nil), n: 300}
	for range 12 {
		for id := range d.n {
			r := d.session(id)
			d.log(record.KindSession, record.AppendSession(nil, &r))
		}
		d.rest(t)
		d.upkeepAll(t)
	}
	d.upkeep.step.Lock()
	d.upkeep.kept = nil
	d.upkeep.step.Unlock()
	d.rest(t)
	d.upkeepAll(t)
	if n := d.records(); n > 600 {
		t.Errorf("300 sessions keep %d records", n)
	}
}

// TestRebuildOfStreamsMadeAgain has queues come and go while another one holds some
// of their messages, with upkeep between: the log alone tells what there is. Seed 214
// leaves a message at its place in a stream of which both records are gone.
func TestRebuildOfStreamsMadeAgain(t *testing.T) {
	for seed := uint64(200); seed < 220; seed++ {
		d := &devices{upkept: newUpkept(t, nil)}
		d.rng = rand.New(rand.NewPCG(seed, 5))
		d.queue(9, true)
		if seed%3 == 0 {
			d.publish(2*smallSegment/200, to(9))
		}
		for range 25 {
			id := record.StreamID(1 + d.rng.IntN(2))
			kept := id == 2 && seed%2 == 0
			must(t, d.CreateStream(record.Stream{ID: id, Namespace: "/", Name: "again", Kept: kept}, true))
			d.publish(1+d.rng.IntN(60), to(id))
			if d.rng.IntN(2) == 0 {
				d.publish(1+d.rng.IntN(20), to(id, 9))
			}
			if d.rng.IntN(3) == 0 && !kept {
				d.drain(id)
			}
			if d.rng.IntN(3) == 0 {
				d.rest(t)
				for range d.rng.IntN(8) {
					d.Upkeep(t.Context())
				}
			}
			if d.rng.IntN(4) != 0 {
				_, err := d.DropStream(id)
				must(t, err)
			}
		}
		d.rest(t)
		for range d.rng.IntN(8) {
			d.Upkeep(t.Context())
		}
		d.sameFold(t, d.fs.CrashClone(vfs.CrashCloneCfg{}))
		again, err := openOn(t, d.fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), d.cfg)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, want := again.Streams(), d.Streams(); got != want {
			t.Errorf("seed %d: %d streams after the index was lost, want %d", seed, got, want)
		}
		must(t, again.Close())
	}
}
