package storage

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// refresh is how often a progress bar is drawn.
const refresh = 200 * time.Millisecond

// Progress draws a bar for work on many bytes. The zero Progress draws nothing.
type Progress struct {
	w     io.Writer // nil draws nothing
	now   func() time.Time
	label string
	start time.Time
	drawn time.Time
	width int // of the last line
}

// NewProgress returns a bar on w if that is a terminal, and one that draws
// nothing if not.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{now: time.Now}
	if IsTerminal(w) {
		p.w = w
	}
	return p
}

// IsTerminal tells whether people read what is written to w.
func IsTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// Update tells that done of total bytes of the labelled work are behind.
func (p *Progress) Update(label string, done, total int64) {
	if p.w == nil {
		return
	}
	now := p.now()
	if label != p.label {
		p.Finish()
		p.label, p.start = label, now
	}
	if now.Sub(p.drawn) < refresh {
		return
	}
	p.drawn = now
	line := progressLine(label, done, total, now.Sub(p.start))
	pad := max(p.width-len(line), 0)
	p.width = len(line)
	_, _ = fmt.Fprint(p.w, "\r"+line+strings.Repeat(" ", pad)) // a bar that can't be drawn stops nothing
}

// Finish wipes the bar away.
func (p *Progress) Finish() {
	if p.w != nil && p.width > 0 {
		_, _ = fmt.Fprint(p.w, "\r"+strings.Repeat(" ", p.width)+"\r") // likewise
	}
	p.width, p.drawn = 0, time.Time{}
}

const barWidth = 24

func progressLine(label string, done, total int64, took time.Duration) string {
	share := 1.0
	if total > 0 {
		share = min(float64(done)/float64(total), 1)
	}
	full := int(share * barWidth)
	line := fmt.Sprintf("%s [%s%s] %3.0f %%  %s of %s", label,
		strings.Repeat("#", full), strings.Repeat("-", barWidth-full), 100*share, bytes(done), bytes(total))
	if seconds := took.Seconds(); seconds > 0 && done > 0 {
		rate := float64(done) / seconds
		left := time.Duration(float64(total-done) / rate * float64(time.Second)).Round(time.Second)
		line += fmt.Sprintf("  %s/s  %s left", bytes(int64(rate)), left)
	}
	return line
}
