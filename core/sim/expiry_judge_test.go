package sim_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/tidegate/tidegate/core"
)

// What was stored a moment after its end is the consumer's that had room then, also
// when that takes it long after. Nobody else may get it.
func TestJudgeOfWhatWasStoredAfterItsEnd(t *testing.T) {
	end := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		since, stored time.Duration // after the end
		never         bool
		seen, excused bool
	}{
		"had room":        {since: -time.Second, stored: 15 * time.Millisecond, excused: true},
		"came later":      {since: time.Second / 2, stored: 15 * time.Millisecond},
		"nobody":          {never: true, stored: 15 * time.Millisecond},
		"stored before":   {since: -time.Second, stored: -time.Millisecond},
		"over for long":   {since: -time.Second, stored: time.Second},
		"delivered again": {since: -time.Second, stored: 15 * time.Millisecond, seen: true},
	} {
		t.Run(name, func(t *testing.T) {
			j := &judge{now: func() time.Time { return end.Add(time.Hour) }}
			d := newDest("q", true, onDisk)
			if !c.never {
				d.since = end.Add(c.since)
			}
			m := j.send("p", []*dest{d})
			e := m.entry(d)
			m.sent, e.ends, e.own, e.seen = end.Add(-2*time.Second), end, end, c.seen
			j.delivered(d, &core.Delivery{Redelivered: c.seen, Message: core.Message{
				Payload: strconv.AppendInt(nil, int64(m.id), 10), Time: end.Add(c.stored).UnixMilli(),
			}})
			if (len(j.wrong) == 0) != c.excused {
				t.Errorf("got %q, want it excused: %t", j.wrong, c.excused)
			}
		})
	}
}
