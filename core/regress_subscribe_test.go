package core_test

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// overlapping filters: one cursor stops at its mark, the other goes on.
func TestMarkSplitsOverlappingFilters(t *testing.T) {
	w := newWorld(t, 1)
	s, _, _ := w.session("dev", time.Hour, false)
	w.subscribe(s, "#", "a/b")
	w.must(s.Close(t.Context()))
	p := w.publisher(nil)
	const n = 9000
	for i := range n {
		topic := "x"
		if i >= 8900 {
			topic = "a/b"
		}
		p.send(mqtt(topic, strconv.Itoa(i), 1))
	}
	p.confirmed()
	s, wake, _ := w.session("dev", time.Hour, false)
	seen := map[string]int{}
	last := -1
	dup, unflagged, back := 0, 0, 0
	deadline := time.After(time.Minute)
	total := 0
	for late := false; total < n && !late; {
		got, err := s.Next(nil, 20000)
		w.must(err)
		for _, d := range got {
			total++
			v, _ := strconv.Atoi(string(d.Message.Payload))
			if seen[string(d.Message.Payload)]++; seen[string(d.Message.Payload)] > 1 {
				dup++
				if !d.Redelivered {
					unflagged++
				}
			}
			if v < last {
				back++
			}
			last = v
			s.Settle(d.Position)
		}
		if len(got) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-deadline:
			late = true
		}
	}
	more, err := s.Next(nil, n)
	w.must(err)
	if total += len(more); dup > 0 || back > 0 || total != n {
		t.Errorf("%d deliveries of %d messages: %d duplicates, %d of them unflagged, order went back %d times", total, n, dup, unflagged, back)
	}
}

// the same at SUBSCRIBE under load, with small Nexts.
func TestSubscribeOverlapUnderLoad(t *testing.T) {
	for round := range 60 {
		w := newWorld(t, 1)
		s, wake, _ := w.session("dev", time.Hour, false)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			pub, _ := w.NewPublisher("/", nil, nil)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				m := mqtt("a/b", strconv.Itoa(i), 1)
				_, _ = pub.Publish(&m)
			}
		})
		sub := make(chan struct{})
		go func() {
			defer close(sub)
			w.subscribe(s, "#", "a/b", "a/+", "+/b", "a/#", "+/+")
		}()
		seen := map[string]bool{}
		end := time.After(40 * time.Millisecond)
		bad := ""
		run := true
		for run {
			got, err := s.Next(nil, 100)
			w.must(err)
			for _, d := range got {
				if seen[string(d.Message.Payload)] && !d.Redelivered {
					bad = string(d.Message.Payload)
				}
				seen[string(d.Message.Payload)] = true
				s.Settle(d.Position)
			}
			select {
			case <-end:
				run = false
			default:
			}
		}
		_ = wake
		close(stop)
		wg.Wait()
		<-sub
		if bad != "" {
			t.Fatalf("round %d: message %s came twice without a flag", round, bad)
		}
	}
}

// Who gives up while it subscribes has subscribed all the same: half a
// subscription would take messages that nobody gets.
func TestSubscribeGivenUp(t *testing.T) {
	w := newWorld(t, 1)
	s, _, _ := w.session("dev", time.Hour, false)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Subscribe(ctx, []core.SubscriptionSpec{{Filter: "a", QoS: 1}})
	w.must(err)
	w.must(s.Close(t.Context()))
	s, wake, present := w.session("dev", time.Hour, false)
	p := w.publisher(nil)
	if got := p.send(mqtt("a", "0", 1)); !present || !got.Routed {
		t.Fatalf("session present %v, message routed %v, want both", present, got.Routed)
	}
	p.confirmed()
	want(t, w.take(s, wake, 1), "0")
}
