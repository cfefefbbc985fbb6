package commitlog

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/segment"
)

// Loss is a range of records, both ends included.
type Loss struct{ First, Last record.LSN }

// AcceptLoss makes a log that has lost durable data one that opens again, by
// giving up what [Verify] reports of one segment, named as in the report, and
// nothing else: every record in a sound frame stays. The faults must lie within
// the range, which the caller so confirms to know of; where a fault has no end,
// the range gives it one. The log must not be open.
//
// What is sound in a damaged file is written to a new one, with a record of
// kind [record.KindLoss] where something is lost, and the damaged one is moved
// to the directory quarantine. A crash leaves the log as it was or as
// it shall be. ErrNotFound when there is no such segment or it has no fault;
// a *CorruptError tells of a fault that is not within the range.
//
// The name MANIFEST accepts the loss of the manifest, whatever the range: the
// segments that are there are then the log. Of a log that has none it accepts the
// loss of all: it goes on behind cfg.From, since no record gets an LSN that anyone
// has seen.
func AcceptLoss(cfg Config, name string, lost Loss) error {
	a, err := PlanLoss(cfg, name, lost)
	if err != nil {
		return err
	}
	return a.Carry()
}

// Acceptance is a loss that can be given up, and was not yet.
type Acceptance struct {
	name  string
	lost  Loss
	carry func() error
}

// PlanLoss does all of [AcceptLoss] that changes nothing, and so tells whether the
// loss can be given up. What it returns holds until the log is changed.
func PlanLoss(cfg Config, name string, lost Loss) (*Acceptance, error) {
	cfg.setDefaults()
	p := &Acceptance{name: name, lost: lost}
	var err error
	if name == manifestName {
		p.carry, err = planRebuild(&cfg)
	} else {
		a := &acceptance{cfg: &cfg, lost: lost}
		p.carry, err = a.run, a.plan(name)
	}
	if err != nil {
		return nil, p.wrap(err)
	}
	return p, nil
}

// Carry gives the loss up. An error that is not one of the file system tells that the
// log was changed since it was planned.
func (p *Acceptance) Carry() error {
	if err := p.carry(); err != nil {
		return p.wrap(err)
	}
	return nil
}

func (p *Acceptance) wrap(err error) error {
	if p.name == manifestName {
		return fmt.Errorf("rebuild manifest: %w", err)
	}
	return fmt.Errorf("accept loss of %d to %d in %s: %w", p.lost.First, p.lost.Last, p.name, err)
}

// acceptance gives up what is lost of one segment.
type acceptance struct {
	cfg  *Config
	lost Loss

	court  *court
	target *expected
	report *SegmentReport
	survey *segment.Survey // nil when the file is missing
	before []*file         // what the manifest shall list before the target
	behind []*file
	next   record.LSN // LSN behind what the target covers
	keep   bool       // the target itself stays, see sound

	manifest *manifest // that shall be, but for what is known of salvaged once it is written
	salvaged *file     // in the place of what is lost
}

// plan decides all, and changes nothing.
func (a *acceptance) plan(name string) error {
	dir, m, c, err := load(a.cfg)
	if err != nil {
		return err
	}
	a.court = c
	if err := a.find(name); err != nil {
		return err
	}
	if err := a.confirm(); err != nil {
		return err
	}
	n := &manifest{generation: dir.above(m), end: m.end, chain: m.chain, removed: m.removed}
	a.keep = a.sound()
	switch {
	case a.target.listed == nil:
		if n.end, n.chain, err = a.border(); err != nil {
			return err
		}
	case a.next > n.end: // the log's end is given up behind all that is listed
		n.end, n.chain = a.next, 0
	}
	a.salvaged = a.place(n.generation)
	n.files = append(append(a.before, a.salvaged), a.behind...)
	a.manifest = n
	return n.check()
}

