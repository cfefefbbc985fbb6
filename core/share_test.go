package core_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegate/tidegate/core"
)

// The values of the sessions in these tests tell which delivery is lent, in the bytes that
// lendingOf writes.
func lendingOf(p core.Position, done bool) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.Stream))
	b = binary.BigEndian.AppendUint64(b, uint64(p.Offset))
	b = binary.BigEndian.AppendUint64(b, uint64(p.LSN))
	b = binary.BigEndian.AppendUint32(b, p.Shard)
	if done {
		return append(b, 1)
	}
	return append(b, 0)
}

func readLending(_ uint32, b []byte) (p core.Position, done, ok bool) {
	if len(b) != 29 {
		return p, false, false
	}
	p.Stream = core.StreamID(binary.BigEndian.Uint64(b))
	p.Offset = core.Offset(binary.BigEndian.Uint64(b[8:]))
	p.LSN = core.LSN(binary.BigEndian.Uint64(b[16:]))
	p.Shard = binary.BigEndian.Uint32(b[24:])
	return p, b[28] == 1, true
}

func lends(c *core.Config, d *core.Deps) {
	calmLetters(c, d)
	d.Lent = readLending
}

func eachShare(t *testing.T, fn func(t *testing.T, w *world)) {
	for _, n := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", n), func(t *testing.T) { fn(t, newWorldWith(t, n, lends)) })
	}
}

// numbered publishes messages 0 to n-1 to topics of a group's filter.
func (w *world) numbered(n int) {
	w.t.Helper()
	p := w.publisher(nil)
	for i := range n {
		p.send(mqtt("t/"+strconv.Itoa(i%5), strconv.Itoa(i), 1))
	}
	p.confirmed()
}

// nothing looks that a session gets nothing.
func (w *world) nothing(s *core.Session) {
	w.t.Helper()
	got, err := s.Next(nil, 100)
	w.must(err)
	if len(got) > 0 {
		w.t.Fatalf("got %v, want nothing", bodies(got))
	}
}

func positions(ds []core.Delivery) (all []core.Position) {
	for i := range ds {
		all = append(all, ds[i].Position)
	}
	return all
}

func sorted(ds ...[]core.Delivery) []string {
	var all []string
	for _, d := range ds {
		all = append(all, bodies(d)...)
	}
	slices.Sort(all)
	return all
}

func numbers(n int) (all []string) {
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	slices.Sort(all)
	return all
}

// Each message goes to one of the members, beside those who have the filter for themselves.
func TestShareGoesToOneMember(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		a, wakeA, _ := w.session("a", time.Hour, false)
		b, wakeB, _ := w.session("b", 0, true)
		w.subscribe(a, "$share/g/t/#", "t/#")
		w.subscribe(b, "$share/g/t/#")
		other, wakeOther, _ := w.session("other", 0, true)
		w.subscribe(other, "$share/another/t/#")
		w.nothing(a)
		w.nothing(b)
		w.numbered(20)
		gotA, gotB := w.take(a, wakeA, 30), w.take(b, wakeB, 10)
		if diff := cmp.Diff(slices.Sorted(slices.Values(append(numbers(20), numbers(20)...))), sorted(gotA, gotB)); diff != "" {
			t.Errorf("both of them together (-want +got):\n%s", diff)
		}
		shared := 0
		for _, d := range gotA {
			if d.Shared {
				shared++
			}
		}
		if shared != 10 {
			t.Errorf("%d deliveries are shared, want 10", shared)
		}
		if diff := cmp.Diff(numbers(20), sorted(w.take(other, wakeOther, 20))); diff != "" {
			t.Errorf("another group (-want +got):\n%s", diff)
		}
	})
}

