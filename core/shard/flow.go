package shard

import "github.com/tidegate/tidegate/core/record"

const (
	// flowWindow is how many references come between two looks at whether they go.
	flowWindow = 1 << 14
	// restShare is the part of what came that must have gone for the messages to
	// be passing through.
	restShare = 2
	// leastSmall is the length of a batch in bytes from which it pays to have it
	// small: shorter ones are left to a rewrite, which makes large blocks of them.
	leastSmall = 32 << 10
)

// flow tells messages that come to rest from those that pass through. What rests
// is stored small at once, since it will be read from disk and would be
// compressed again. What is settled soon is better stored quickly.
type flow struct {
	came, went uint64 // references and settlements of the window
	rests      bool   // as of the window before
}

// settled counts settlements.
func (f *flow) settled(acks []record.Range) {
	for _, r := range acks {
		f.went += uint64(r.End - r.First)
	}
}

// small tells whether a batch of that many bytes is to be stored small.
func (f *flow) small(bytes int) bool {
	if f.came >= flowWindow {
		*f = flow{rests: f.went*restShare < f.came}
	}
	return f.rests && bytes >= leastSmall
}
