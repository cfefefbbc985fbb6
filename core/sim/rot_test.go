package sim_test

import (
	"errors"
	"strings"

	"github.com/tidegate/tidegate/core/commitlog"
	"github.com/tidegate/tidegate/core/record"
)

// rot is a bit of a file that was flipped.
type rot struct {
	n   *node
	at  int
	bit byte
}

// flip flips a bit of a segment after a clean stop, when all of it lies below
// the durable watermark but for the last mark. Nothing may be lost by that
// silently.
func (w *world) flip() {
	var segments []string
	for _, p := range w.disk.files("data/shard-") {
		if strings.HasSuffix(p, ".seg") {
			segments = append(segments, p)
		}
	}
	if len(segments) == 0 {
		return
	}
	p := segments[w.rng.IntN(len(segments))]
	n := w.disk.now[p]
	if len(n.data) == 0 {
		return
	}
	r := rot{n: n, at: w.rng.IntN(len(n.data)), bit: 1 << w.rng.IntN(8)}
	w.log("bit %#x of byte %d of %s (%d bytes) flips", r.bit, r.at, p, len(n.data))
	r.turn()
	w.rotten, w.rot = true, r
}

func (r rot) turn() {
	if r.at < len(r.n.data) {
		r.n.data[r.at] ^= r.bit
	}
	if r.at < len(r.n.safe) {
		r.n.safe[r.at] ^= r.bit
	}
}

// restore puts the bit back, as from a copy of the disk.
func (w *world) restore() {
	w.log("the file is restored")
	w.rot.turn()
	w.rotten = false
}

// heal restores a file that may be rotten, after a read has failed.
func (w *world) heal() {
	if w.rotten && !w.down { // else what is left of the disk holds it too
		w.restore()
	}
}

// refusesRot tells whether the error names damage.
func refusesRot(err error) bool {
	corrupt, ok := errors.AsType[*commitlog.CorruptError](err)
	return ok && corrupt.Segment != "" || errors.Is(err, record.ErrCorrupt) || errors.Is(err, record.ErrVersion)
}