// Who has room for two holds two, and the rest goes to who has room, also where it was assigned
// before.
func TestShareGivesWhatThereIsRoomFor(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		a, wakeA, _ := w.session("a", 0, true)
		w.subscribe(a, "$share/g/t/#", "own")
		w.nothing(a) // has room for a hundred
		w.numbered(10)
		two := w.take(a, wakeA, 2)
		b, wakeB, _ := w.session("b", 0, true)
		w.subscribe(b, "$share/g/t/#")
		eight := w.take(b, wakeB, 8)
		if diff := cmp.Diff(numbers(10), sorted(two, eight)); diff != "" {
			t.Fatalf("both of them together (-want +got):\n%s", diff)
		}
		a.Settle(two[0].Position)
		a.Withhold()
		w.numbered(1)
		want(t, w.take(b, wakeB, 1), "0")
		w.nothing(b) // has room for a hundred
		b.Withhold()
		w.nothing(a)
		w.numbered(1)
		want(t, w.take(a, wakeA, 1), "0")
	})
}

// What a member has not settled when its connection ends goes to the others, marked.
func TestShareOfALostMember(t *testing.T) {
	for _, how := range []string{"closed", "taken over", "ended"} {
		t.Run(how, func(t *testing.T) {
			eachShare(t, func(t *testing.T, w *world) {
				a, wakeA, _ := w.session("a", time.Hour, false)
				w.subscribe(a, "$share/g/t/#")
				w.numbered(3)
				got := w.take(a, wakeA, 3)
				b, wakeB, _ := w.session("b", time.Hour, false)
				w.subscribe(b, "$share/g/t/#")
				a.Settle(got[1].Position)
				w.nothing(b)
				switch how {
				case "closed":
					w.must(a.Close(t.Context()))
				case "ended":
					a.SetExpiry(0)
					w.must(a.Close(t.Context()))
				default:
					w.session("a", time.Hour, false)
				}
				a.Settle(got[0].Position) // is too late
				want(t, w.take(b, wakeB, 2), "0!", "2!")
			})
		})
	}
}

// What is there for a group whose members are all away stays there, also over a crash.
func TestShareBacklogOfMembersThatAreAway(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		a, wake, _ := w.session("a", time.Hour, false)
		w.subscribe(a, "$share/g/t/#")
		w.numbered(4)
		got := w.take(a, wake, 2)
		a.Settle(positions(got)...)
		w.must(a.Close(t.Context()))
		w.numbered(2)
		w.restart()
		if all, err := w.Orphans(); err != nil || len(all) > 0 {
			t.Errorf("the queue of the group is an orphan: %v, %v", all, err)
		}
		w.crash()
		b, wakeB, _ := w.session("b", 0, true)
		w.subscribe(b, "$share/g/t/#")
		got = w.take(b, wakeB, 4)
		if order := []string{"2!", "3!", "0", "1"}; !slices.Equal(bodies(got), order) {
			t.Errorf("got %v, want %v: two were delivered before", bodies(got), order)
		}
	})
}

// A group ends with its last session, and what it has with it; one that comes later begins anew.
func TestShareEndsWithItsLastMember(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		streams := w.Stats().Streams
		a, _, _ := w.session("a", time.Hour, false)
		b, _, _ := w.session("b", 0, true)
		w.subscribe(a, "$share/g/t/#")
		w.subscribe(b, "$share/g/t/#")
		w.numbered(3)
		w.must(b.Close(t.Context()))
		if n := w.Stats().Streams; n != streams+1 {
			t.Errorf("%d streams, want %d", n, streams+1)
		}
		if existed, err := a.Unsubscribe(t.Context(), []string{"$share/g/t/#"}); err != nil || !existed[0] {
			t.Fatalf("unsubscribe: %v, %v", existed, err)
		}
		if n := w.Stats().Streams; n != streams {
			t.Errorf("%d streams, want %d", n, streams)
		}
		c, wake, _ := w.session("c", time.Hour, false)
		w.subscribe(c, "$share/g/t/#")
		w.numbered(1)
		want(t, w.take(c, wake, 1), "0")
		w.crash()
		c, wake, _ = w.session("c", time.Hour, false)
		want(t, w.take(c, wake, 1), "0!")
	})
}

