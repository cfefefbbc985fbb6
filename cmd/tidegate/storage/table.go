package storage

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// maxRows is how many segments the table of a shard shows, unless all are asked
// for; those with something to say are always shown.
const maxRows = 20

// WriteText writes a report for people. all shows every segment.
func WriteText(w io.Writer, r *Report, all bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", r.Data, plural(len(r.Shards), "shard"))
	writeFindings(&b, r.Findings)
	for i := range r.Shards {
		r.Shards[i].write(&b, all)
	}
	if m := r.Metadata; m != nil && m.Present && len(m.Findings) == 0 {
		fmt.Fprintf(&b, "\nMetadata: local copy of %d entries as of revision %d\n", m.Entries, m.Revision)
	} else if m != nil {
		b.WriteString("\nMetadata\n")
		writeFindings(&b, m.Findings)
	}
	if n := r.Damaged(); n > 0 {
		fmt.Fprintf(&b, "\nDAMAGED: %s\n", plural(n, "finding"))
	} else {
		b.WriteString("\nSound.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s *Shard) write(b *strings.Builder, all bool) {
	fmt.Fprintf(b, "\nShard %d: records %s, %s", s.Shard, lsnRange(uint64(s.First), uint64(s.Next)-1), plural(len(s.Segments), "segment"))
	if s.Generation > 0 {
		fmt.Fprintf(b, ", manifest %d", s.Generation)
	}
	b.WriteString("\n")
	writeSegments(b, s.Segments, all)
	if s.report != nil && s.Durable+1 < s.Next {
		fmt.Fprintf(b, "  Known to have been on stable storage: records up to %d; a log that was cut behind it looks like one after a power cut\n", s.Durable)
	}
	if i := &s.Index; i.Present && !i.broken {
		fmt.Fprintf(b, "  Index as of record %d: %s, %s, %s, %s, %s\n", i.Applied, plural(int(i.Streams), "stream"),
			plural(int(i.References), "reference"), plural(int(i.Cursors), "cursor"), plural(int(i.Sessions), "session"),
			plural(int(i.Retained), "retained message"))
	}
	if n := len(s.Quarantine); n > 0 {
		size := int64(0)
		for _, f := range s.Quarantine {
			size += f.Bytes
		}
		fmt.Fprintf(b, "  Quarantine: %s, %s\n", plural(n, "file"), bytes(size))
	}
	writeFindings(b, s.Findings)
}

func writeSegments(b *strings.Builder, all []Segment, every bool) {
	if len(all) == 0 {
		return
	}
	var total Segment
	hidden := 0
	var t strings.Builder
	fmt.Fprint(&t, "\tfirst LSN\tlast LSN\trecords\tbytes\traw\tratio\tstate\t  segment\n")
	for i := range all {
		s := &all[i]
		total.Records += s.Records
		total.Bytes += s.Bytes
		total.Raw += s.Raw
		plain := s.State == StateSealed || s.State == StateRewritten
		if !every && plain && i >= maxRows/2 && i < len(all)-maxRows/2 {
			hidden++
			continue
		}
		if hidden > 0 {
			fmt.Fprintf(&t, "\t…\t\t\t\t\t\t\t  %d more\n", hidden)
			hidden = 0
		}
		fmt.Fprintf(&t, "\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t  %s\n",
			s.First, s.Last, s.Records, bytes(s.Bytes), bytes(s.Raw), ratio(s.Raw, s.Bytes), s.State, s.Name)
	}
	if len(all) > 1 {
		fmt.Fprintf(&t, "\t\t\t%d\t%s\t%s\t%s\t\t  total\n", total.Records, bytes(total.Bytes), bytes(total.Raw), ratio(total.Raw, total.Bytes))
	}
	columns := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = io.WriteString(columns, t.String()) // a strings.Builder takes everything
	_ = columns.Flush()                        // likewise
}

func writeFindings(b *strings.Builder, all []Finding) {
	for i := range all {
		f := &all[i]
		fmt.Fprintf(b, "  %s: %s\n", strings.ToUpper(f.Severity), f.Text)
		if where := f.where(); where != "" {
			fmt.Fprintf(b, "    %s\n", where)
		}
		if f.Advice != "" {
			fmt.Fprintf(b, "    %s\n", f.Advice)
		}
	}
}

// String is the finding in one line.
func (f *Finding) String() string { return f.Severity + ": " + f.where() + ": " + f.Text }

// where tells of file, bytes and records.
func (f *Finding) where() string {
	var where []string
	if f.File != "" {
		where = append(where, f.File)
	}
	if f.To > 0 {
		where = append(where, fmt.Sprintf("bytes %d to %d", f.From, f.To))
	}
	switch {
	case f.Severity != Damage:
	case f.Open:
		where = append(where, fmt.Sprintf("records from %d on are lost", f.First))
	case f.First > 0 && f.Last >= f.First:
		where = append(where, fmt.Sprintf("records %d to %d are lost (%d)", f.First, f.Last, f.Last-f.First+1))
	case f.First > 0:
		where = append(where, "no record is lost")
	}
	return strings.Join(where, ", ")
}

func lsnRange(first, last uint64) string {
	if last < first {
		return "none"
	}
	return fmt.Sprintf("%d to %d", first, last)
}

func ratio(raw, stored int64) string {
	if stored == 0 || raw == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(raw)/float64(stored))
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// bytes writes a size for people.
func bytes(n int64) string {
	const unit = 1 << 10
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	v, at := float64(n)/unit, 0
	for v >= unit && at < 3 {
		v, at = v/unit, at+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[at])
}
