package api

import (
	"sync"
	"time"
)

const (
	// rateInterval is the time over which rates are taken at least.
	rateInterval = 5 * time.Second
	// rateMemory is how long a sample is kept that nobody reads, and maxRates how
	// many there may be: beyond it rates are those since the start.
	rateMemory = time.Minute
	maxRates   = 16 << 10
)

// rates turns counters and levels into changes per second, between the reads of those who
// ask: without readers it does nothing. It is safe for concurrent use.
type rates struct {
	now func() time.Time

	mu      sync.Mutex
	samples map[string]*sample // under mu
	swept   time.Time          // under mu
}

// sample is a counter's values at one moment, and the rates up to it.
type sample struct {
	at, read time.Time
	counts   []counted
	rates    []float64
}

func newRates(now func() time.Time) *rates {
	return &rates{now: now, samples: make(map[string]*sample)}
}

// of returns the rates of the counters of key, which began at 0 at the time since:
// over the time since the sample before, or at the first read since they began. The
// caller gives the list away.
func (rs *rates) of(key string, since time.Time, counts []counted) []float64 {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	now := rs.now()
	rs.sweep(now)
	s := rs.samples[key]
	if s == nil {
		s = &sample{at: since}
		if len(rs.samples) < maxRates {
			rs.samples[key] = s
		}
	}
	s.read = now
	if elapsed := now.Sub(s.at); s.rates == nil || elapsed >= rateInterval {
		s.rates = perSecond(counts, s.counts, max(elapsed, rateInterval))
		s.at, s.counts = now, counts
	}
	return s.rates
}

// sweep forgets what nobody has read for long. mu is held.
func (rs *rates) sweep(now time.Time) {
	if now.Sub(rs.swept) < rateInterval {
		return
	}
	rs.swept = now
	for key, s := range rs.samples {
		if now.Sub(s.read) > rateMemory {
			delete(rs.samples, key)
		}
	}
}

// perSecond returns the changes. A counter without a value before began at 0, and has
// begun anew when it is less; a level without one has no rate yet.
func perSecond(now, before []counted, elapsed time.Duration) []float64 {
	out := make([]float64, len(now))
	for i := range now {
		var was uint64
		switch {
		case i < len(before):
			was = before[i].value
		case now[i].level:
			continue
		}
		if now[i].level || now[i].value > was {
			out[i] = float64(int64(now[i].value-was)) / elapsed.Seconds()
		}
	}
	return out
}

// counted is a counter with the name that it has in answers, or a level, which falls as
// well.
type counted struct {
	name  string
	value uint64
	level bool
}

// putRates sets in o the rates of counters and levels that are in it.
func (rs *rates) putRates(o object, key string, since time.Time, list ...counted) {
	for i, rate := range rs.of(key, since, list) {
		o[list[i].name+"_details"] = object{"rate": rate}
	}
}

// putCounts sets counters in o, and their rates in the members beside them.
func (rs *rates) putCounts(o object, key string, since time.Time, list ...counted) {
	for i := range list {
		o[list[i].name] = list[i].value
	}
	rs.putRates(o, key, since, list...)
}