// A group of sessions that a crash ends, ends with it.
func TestShareOfCleanSessionsEndsWithThem(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		streams := w.Stats().Streams
		a, _, _ := w.session("a", 0, true)
		w.subscribe(a, "$share/g/t/#")
		w.numbered(3)
		w.crash()
		if n := w.Stats().Streams; n != streams {
			t.Errorf("%d streams after the crash, want %d", n, streams)
		}
	})
}

// Messages of QoS 0, and all for members of QoS 0, go to one who is connected.
func TestShareFromMemory(t *testing.T) {
	w := newWorldWith(t, 3, lends)
	got := map[string]int{}
	open := func(client string, fast bool, qos uint8) *core.Session {
		s, _, err := w.OpenSession(t.Context(), "/", core.SessionSpec{
			ClientID: client, Owner: "guest", Expiry: time.Hour, Notify: func() {},
			Live: func(_ *core.Message, ids []core.SubID) bool {
				if fast && len(ids) == 1 {
					got[client]++
				}
				return fast
			},
		})
		w.must(err)
		_, err = s.Subscribe(t.Context(), []core.SubscriptionSpec{{Filter: "$share/g/t/#", QoS: qos}})
		w.must(err)
		return s
	}
	open("a", true, 0)
	open("b", true, 0)
	open("slow", false, 0)
	w.must(open("away", true, 0).Close(t.Context()))
	w.numbered(12)
	if got["a"]+got["b"] != 12 || got["a"] == 0 || got["b"] == 0 || got["away"] > 0 {
		t.Errorf("got %v, want twelve shared by a and b", got)
	}
	clear(got)
	stored := open("c", true, 1)
	p := w.publisher(nil)
	for range 8 {
		p.send(mqtt("t/x", "q0", 0))
	}
	if got["a"]+got["b"]+got["c"] != 8 || got["c"] == 0 {
		t.Errorf("got %v, want eight shared by a, b and c", got)
	}
	clear(got)
	w.nothing(stored)
	p.send(mqtt("t/x", "stored", 1))
	p.confirmed()
	if len(got) > 0 {
		t.Errorf("%v got from memory what is stored", got)
	}
}

// A message that members fail on comes back to any of them, later each time, and at last becomes
// a dead letter; one that is rejected becomes one at once.
func TestShareFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 3, lends)
		a, wakeA, _ := w.session("a", time.Hour, false)
		w.subscribe(a, "$share/g/t/#")
		w.numbered(2)
		got := w.take(a, wakeA, 2)
		if got[0].Returns != 0 {
			t.Errorf("the first delivery has %d failures", got[0].Returns)
		}
		away, begin := time.Second, time.Now()
		a.Fail(true, got[1].Position)
		a.Fail(false, got[0].Position)
		a.Fail(false, got[0].Position) // once
		want(t, w.shares("dlq.g", 1), "1")
		for n := uint32(1); n < 16; n++ {
			<-time.After(time.Until(begin.Add(away - time.Millisecond)))
			w.nothing(a)
			got = w.take(a, wakeA, 1)
			if d := time.Since(begin); d < away || d > away+time.Second/2 || got[0].Returns != n || !got[0].Redelivered {
				t.Fatalf("failure %d: %+v is back after %v, want %v", n, got[0], d, away)
			}
			begin, away = time.Now(), min(2*away, time.Minute)
			a.Fail(false, got[0].Position)
		}
		want(t, w.shares("dlq.g", 1), "0")
		w.nothing(a)
	})
}

// shares receives n dead letters of a group, whose queue may be made just now.
func (w *world) shares(queue string, n int) []core.Delivery {
	w.t.Helper()
	for {
		if _, err := w.CheckQueue("/", queue, ""); err == nil {
			break
		}
		<-time.After(time.Millisecond)
	}
	c, wake := w.consume(queue)
	got := w.take(c, wake, n)
	c.Settle(core.Ack, positions(got)...)
	w.must(c.Cancel(w.t.Context()))
	return got
}

