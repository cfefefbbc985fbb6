package shard

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidegate/tidegate/core/clock"
	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// upkept is a shard with small segments that checkpoints all the time.
type upkept struct {
	*Shard
	t    *testing.T
	fs   *vfs.MemFS
	log  *bytes.Buffer
	fail atomic.Pointer[errorfs.InjectorFunc]
	rng  *rand.Rand
}

const smallSegment = 8 << 10

func newUpkept(t *testing.T, change func(*Config)) *upkept {
	t.Helper()
	cfg := testConfig(100)
	cfg.SegmentBytes, cfg.CheckpointBytes, cfg.TailBytes, cfg.CacheBytes = smallSegment, 1, 1, 1
	cfg.Upkeep = UpkeepConfig{RewritePercent: 30, Compress: true}
	if change != nil {
		change(&cfg)
	}
	u := &upkept{t: t, fs: vfs.NewCrashableMem(), log: new(bytes.Buffer), rng: rand.New(rand.NewPCG(1, 2))}
	s, err := Open(cfg, Deps{
		FS: errorfs.Wrap(u.fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if fail := u.fail.Load(); fail != nil {
				return (*fail)(op)
			}
			return nil
		})),
		Clock: clock.System, Log: slog.New(slog.NewTextHandler(u.log, nil)),
		OpenStore: func() (index.Store, error) { return index.NewMap(), nil },
	})
	must(t, err)
	u.Shard = s
	t.Cleanup(func() { _ = s.Close() })
	return u
}

// inBubble is synctest.Test, once the codecs were used outside: they belong to the
// process and have channels, which must not be those of a bubble that ends.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.publish(200, to(1))
	u.settle()
	must(t, u.Close())
	synctest.Test(t, test)
}

func (u *upkept) queue(id record.StreamID, durable bool) {
	u.t.Helper()
	must(u.t, u.CreateStream(record.Stream{ID: id, Namespace: "/", Name: strconv.Itoa(int(id))}, durable))
}

// publish sends n messages of 200 random bytes each and waits for the last one.
func (u *upkept) publish(n int, m record.Message) (last record.LSN) {
	u.t.Helper()
	for range n {
		m.Namespace = []byte("/")
		m.Payload = make([]byte, 200)
		for i := range m.Payload {
			m.Payload[i] = byte(u.rng.Uint32())
		}
		var err error
		last, err = u.Publish(&m, true, nil)
		must(u.t, err)
		if u.rng.IntN(5) == 0 {
			must(u.t, u.Wait(u.t.Context(), last))
		}
	}
	must(u.t, u.Wait(u.t.Context(), last))
	return last
}

func to(ids ...record.StreamID) record.Message { return record.Message{Streams: ids} }

// drain settles all that a queue has.
func (u *upkept) drain(id record.StreamID) (n int) {
	u.t.Helper()
	for {
		ref, _, ok, err := u.Get(u.t.Context(), id)
		must(u.t, err)
		if !ok {
			return n
		}
		var h Hint
		var m record.Message
		_, err = u.Record(ref.LSN, &h, &m)
		must(u.t, err)
		if len(m.Payload) != 200 {
			u.t.Fatalf("record %d has a payload of %d bytes", ref.LSN, len(m.Payload))
		}
		u.SettleTaken(id, []record.Offset{ref.Offset}, false)
		n++
	}
}

// settle has the store know all and does all upkeep.
func (u *upkept) settle() {
	u.t.Helper()
	u.rest(u.t)
	u.upkeepAll(u.t)
	u.readable(u.t)
}

// atMost checks that the log has no more than so many full segments on disk.
func (u *upkept) atMost(what string, segments float64) {
	u.t.Helper()
	if got := float64(u.Bytes()); got > segments*smallSegment {
		u.t.Errorf("%s: the log has %.1f segments' bytes in %d files, want at most %.1f",
			what, got/smallSegment, len(u.files()), segments)
	}
}

func (u *upkept) files() []string {
	names, err := u.fs.List(u.cfg.Dir)
	must(u.t, err)
	return names
}