// run does what was planned.
func (a *acceptance) run() error {
	if err := a.salvage(); err != nil {
		return err
	}
	if err := errors.Join(a.manifest.check(), writeManifest(a.cfg, a.manifest)); err != nil {
		return err
	}
	if a.keep || a.survey == nil {
		return nil
	}
	if err := quarantine(a.cfg, a.report.Name); err != nil {
		return err
	}
	return segment.SyncDir(a.cfg.FS, a.cfg.Dir)
}

// find looks at the segment of that name, and takes note of all others.
func (a *acceptance) find(name string) error {
	for _, e := range a.court.expected {
		switch {
		case a.target != nil && e.listed != nil:
			a.behind = append(a.behind, e.listed)
		case a.target != nil:
		case e.file.name() == name:
			var err error
			if a.report, a.survey, err = verifySegment(a.court, e, nil, func(int64) {}); err != nil {
				return err
			}
			a.target, a.next = e, e.following
		default:
			if err := a.pass(e); err != nil {
				return err
			}
		}
	}
	if a.target == nil || len(a.report.Faults) == 0 {
		return fmt.Errorf("no fault there: %w", ErrNotFound)
	}
	return nil
}

// pass goes over a segment before the target. One with a fault of its own is
// listed with a CRC that it does not have, and stays refused.
func (a *acceptance) pass(e *expected) error {
	c := a.court
	c.enter(e)
	f := &file{base: e.file.base, generation: e.file.generation, next: e.following, size: segment.HeaderSize + segment.TrailerSize}
	if c.present.has(e.file) {
		rec, err := segment.Inspect(a.cfg.FS, a.cfg.path(f.name()), a.cfg.Identity)
		if err == nil && rec == nil {
			rec, err = segment.Recover(a.cfg.FS, a.cfg.path(f.name()), a.cfg.Identity, func(*record.Batch) error { return nil })
		}
		if err != nil {
			return err
		}
		f.size, f.sum = max(rec.Size, f.size), rec.Sum
		if rec.Sealed {
			f.next = rec.Next
		}
		c.chain, c.free = rec.Sum, f.generation > 0 || !rec.Sealed
	} else {
		c.free = true
	}
	if c.next = f.next; e.listed != nil {
		f = e.listed
	}
	a.before = append(a.before, f)
	return nil
}

// confirm checks that all that is lost is within the range.
func (a *acceptance) confirm() error {
	for _, f := range a.report.Faults {
		first, last := f.First, f.Last
		if last == 0 {
			last = max(first, a.lost.Last)
		}
		if isVersion(f.Err) {
			return fmt.Errorf("bytes %d to %d: %w", f.From, f.To, f.Err)
		}
		if last >= first && (first < a.lost.First || last > a.lost.Last) {
			return &CorruptError{
				Segment: a.cfg.path(a.report.Name), From: f.From, To: f.To, First: f.First, Last: f.Last, Err: f.Err,
			}
		}
		if f.Last == 0 {
			a.next = max(a.next, last+1)
		}
	}
	if a.court.isLast(a.target) {
		// The next record must not get an LSN that anyone has seen.
		a.next = max(a.next, a.cfg.From+1)
	}
	if a.target.following == 0 && a.survey != nil {
		a.next = max(a.next, a.survey.Next, a.target.file.base+1)
	}
	return nil
}

// sound tells whether all faults are of what should stand before the segment.
func (a *acceptance) sound() bool {
	for _, f := range a.report.Faults {
		if !f.Foreign || f.Last >= a.target.file.base {
			return false
		}
	}
	return a.survey != nil
}

// border returns where the manifest shall end, and what the original segment
// that begins there repeats.
func (a *acceptance) border() (record.LSN, uint32, error) {
	if a.keep {
		return a.target.file.base, a.survey.Header.Previous, nil
	}
	if a.target.following == 0 {
		return a.next, 0, nil
	}
	path := a.cfg.path(leftover{base: a.target.following}.name())
	r, err := segment.Open(a.cfg.FS, path, a.cfg.Identity)
	if err != nil {
		return 0, 0, fmt.Errorf("segment behind it, whose loss has to be accepted first: %w", err)
	}
	return a.next, r.Header().Previous, r.Close()
}

