package api

import (
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestRates(t *testing.T) {
	start := time.Unix(1000, 0)
	now := start.Add(10 * time.Second)
	rs := newRates(func() time.Time { return now })
	for i, step := range []struct {
		after time.Duration
		count uint64
		want  float64
	}{
		{0, 50, 5},                 // since the start
		{4 * time.Second, 90, 5},   // too soon: the rate before
		{1 * time.Second, 100, 10}, // 50 in 5 s
		{10 * time.Second, 100, 0},
		{10 * time.Second, 40, 0}, // a counter that went back has no rate
		{10 * time.Second, 60, 2},
	} {
		now = now.Add(step.after)
		if got := rs.of("a", start, []counted{{value: step.count}}); !slices.Equal(got, []float64{step.want}) {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
}

func TestRatesOfLevels(t *testing.T) {
	start := time.Unix(1000, 0)
	now := start
	rs := newRates(func() time.Time { return now })
	for i, step := range []struct {
		count uint64
		want  float64
	}{{50, 0}, {90, 4}, {40, -5}, {40, 0}} {
		now = now.Add(10 * time.Second)
		if got := rs.of("a", start, []counted{{value: step.count, level: true}}); !slices.Equal(got, []float64{step.want}) {
			t.Errorf("step %d: got %v, want %v", i, got, step.want)
		}
	}
}

func TestRatesAreBounded(t *testing.T) {
	start := time.Unix(1000, 0)
	now := start.Add(10 * time.Second)
	rs := newRates(func() time.Time { return now })
	for i := range maxRates + 10 {
		if got := rs.of(strconv.Itoa(i), start, []counted{{value: 30}}); got[0] != 3 {
			t.Fatalf("%d: got %v", i, got)
		}
	}
	if len(rs.samples) != maxRates {
		t.Errorf("samples: got %d, want %d", len(rs.samples), maxRates)
	}
	now = now.Add(rateMemory + time.Second)
	rs.of("last", start, []counted{{value: 1}})
	if len(rs.samples) != 1 {
		t.Errorf("samples that nobody reads: got %d are left, want 0", len(rs.samples)-1)
	}
}