func TestUpkeepDropsWhatIsSettled(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.publish(1000, to(1))
	u.settle()
	if n := len(u.files()); n < 20 {
		t.Fatalf("only %d files for 1000 messages", n)
	}
	if n := u.drain(1); n != 1000 {
		t.Fatalf("drained %d messages", n)
	}
	u.settle()
	u.atMost("all settled", 2)
	u.publish(10, to(1))
	if n := u.drain(1); n != 10 {
		t.Errorf("drained %d messages, want 10", n)
	}
	if st := u.UpkeepStats(); st.Dropped < 1000*200/2 || st.Segments > 3 || st.Bytes != u.Bytes() || st.Raw == 0 {
		t.Errorf("stats: %+v", st)
	}
}

// TestHeldMessagePinsItself has one message wait while 200 segments of others go
// through, and one in a hundred of these too.
func TestHeldMessagePinsItself(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.queue(2, true)
	first := u.publish(1, to(1, 2))
	most := uint64(0)
	for range 40 {
		u.publish(190, to(1))
		u.publish(1, to(1, 2))
		u.drain(1)
		u.settle()
		most = max(most, u.Bytes())
	}
	// 41 messages of 200 bytes are held, a bit more than a segment.
	u.atMost("one message in 200 held", 4)
	if most > 10*smallSegment {
		t.Errorf("the log had %d segments' bytes in between", most/smallSegment)
	}
	if n := len(u.files()); n > 8 {
		t.Errorf("%d files", n)
	}
	ref, _, _, err := u.Get(t.Context(), 2)
	if err != nil || ref.LSN != first {
		t.Errorf("the message held first: record %d, %v; want %d", ref.LSN, err, first)
	}
	u.SettleTaken(2, []record.Offset{ref.Offset}, true)
	if n := u.drain(2); n != 41 {
		t.Errorf("drained %d messages that were held, want 41", n)
	}
	u.settle()
	u.atMost("none held", 2)
}

func TestUpkeepAfterPurgeAndDrop(t *testing.T) {
	for _, durable := range []bool{true, false} {
		u := newUpkept(t, nil)
		u.queue(1, durable)
		u.queue(2, durable)
		u.publish(500, to(1))
		u.publish(500, to(2))
		u.settle()
		if _, _, err := u.Purge(1); err != nil {
			t.Fatal(err)
		}
		u.publish(1, to(1)) // has a purge of a transient queue reach the store
		u.settle()
		if got := u.Bytes(); got > 500*260+5*smallSegment {
			t.Errorf("durable %v: %d bytes after a purge of one half", durable, got)
		}
		if _, err := u.DropStream(2); err != nil {
			t.Fatal(err)
		}
		u.publish(1, to(1))
		u.settle()
		u.atMost("after the drop", 2)
		if n := u.drain(1); n != 2 {
			t.Errorf("durable %v: drained %d, want 2", durable, n)
		}
	}
}

// TestUpkeepKeepsForTransients shares messages between a durable queue that is
// drained and a transient one that is not.
func TestUpkeepKeepsForTransients(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.queue(2, false)
	u.publish(600, to(1, 2))
	u.drain(1)
	u.settle()
	if got := u.Bytes(); got < 600*200 {
		t.Errorf("%d bytes left of 600 messages that are needed", got)
	}
	if n := u.drain(2); n != 600 {
		t.Errorf("drained %d, want 600", n)
	}
	u.publish(1, to(1))
	u.settle()
	u.atMost("drained", 2)
}

func TestUpkeepKeepsRetainedAndOnce(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	retained := to(1)
	retained.Retain, retained.Key = true, []byte("topic")
	u.publish(1, retained)
	want := u.publish(1, retained)
	once := to(1)
	once.Once = record.Once{Session: 5, ID: 7}
	number := u.publish(1, once)
	u.publish(500, to(1))
	u.drain(1)
	u.settle()
	u.atMost("one retained", 2)
	var found record.LSN
	for _, ref := range u.SearchRetained("/", "#").Next(nil, 2) {
		found = ref.LSN
	}
	if found != want {
		t.Errorf("retained: record %d, want %d", found, want)
	}
	if lsn, err := u.Publish(&once, true, nil); err != nil || lsn != number {
		t.Errorf("publish of a known number: %d, %v; want %d", lsn, err, number)
	}
	fs := u.fs.CrashClone(vfs.CrashCloneCfg{})
	if got := foldLog(t, fs, u.cfg).once[once.Once]; got != number {
		t.Errorf("the segments tell of number %d, want %d", got, number)
	}
}