// place tells what the salvaged segment covers: when the target is kept, it stands
// before it. Its size is the least one until it is written.
func (a *acceptance) place(generation uint64) *file {
	f := &file{
		base: a.target.file.base, next: a.next, generation: generation,
		size: segment.HeaderSize + segment.TrailerSize,
	}
	if a.keep {
		f.next = f.base
	}
	for _, d := range a.report.Faults {
		f.base = min(f.base, d.First)
	}
	return f
}

// salvage writes the sound frames of the target to a rewritten segment, with
// records of all kinds, and the word of a loss in the place of the others.
func (a *acceptance) salvage() error {
	f := a.salvaged
	ours := a.survey != nil && !a.keep
	for _, d := range a.report.Faults {
		if d.Foreign && d.Last >= a.target.file.base {
			ours = false // no record is one of this log
		}
	}
	path := a.cfg.path(f.name())
	temp := path + segment.TempSuffix
	if err := removeIfThere(a.cfg.FS, temp); err != nil {
		return err
	}
	w, err := segment.Create(a.cfg.FS, temp, segment.Header{
		Identity: a.cfg.Identity, Base: f.base, Created: a.report.First, Rewritten: true, Generation: f.generation,
	})
	if err != nil {
		return err
	}
	err = a.fill(w, f, ours)
	err = errors.Join(err, w.Close())
	if err == nil {
		err = a.cfg.FS.Rename(temp, path)
	}
	if err == nil {
		err = segment.SyncDir(a.cfg.FS, a.cfg.Dir)
	}
	if err != nil {
		return fmt.Errorf("salvage: %w", err)
	}
	return nil
}

// fill copies frame by frame, so that replay sees the batches that it saw.
func (a *acceptance) fill(w *segment.Writer, f *file, ours bool) error {
	enc := record.Encoder{Zstd: true}
	put := func(b *record.Batch) error {
		frame, err := enc.Encode(b, a.cfg.Identity, w.Synced())
		if err != nil {
			return err
		}
		return w.Append(frame)
	}
	var err error
	if ours {
		err = a.copySound(w, put)
	}
	if err == nil {
		err = a.cover(w, f.next, put)
	}
	if err != nil {
		return err
	}
	f.stats, _ = w.Stats()
	f.size = w.End() + w.FooterSize()
	f.sum, err = w.Seal()
	return err
}

func (a *acceptance) copySound(w *segment.Writer, put func(*record.Batch) error) error {
	end := a.survey.Size
	if a.report.Torn != nil {
		end = a.report.Torn.From
	}
	_, err := segment.Walk(a.cfg.FS, a.cfg.path(a.report.Name), a.cfg.Identity, a.target.file.base,
		func(pos int64, _ *record.Header, b *record.Batch) error {
			if pos >= end || b.Next() == b.Base {
				return nil // torn, or a batch without a record
			}
			if err := a.cover(w, b.Base, put); err != nil {
				return err
			}
			return put(sparse(b))
		})
	return err
}

// cover puts batches up to the LSN that hold nothing but the word that what
// was there is lost.
func (a *acceptance) cover(w *segment.Writer, next record.LSN, put func(*record.Batch) error) error {
	for w.Next() < next {
		b := &record.Batch{
			Base: w.Next(), Until: min(next, w.Next()+1<<31), Sparse: []uint32{0},
			First: a.report.Latest, Last: a.report.Latest,
		}
		b.Begin(record.KindLoss)
		b.Raw = record.AppendLoss(b.Raw, record.Loss{End: next})
		b.End()
		if err := put(b); err != nil {
			return err
		}
	}
	return nil
}

// sparse makes a batch a sparse one with the same records.
func sparse(b *record.Batch) *record.Batch {
	if b.Until != 0 {
		return b
	}
	c := *b
	c.Index, c.Until, c.Sparse = 0, b.Next(), make([]uint32, b.Len())
	for i := range c.Sparse {
		c.Sparse[i] = uint32(i)
	}
	return &c
}
