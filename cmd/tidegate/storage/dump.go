package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Dump writes what a segment file holds, frame by frame or record by record, in
// memory for one frame.
type Dump struct {
	FS vfs.FS
	W  io.Writer
	// From and To bound the records by LSN, both included; To 0 is no bound.
	From, To record.LSN
	// Frames writes frames instead of records.
	Frames bool
	// JSON writes one object a line.
	JSON bool
	// Payload is how many bytes of a payload are shown.
	Payload int
}

var errEnough = errors.New("enough")

// Run dumps one file as far as it can be read, over all faults, and returns
// these.
func (d *Dump) Run(f SegmentFile) ([]Finding, error) {
	last := d.To
	if last == 0 {
		last = math.MaxUint64
	}
	if !d.JSON {
		if _, err := fmt.Fprintf(d.W, "%s: shard %d of cluster %x, from record %d\n",
			f.Path, f.Identity.Shard, f.Identity.Cluster, f.Base); err != nil {
			return nil, err
		}
	}
	v, err := segment.Walk(d.FS, f.Path, f.Identity, f.Base, func(pos int64, h *record.Header, b *record.Batch) error {
		if b.Base > last {
			return errEnough
		}
		if b.Next() <= d.From {
			return nil
		}
		if d.Frames {
			return d.write(frameOf(pos, h))
		}
		for i := range b.Len() {
			lsn := b.LSN(i)
			if lsn < d.From || lsn > last {
				continue
			}
			kind, body := b.Record(i)
			if err := d.write(d.recordOf(lsn, b.Time(i), kind, body)); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	findings := make([]Finding, 0, len(v.Faults))
	for i := range v.Faults {
		x := &v.Faults[i]
		findings = append(findings, Finding{
			Severity: Damage, File: f.Path, From: x.From, To: x.To, First: x.First, Last: x.Last,
			Open: x.Last == 0 && x.First > 0, Text: x.Err.Error(), Advice: "tidegate segment verify tells more",
		})
	}
	return findings, nil
}

// line is what is written of a frame or a record.
type line interface{ text() string }

func (d *Dump) write(l line) error {
	if !d.JSON {
		_, err := io.WriteString(d.W, l.text()+"\n")
		return err
	}
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err = d.W.Write(append(text, '\n'))
	return err
}

// frameLine is a frame.
type frameLine struct {
	Position  int64      `json:"position"`
	First     record.LSN `json:"first_lsn"`
	Next      record.LSN `json:"next_lsn"`
	Records   int        `json:"records"`
	Codec     string     `json:"codec"`
	Raw       int        `json:"raw_bytes"`
	Stored    int        `json:"stored_bytes"`
	Term      uint64     `json:"term"`
	Sync      bool       `json:"sync"`
	Sparse    bool       `json:"sparse"`
	FirstTime int64      `json:"first_ms"`
	LastTime  int64      `json:"last_ms"`
	Watermark uint64     `json:"watermark"`
}

func frameOf(pos int64, h *record.Header) frameLine {
	codec := "unknown"
	if names := [...]string{"none", "s2", "zstd"}; int(h.Codec) < len(names) {
		codec = names[h.Codec]
	}
	return frameLine{
		Position: pos, First: h.Base, Next: h.Next(), Records: h.Count, Codec: codec, Raw: h.Raw, Stored: h.Stored,
		Term: h.Term, Sync: h.Sync, Sparse: h.Sparse(), FirstTime: h.First, LastTime: h.Last, Watermark: h.Watermark,
	}
}

func (f frameLine) text() string {
	var flags []string
	if f.Sync {
		flags = append(flags, "sync")
	}
	if f.Sparse {
		flags = append(flags, "sparse")
	}
	return strings.TrimRight(fmt.Sprintf("@%-10d LSN %d to %d  %s  %s  %s of %s  watermark %d  %s",
		f.Position, f.First, f.Next-1, clock(f.FirstTime), plural(f.Records, "record"), f.Codec+" "+bytes(int64(f.Stored)),
		bytes(int64(f.Raw)), f.Watermark, strings.Join(flags, " ")), " ")
}