// What expires in a group is gone.
func TestShareExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldWith(t, 1, lends)
		a, _, _ := w.session("a", time.Hour, false)
		w.subscribe(a, "$share/g/t/#")
		p, m := w.publisher(nil), mqtt("t/x", "over", 1)
		m.ExpireAt = time.Now().Add(time.Second).UnixMilli()
		p.send(m)
		p.confirmed()
		<-time.After(2 * time.Second)
		synctest.Wait()
		w.nothing(a)
		if _, err := w.CheckQueue("/", "dlq.g", ""); err == nil {
			t.Error("there is a queue for dead letters")
		}
	})
}

// What is lent to a session goes to nobody else, until its value is gone or the session says
// that the client has it; over takeovers, crashes and the end of the session.
func TestShareLent(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		a, wakeA, _ := w.session("a", time.Hour, false)
		w.subscribe(a, "$share/g/t/#")
		w.numbered(5)
		got := w.take(a, wakeA, 5)
		for i := range 4 {
			w.put(a, wakeA, uint32(i+1), lendingOf(got[i].Position, false))
		}
		b, wakeB, _ := w.session("b", time.Hour, false)
		w.subscribe(b, "$share/g/t/#")
		w.must(a.Close(t.Context()))
		want(t, w.take(b, wakeB, 1), "4!")
		w.crash()
		b, wakeB, _ = w.session("b", time.Hour, false)
		want(t, w.take(b, wakeB, 1), "4!")
		a, wakeA, _ = w.session("a", time.Hour, false)
		w.nothing(b)
		again, err := a.Reread(got[0].Position)
		w.must(err)
		want(t, []core.Delivery{again}, "0!")
		if !again.Shared || len(again.Subscriptions) != 1 {
			t.Errorf("got %+v, want one that is shared", again)
		}
		// The client has the first.
		w.put(a, wakeA, 1, lendingOf(got[0].Position, true), got[0].Position)
		// The second was never sent.
		w.put(a, wakeA, 2, nil)
		want(t, w.take(b, wakeB, 1), "1!")
		w.nothing(a)
		w.crash()
		b, wakeB, _ = w.session("b", time.Hour, false)
		if diff := cmp.Diff([]string{"1!", "4!"}, sorted(w.take(b, wakeB, 2))); diff != "" {
			t.Fatalf("after the crash (-want +got):\n%s", diff)
		}
		a, wakeA, _ = w.session("a", time.Hour, false)
		w.put(a, wakeA, 1, nil)
		// The client failed on the third, and of the fourth nobody knows: it may have it.
		a.Fail(false, got[2].Position)
		w.put(a, wakeA, 3, nil)
		want(t, w.take(b, wakeB, 1), "2!")
		a.SetExpiry(0)
		w.must(a.Close(t.Context()))
		w.nothing(b)
		w.crash()
		b, wakeB, _ = w.session("b", time.Hour, false)
		if diff := cmp.Diff([]string{"1!", "2!", "4!"}, sorted(w.take(b, wakeB, 3))); diff != "" {
			t.Fatalf("after the end (-want +got):\n%s", diff)
		}
		w.nothing(b)
	})
}

// put keeps a value and waits until it is stored.
func (w *world) put(s *core.Session, wake chan struct{}, key uint32, value []byte, settle ...core.Position) {
	w.t.Helper()
	n, err := s.Put(key, value, settle...)
	w.must(err)
	for {
		stored, err := s.Stored()
		w.must(err)
		if stored >= n {
			return
		}
		<-wake
	}
}