// TestUpkeepOfSessions has many sessions come and go: their segments shrink to
// next to nothing, and nothing that there is gets lost.
func TestUpkeepOfSessions(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.publish(1, to(1)) // is held: older than all that follows
	for id := range uint64(300) {
		for _, r := range []struct {
			kind record.Kind
			body []byte
		}{
			{record.KindSession, record.AppendSession(nil, &record.Session{ID: id, Client: "client"})},
			{record.KindSubscription, record.AppendSubscription(nil, &record.Subscription{Session: id, Filter: "a/b/c"})},
			{record.KindValue, record.AppendValue(nil, &record.Value{Session: id, Present: true, Value: make([]byte, 50)})},
			{record.KindValue, record.AppendValue(nil, &record.Value{Session: id, Present: true, Value: make([]byte, 60)})},
			{record.KindSessionDrop, record.AppendSession(nil, &record.Session{ID: id})},
		} {
			if id == 299 && r.kind == record.KindSessionDrop {
				break
			}
			lsn, err := u.Append(r.kind, r.body, nil)
			must(t, err)
			must(t, u.Wait(t.Context(), lsn))
		}
	}
	u.publish(200, to())
	before := u.Bytes()
	u.settle()
	u.sameFold(t, u.fs.CrashClone(vfs.CrashCloneCfg{}))
	if got := u.Bytes(); got > before/3 {
		t.Errorf("%d bytes of %d left", got, before)
	}
	u.drain(1)
	u.settle()
	u.sameFold(t, u.fs.CrashClone(vfs.CrashCloneCfg{}))
	u.atMost("nothing held", 3)
}

// TestUpkeepRests checks that upkeep does not go on for ever about the same.
func TestUpkeepRests(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	u.queue(2, true)
	for i := range 300 {
		u.publish(1, to(1))
		if i%10 == 0 {
			u.publish(1, to(1, 2))
		}
	}
	u.drain(1)
	u.settle()
	before := u.UpkeepStats()
	for range 5 {
		u.rest(t)
		u.upkeepAll(t)
	}
	after := u.UpkeepStats()
	if after.Rewritten-before.Rewritten > 3*smallSegment {
		t.Errorf("rewrote %d bytes though little has changed", after.Rewritten-before.Rewritten)
	}
}

// TestUpkeepLeavesRot damages a segment: it stays, what is damaged is told, and
// the others are still rewritten.
func TestUpkeepLeavesRot(t *testing.T) {
	u := newUpkept(t, func(cfg *Config) { cfg.Upkeep.Compress = false })
	u.queue(1, true)
	u.queue(2, true)
	for range 60 {
		u.publish(10, to(1))
		u.publish(1, to(1, 2))
	}
	u.drain(1)
	u.rest(t)
	rotten := u.Shard.log.Segments()[3]
	names := u.files()
	slices.Sort(names)
	damage(t, u.fs, u.fs.PathJoin(u.cfg.Dir, names[3]), rotten.Bytes/2)
	u.upkeepAll(t)
	if st := u.UpkeepStats(); st.Damaged != 1 || st.Rewritten == 0 {
		t.Errorf("stats: %+v", st)
	}
	if text := u.log.String(); strings.Count(text, "segment is damaged") != 1 || !strings.Contains(text, "first_lsn=") {
		t.Errorf("logged:\n%s", text)
	}
	for _, s := range u.Shard.log.Segments() {
		if s.Base == rotten.Base && s.Bytes == rotten.Bytes && !s.Rewritten {
			return
		}
	}
	t.Error("the damaged segment is gone")
}

func damage(t *testing.T, fs vfs.FS, path string, at int64) {
	t.Helper()
	f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
	must(t, err)
	_, err = f.WriteAt([]byte{0xff, 0xfe, 0xfd, 0xfc}, at)
	must(t, errors.Join(err, f.Close()))
}

