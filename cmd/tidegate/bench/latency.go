package bench

import (
	"math/bits"
	"time"
)

// latencies is a histogram of durations with 32 steps per power of two: its
// percentiles are exact to 3 %. One goroutine owns it.
type latencies struct {
	count  uint64
	bucket [64 * subBuckets]uint64
}

const (
	subBits    = 5
	subBuckets = 1 << subBits
)

// add counts one duration.
func (l *latencies) add(d int64) {
	l.count++
	l.bucket[bucketOf(uint64(max(d, 0)))]++
}

// merge counts all that another histogram has.
func (l *latencies) merge(other *latencies) {
	l.count += other.count
	for i, n := range other.bucket {
		l.bucket[i] += n
	}
}

// percentile returns the duration that a share of all stays below.
func (l *latencies) percentile(share float64) time.Duration {
	if l.count == 0 {
		return 0
	}
	rank := uint64(share * float64(l.count-1))
	for i, n := range l.bucket {
		if n > rank {
			return time.Duration(lowerBound(i))
		}
		rank -= n
	}
	return 0
}

// bucketOf returns the bucket of a value: its highest bit and the five below.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - 1 - subBits
	return (shift+1)*subBuckets + int(v>>shift)&(subBuckets-1)
}

// lowerBound returns the smallest value of a bucket.
func lowerBound(bucket int) uint64 {
	if bucket < subBuckets {
		return uint64(bucket)
	}
	shift := bucket/subBuckets - 1
	return (subBuckets + uint64(bucket%subBuckets)) << shift
}
