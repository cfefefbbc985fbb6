package commitlog

import "github.com/tidegate/tidegate/core/record"

// Info describes a segment of an open log.
type Info struct {
	// Base is the first LSN of the segment, by which it is named. Last is the
	// last LSN that it covers, Base-1 when it has no record yet.
	Base, Last record.LSN
	// Records is the number of records that it holds. In a rewritten segment
	// that may be fewer than it covers.
	Records uint64
	// Bytes is the length of the file, Raw that of the records decoded.
	Bytes, Raw int64
	// Zstd is the part of Raw, in bytes, that is stored with zstd.
	Zstd int64
	// First and Latest are the earliest and the latest time of a record, unix
	// milliseconds; both are 0 without records.
	First, Latest int64
	// Sealed tells that the segment can be dropped and rewritten: it is sealed,
	// and another follows it.
	Sealed bool
	// Rewritten tells that it was made of others by Rewrite.
	Rewritten bool
}

func (f *file) info() Info {
	return Info{
		Base: f.base, Last: f.next - 1, Records: f.stats.Records, Bytes: f.size, Raw: int64(f.stats.Raw),
		Zstd: int64(f.stats.Zstd), First: f.stats.First, Latest: f.stats.Last, Sealed: true, Rewritten: f.generation > 0,
	}
}

// Segments describes all segments, in order. It reads nothing from disk.
func (l *Log) Segments() []Info {
	l.mu.RLock()
	defer l.mu.RUnlock()
	all := make([]Info, 0, len(l.sealed)+1)
	for _, f := range l.sealed {
		all = append(all, f.info())
	}
	if l.active == nil {
		if n := len(all); n > 0 {
			all[n-1].Sealed = false
		}
		return all
	}
	stats, end := l.active.Stats()
	return append(all, Info{
		Base: l.active.Base(), Last: l.next - 1, Records: stats.Records, Bytes: end, Raw: int64(stats.Raw),
		Zstd: int64(stats.Zstd), First: stats.First, Latest: stats.Last,
	})
}