// TestUpkeepRetries fails every rewrite for a while: it is tried again after
// delays that grow, logged once, and drops go on.
func TestUpkeepRetries(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		u := newUpkept(t, func(cfg *Config) { cfg.CheckpointInterval = time.Hour })
		u.queue(1, true)
		u.publish(300, to(1)) // the segments that follow are not marked with the queue's creation
		u.drain(1)
		u.settle()
		u.publish(300, to(1))
		u.rest(t)
		tries := 0
		fail := errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, ".rws.tmp") {
				tries++
				return errorfs.ErrInjected
			}
			return nil
		})
		u.fail.Store(&fail)
		for range 60 {
			u.upkeepAll(t)
			<-time.After(time.Second)
		}
		if tries < 4 || tries > 7 {
			t.Errorf("tried %d times in a minute", tries)
		}
		if n := strings.Count(u.log.String(), "upkeep failed"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, u.log)
		}
		u.drain(1)
		u.rest(t)
		u.upkeepAll(t)
		u.atMost("dropped though rewrites fail", 2)
		u.publish(300, to(1))
		u.rest(t)
		u.fail.Store(nil)
		<-time.After(retryAtMost)
		u.upkeepAll(t)
		if st := u.UpkeepStats(); st.Rewritten == 0 {
			t.Errorf("no rewrite once it can be done: %+v", st)
		}
		must(t, u.Close())
	})
}

// TestUpkeepRunsByItself waits for the shard's own goroutine.
func TestUpkeepRunsByItself(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		u := newUpkept(t, func(cfg *Config) {
			cfg.Upkeep.Interval, cfg.Upkeep.BytesPerSecond = time.Second, 1<<20
			cfg.CheckpointInterval = time.Second
		})
		u.queue(1, true)
		u.publish(1000, to(1))
		<-time.After(time.Minute)
		u.readable(t)
		if st := u.UpkeepStats(); st.Rewritten == 0 || st.Written == 0 {
			t.Errorf("nothing was rewritten: %+v", st)
		}
		u.drain(1)
		<-time.After(time.Minute)
		u.atMost("drained", 2)
		must(t, u.Close())
	})
}

// TestDropLeavesTheMarksOfOthers drops a stream whose id is the number of the
// block of records in which a filter's stream was made, and has the segment of
// that give up its messages: the record that made the filter's stream stays.
func TestDropLeavesTheMarksOfOthers(t *testing.T) {
	u := newUpkept(t, func(cfg *Config) { cfg.Upkeep.RewritePercent, cfg.Upkeep.Compress = 0, false })
	const queue, filter = 1 << 40, 1<<40 + 1
	u.queue(queue, true)
	const block = 2
	u.queue(block, true)
	u.publish(int(block<<8)+20, to(queue))
	must(t, u.CreateStream(record.Stream{ID: filter, Filter: true, Namespace: "/", Name: "a/#"}, true))
	lsn, err := u.CreateCursor(filter, 7)
	must(t, err)
	must(t, u.Wait(t.Context(), lsn))
	if got := index.ControlBlock(lsn); got != block {
		t.Fatalf("the cursor began in block %d, not %d", got, block)
	}
	u.publish(700, to(queue))
	if _, err := u.DropStream(block); err != nil {
		t.Fatal(err)
	}
	u.publish(300, to(queue))
	u.publish(1, to(filter))
	u.drain(queue)
	u.settle()
	u.sameFold(t, u.fs.CrashClone(vfs.CrashCloneCfg{}))
}

// TestCensusIsRareWhileMessagesOnlyCome counts before and after something goes.
func TestCensusIsRareWhileMessagesOnlyCome(t *testing.T) {
	u := newUpkept(t, nil)
	u.queue(1, true)
	counts := func() bool {
		u.publish(100, record.Message{Streams: []record.StreamID{1}})
		u.rest(t)
		u.upkeep.step.Lock()
		defer u.upkeep.step.Unlock()
		u.upkeep.next, u.upkeep.resting = time.Time{}, time.Now().Add(time.Hour)
		counted, err := u.count(t.Context(), u.touchable())
		must(t, err)
		return counted
	}
	if !counts() {
		t.Error("no first census")
	}
	if counts() {
		t.Error("a census of messages that only came")
	}
	u.drain(1)
	if !counts() {
		t.Error("no census after messages were settled")
	}
	if counts() {
		t.Error("another census of messages that only came")
	}
}
