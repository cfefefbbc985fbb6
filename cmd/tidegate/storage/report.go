// Package storage looks at a data directory that no broker runs on: it checks
// logs, indexes and the copy of the metadata, gives up what is lost for good,
// and shows what segment files hold.
package storage

import (
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// ReportVersion is the version of the JSON form of a Report. Fields may be
// added to a version; none goes or changes its meaning.
const ReportVersion = 1

// Report is what a check found. It is also the JSON form.
type Report struct {
	Version  int       `json:"version"`
	Data     string    `json:"data"`
	Sound    bool      `json:"sound"` // there is no finding of damage
	Shards   []Shard   `json:"shards"`
	Metadata *Metadata `json:"metadata,omitempty"`
	// Findings are those of the directory as a whole.
	Findings []Finding `json:"findings,omitempty"`

	found *core.FoundIdentity // when the identity is lost, and segments tell it
}

// Damaged counts the findings of damage.
func (r *Report) Damaged() (n int) {
	n = damaged(r.Findings)
	for i := range r.Shards {
		n += damaged(r.Shards[i].Findings)
	}
	if r.Metadata != nil {
		n += damaged(r.Metadata.Findings)
	}
	return n
}

// Shard is the log of one shard and its index.
type Shard struct {
	Shard      uint32     `json:"shard"`
	Log        string     `json:"log"` // its directory
	Generation uint64     `json:"generation"`
	First      record.LSN `json:"first_lsn"`
	Next       record.LSN `json:"next_lsn"`
	// Durable is the newest record that is known to have been on stable storage. Of
	// what is behind it nothing tells whether it was, and whether more was there.
	Durable    record.LSN `json:"durable_lsn"`
	Segments   []Segment  `json:"segments"`
	Unknown    []string   `json:"unknown"`
	Quarantine []File     `json:"quarantine"`
	Index      Index      `json:"index"`
	Findings   []Finding  `json:"findings"`

	report     *commitlog.Report
	noManifest bool       // it is missing or no use
	noEnds     bool       // likewise
	noLog      bool       // there is no segment, and there were
	noDir      bool       // nor a directory
	known      record.LSN // the newest record that anything beside the log tells of
	knownBy    string     // what does

	transfers []map[uint32]record.LSN // see commitlog.Report.Transfers
}

// knows takes note of a record that is known to have been in the log.
func (s *Shard) knows(lsn record.LSN, by string) {
	if lsn > s.known {
		s.known, s.knownBy = lsn, by
	}
}

// Segment is one file of a log.
type Segment struct {
	Name    string     `json:"name"`
	First   record.LSN `json:"first_lsn"`
	Last    record.LSN `json:"last_lsn"` // below First without records
	Records uint64     `json:"records"`
	Batches uint64     `json:"batches"`
	Bytes   int64      `json:"bytes"`
	Raw     int64      `json:"raw_bytes"` // of the records decoded
	Oldest  int64      `json:"oldest_ms"`
	Newest  int64      `json:"newest_ms"`
	State   string     `json:"state"` // see the constants
}

// The states of a segment.
const (
	StateSealed    = "sealed"
	StateRewritten = "rewritten"
	StateOpen      = "open"      // the last one, for appending
	StateTorn      = "torn tail" // open, and a start will cut what a crash left
	StateDamaged   = "damaged"
	StateMissing   = "missing"
)

// File is a file in quarantine.
type File struct {
	Name  string `json:"name"`
	Bytes int64  `json:"bytes"`
}

// Index is what was found of a shard's index.
type Index struct {
	Present    bool       `json:"present"`
	Applied    record.LSN `json:"applied_lsn"`
	Streams    uint64     `json:"streams"`
	Cursors    uint64     `json:"cursors"`
	Sessions   uint64     `json:"sessions"`
	Retained   uint64     `json:"retained"`
	References uint64     `json:"references"`

	broken bool // it can't be opened or used
}

// Metadata is what was found of the local copy of the metadata.
type Metadata struct {
	Path     string    `json:"path"`
	Present  bool      `json:"present"`
	Entries  int       `json:"entries"`
	Revision int64     `json:"revision"`
	Findings []Finding `json:"findings"`
}

// The severities of a finding.
const (
	Damage = "damage" // something is lost, and a start is refused or will meet it
	Notice = "notice" // worth knowing, and nothing to do unless there is damage too
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Severity string `json:"severity"`
	File     string `json:"file,omitempty"`
	// From and To are the bytes that are no use; both are 0 where that does not
	// apply.
	From int64 `json:"from_byte"`
	To   int64 `json:"to_byte"`
	// First and Last are the records that are lost. Last is below First when none
	// is; Open tells that nothing says where they end, and then Last is 0.
	First record.LSN `json:"first_lsn"`
	Last  record.LSN `json:"last_lsn"`
	Open  bool       `json:"open_end"`
	Text  string     `json:"text"`
	// Advice says what to do.
	Advice string `json:"advice"`

	stays bool // damage that can't be given up
}

// conclude says whether there is damage, and of each notice that there is nothing to
// do, but beside damage.
func (r *Report) conclude() {
	r.Sound = r.Damaged() == 0
	prefix := "nothing to do: "
	if !r.Sound {
		prefix = "once there is no damage: "
	}
	all := [][]Finding{r.Findings}
	for i := range r.Shards {
		all = append(all, r.Shards[i].Findings)
	}
	if r.Metadata != nil {
		all = append(all, r.Metadata.Findings)
	}
	for _, findings := range all {
		for i := range findings {
			if f := &findings[i]; f.Severity == Notice {
				f.Advice = prefix + f.Advice
			}
		}
	}
}

func damaged(all []Finding) (n int) {
	for i := range all {
		if all[i].Severity == Damage {
			n++
		}
	}
	return n
}

// segmentOf is the form of a segment in the report.
func segmentOf(s *commitlog.SegmentReport) Segment {
	out := Segment{
		Name: s.Name, First: s.Base, Last: s.Last, Records: s.Records, Batches: s.Batches, Bytes: s.Bytes, Raw: s.Raw,
		Oldest: s.First, Newest: s.Latest,
	}
	switch {
	case len(s.Faults) > 0 && s.Bytes == 0 && s.Torn == nil:
		out.State = StateMissing
	case len(s.Faults) > 0:
		out.State = StateDamaged
	case s.Torn != nil:
		out.State = StateTorn
	case s.Rewritten:
		out.State = StateRewritten
	case s.Sealed:
		out.State = StateSealed
	default:
		out.State = StateOpen
	}
	return out
}

// clock writes a time of the log.
func clock(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