// A session may be one more consumer of a queue.
func TestShareOfAQueue(t *testing.T) {
	eachShare(t, func(t *testing.T, w *world) {
		w.queue("q")
		c, wakeC := w.consume("q", core.NewLimit(2))
		a, wakeA, _ := w.session("a", time.Hour, false)
		w.subscribe(a, "$queue/q")
		w.nothing(a)
		p := w.publisher(nil)
		for i := range 6 {
			p.send(amqp("", "q", strconv.Itoa(i)))
		}
		p.confirmed()
		byC, byA := w.take(c, wakeC, 2), w.take(a, wakeA, 4)
		if diff := cmp.Diff(numbers(6), sorted(byC, byA)); diff != "" {
			t.Fatalf("both of them together (-want +got):\n%s", diff)
		}
		c.Settle(core.Ack, positions(byC)...)
		a.Settle(byA[0].Position)
		w.must(a.Close(t.Context()))
		if st, err := w.CheckQueue("/", "q", ""); err != nil || st.Ready+st.Unsettled != 3 {
			t.Errorf("got %+v, %v, want the 3 of the session back", st, err)
		}
		w.must(c.Cancel(t.Context()))
		w.crash()
		a, wakeA, _ = w.session("a", time.Hour, false)
		w.take(a, wakeA, 3)
		if _, err := w.DeleteQueue(t.Context(), "/", "q", "", false, false); err != nil {
			t.Fatal(err)
		}
		w.nothing(a)
		w.must(a.Close(t.Context()))
		if n := w.Stats().Consumers; n != 0 {
			t.Errorf("%d consumers are left", n)
		}
	})
}

// TestShareCrashes crashes at each write while a member receives, settles and leaves: what it
// has not settled is there, what is settled is not, and what is lent to it is so still.
func TestShareCrashes(t *testing.T) {
	for _, of := range []struct{ shards, kept int }{{1, 50}, {3, 0}, {3, 50}, {3, 100}} {
		t.Run(fmt.Sprintf("shards=%d/kept=%d", of.shards, of.kept), func(t *testing.T) {
			for step := 0; ; step++ {
				w := newWorldWith(t, of.shards, lends)
				a, wakeA, _ := w.session("a", time.Hour, false)
				w.subscribe(a, "$share/g/t/#")
				w.numbered(8)
				a.Settle(w.take(a, wakeA, 1)[0].Position)
				w.must(a.Close(t.Context()))
				w.restart() // the settling is in the log
				a, wakeA, _ = w.session("a", time.Hour, false)
				reached := w.crashDuring(step, of.kept, func() {
					got := w.take(a, wakeA, 3)
					w.put(a, wakeA, 1, lendingOf(got[0].Position, false))
					w.put(a, wakeA, 1, lendingOf(got[0].Position, true), got[0].Position)
					a.Settle(got[1].Position)
					w.must(a.Close(t.Context()))
				})
				lent := false
				a, _, _ = w.session("a", time.Hour, false)
				a.Values(func(uint32, []byte) { lent = true })
				w.must(a.Close(t.Context()))
				left := w.leftFor("b")
				wanted := map[string]int{"0": 0, "1": 1, "3": 1, "4": 1, "5": 1, "6": 1, "7": 1}
				if lent {
					wanted["1"] = 0
				}
				for body, n := range wanted {
					if left[body] != n {
						t.Fatalf("crash at step %d: %v are there, want %v; lent %v", step, left, wanted, lent)
					}
				}
				if reached == notReached {
					if !lent {
						t.Fatal("without a crash the client does not have its message")
					}
					return
				}
			}
		})
	}
}

// leftFor is how often each message is there for one more member.
func (w *world) leftFor(client string) map[string]int {
	w.t.Helper()
	s, _, _ := w.session(client, time.Hour, false)
	w.subscribe(s, "$share/g/t/#")
	left := map[string]int{}
	for {
		ds, err := s.Next(nil, 10)
		w.must(err)
		if len(ds) == 0 {
			return left
		}
		for i := range ds {
			left[string(ds[i].Message.Payload)]++
		}
	}
}
