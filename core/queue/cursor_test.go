package queue_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// TestCursorAgainstModel drives a cursor and a map of states side by side.
func TestCursorAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := queue.NewCursor(0)
		const fresh, flying, back, done, dead = 0, 1, 2, 3, 4
		state := map[record.Offset]int{}
		var end record.Offset
		pick := func(states ...int) (record.Offset, bool) {
			var all []record.Offset
			for o := range end {
				if slices.Contains(states, state[o]) {
					all = append(all, o)
				}
			}
			if len(all) == 0 {
				return 0, false
			}
			return rapid.SampledFrom(all).Draw(t, "offset"), true
		}
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { end += record.Offset(rapid.IntRange(1, 9000).Draw(t, "n")) },
			"take": func(t *rapid.T) {
				for range rapid.IntRange(1, 50).Draw(t, "n") {
					want, redelivered, found := record.Offset(0), false, false
					for o := range end {
						if s := state[o]; s == back || s == fresh {
							want, redelivered, found = o, s == back, true
							break
						}
					}
					peeked, some := c.Peek(end)
					got, re, ok := c.Take(end)
					if ok != found || some != found || ok && (got != want || peeked != want || re != redelivered) {
						t.Fatalf("took %d %v %v, want %d %v %v", got, re, ok, want, redelivered, found)
					}
					if ok {
						state[got] = flying
					}
				}
			},
			"settle": func(t *rapid.T) {
				if o, ok := pick(flying, fresh, back, dead); ok {
					if !c.Settle(o) {
						t.Fatalf("offset %d was settled already", o)
					}
					state[o] = done
				}
			},
			"die": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "n") {
					o, ok := pick(flying, fresh, back)
					if !ok {
						return
					}
					if !c.Die(o) || c.Die(o) || !c.Dead(o) || c.InFlight(o) || c.Settled(o) {
						t.Fatalf("offset %d did not die once", o)
					}
					state[o] = dead
				}
			},
			"die again": func(t *rapid.T) {
				if o, ok := pick(done, dead); ok && (c.Die(o) || c.Return(o, true)) {
					t.Fatalf("offset %d died twice, or came back", o)
				}
			},
			"purge": func(t *rapid.T) {
				var want uint64
				for o := range end {
					if s := state[o]; s == fresh || s == back {
						want++
						state[o] = done
					}
				}
				if n := c.Purge(end); n != want {
					t.Fatalf("purged %d, want %d", n, want)
				}
			},
			"settle again": func(t *rapid.T) {
				if o, ok := pick(done); ok && c.Settle(o) {
					t.Fatalf("offset %d settled twice", o)
				}
			},
			"return": func(t *rapid.T) {
				if o, ok := pick(flying); ok {
					if !c.Return(o, true) {
						t.Fatalf("offset %d was not in flight", o)
					}
					state[o] = back
				}
			},
			"": func(t *rapid.T) {
				var ready, unsettled uint64
				floor := end
				for o := range end {
					switch state[o] {
					case fresh, back:
						ready++
					case flying:
						unsettled++
					}
					if state[o] != done {
						floor = min(floor, o)
					}
				}
				if c.Ready(end) != ready || c.Unsettled() != unsettled || c.Floor() != floor {
					t.Fatalf("ready %d unsettled %d floor %d, want %d %d %d",
						c.Ready(end), c.Unsettled(), c.Floor(), ready, unsettled, floor)
				}
			},
		})
	})
}

// TestAcksRebuildTheCursor folds the acks of one cursor into another.
func TestAcksRebuildTheCursor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, twin := queue.NewCursor(0), queue.NewCursor(0)
		const end = 10_000
		n := rapid.IntRange(1, end).Draw(t, "taken")
		for range n {
			c.Take(end)
		}
		for range rapid.IntRange(1, 20).Draw(t, "bursts") {
			for _, o := range rapid.SliceOf(rapid.IntRange(0, n-1)).Draw(t, "acks") {
				c.Settle(record.Offset(o))
			}
			twin.Apply(c.TakeAcks(), end)
		}
		if c.Floor() != twin.Floor() {
			t.Fatalf("floor %d, rebuilt %d", c.Floor(), twin.Floor())
		}
		if diff := cmp.Diff(c.Ranges(1<<20), twin.Ranges(1<<20)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestPurgeLeavesWhatIsInFlight(t *testing.T) {
	c := queue.NewCursor(0)
	for range 3 {
		c.Take(10_000)
	}
	c.Return(1, true)
	if n := c.Purge(10_000); n != 9_998 {
		t.Errorf("purged %d, want 9998", n)
	}
	if c.Ready(10_000) != 0 || c.Unsettled() != 2 || c.Floor() != 0 {
		t.Errorf("ready %d unsettled %d floor %d, want 0 2 0", c.Ready(10_000), c.Unsettled(), c.Floor())
	}
	c.Settle(0)
	c.Settle(2)
	if c.Floor() != 10_000 {
		t.Errorf("floor %d, want 10000", c.Floor())
	}
}

func TestReservedIsNotTaken(t *testing.T) {
	c := queue.NewCursor(0)
	c.Mark(3, true)
	if !c.Reserve(2, 5) || c.Reserve(2, 5) {
		t.Fatal("reserve did not take the offset once")
	}
	var got []record.Offset
	for {
		o, redelivered, ok := c.Take(5)
		if !ok {
			break
		}
		if redelivered != (o < 3) {
			t.Errorf("offset %d redelivered %v", o, redelivered)
		}
		got = append(got, o)
	}
	if diff := cmp.Diff([]record.Offset{0, 1, 3, 4}, got); diff != "" {
		t.Error(diff)
	}
}
