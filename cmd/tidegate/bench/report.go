package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Result is what a run measured. Rates count what happened while the
// publishers published; loss, duplicates and order are judged after all that
// was on its way had time to arrive.
type Result struct {
	Protocol string `json:"protocol"`
	Addr     string `json:"addr"`
	Mode     string `json:"mode"`
	Size     int    `json:"size_bytes"`
	Clients  int    `json:"clients"`
	// Consumers is 0 in mode publish.
	Consumers int     `json:"consumers"`
	Window    int     `json:"window"`
	Seconds   float64 `json:"seconds"`

	Sent          uint64  `json:"sent"`
	Confirmed     uint64  `json:"confirmed"`
	ConfirmedRate float64 `json:"confirmed_per_second"`
	Confirm       Spread  `json:"confirm_latency"`

	Received     uint64  `json:"received"`
	ReceivedRate float64 `json:"received_per_second"`
	EndToEnd     Spread  `json:"end_to_end_latency"`
	Lost         uint64  `json:"lost"`
	Duplicates   uint64  `json:"duplicates_unmarked"`
	Redelivered  uint64  `json:"duplicates_marked"`
	Reordered    uint64  `json:"reordered"`
	Invented     uint64  `json:"invented"`

	// What one confirmed message costs, in mode drain one received: microseconds of processor time here and
	// in the broker, and bytes that the broker wrote to disk. The broker's are
	// 0 when its process is not known.
	ClientCPU float64 `json:"client_cpu_us_per_message"`
	BrokerCPU float64 `json:"broker_cpu_us_per_message"`
	Written   float64 `json:"broker_written_bytes_per_message"`

	// Backlog is set in mode backlog. Rates and costs beside it are those of
	// publishing.
	Backlog *Backlog `json:"backlog,omitempty"`
}

// Backlog is what a run in mode backlog measured.
type Backlog struct {
	FirstRate float64 `json:"first_tenth_per_second"`
	LastRate  float64 `json:"last_tenth_per_second"`
	DrainRate float64 `json:"drained_per_second"`
	// PeakMemory is the largest resident set of the broker that was seen, 0
	// when its process is not known.
	PeakMemory uint64 `json:"peak_rss_bytes"`
	// The size of the data directory when all was confirmed, and when draining
	// began; 0 when it is not known.
	Published uint64 `json:"published_data_bytes"`
	Settled   uint64 `json:"settled_data_bytes"`
}

// Spread is a distribution of latencies in microseconds.
type Spread struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	Max float64 `json:"max_us"`
}

func spreadOf(l *latencies) Spread {
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	return Spread{us(l.percentile(0.5)), us(l.percentile(0.99)), us(l.percentile(1))}
}

// reading is a look at all counters at one moment.
type reading struct {
	at                  time.Time
	confirmed, received uint64
	client, broker      time.Duration
	written             uint64
}

// snapshot reads the counters.
func (b *bench) snapshot() (reading, error) {
	r := reading{at: time.Now(), client: ownCPU()}
	for _, w := range b.windows {
		r.confirmed += w.confirmed.Load()
	}
	for _, s := range b.sinks {
		r.received += s.received.load()
	}
	if b.options.PID == 0 {
		return r, nil
	}
	var err, err2 error
	r.broker, err = processCPU(b.options.PID)
	r.written, err2 = processWritten(b.options.PID)
	return r, errors.Join(err, err2)
}

// result adds up. Nobody writes the counters any more.
func (b *bench) result(before, after reading) *Result {
	o := b.options
	r := &Result{
		Mode: o.Mode, Size: o.Size, Clients: o.Clients, Consumers: o.Consumers, Window: o.Window,
		Seconds: after.at.Sub(before.at).Seconds(),
	}
	var confirm, endToEnd latencies
	for _, w := range b.windows {
		r.Sent += w.sent.Load()
		r.Confirmed += w.confirmed.Load()
		confirm.merge(&w.latency)
	}
	for _, s := range b.sinks {
		endToEnd.merge(&s.latency)
	}
	b.judge(r)
	r.Confirm, r.EndToEnd = spreadOf(&confirm), spreadOf(&endToEnd)
	r.ConfirmedRate = float64(after.confirmed-before.confirmed) / r.Seconds
	r.ReceivedRate = float64(after.received-before.received) / r.Seconds
	n := float64(after.confirmed - before.confirmed)
	if o.Mode == modeDrain {
		n = float64(after.received - before.received)
	}
	if n > 0 {
		r.ClientCPU = float64((after.client - before.client).Microseconds()) / n
		r.BrokerCPU = float64((after.broker - before.broker).Microseconds()) / n
		r.Written = float64(after.written-before.written) / n
	}
	return r
}

// judge adds up what the consumers saw: together if they compete, each on its
// own if every one should have got everything.
func (b *bench) judge(r *Result) {
	if len(b.sinks) == 0 {
		return
	}
	all := b.sinks[0].sequence
	for _, s := range b.sinks[1:] {
		if !b.driver.competing() {
			r.add(s.sequence)
			continue
		}
		all.join(s.sequence)
	}
	r.add(all)
}

func (r *Result) add(s *sequence) {
	r.Received += s.received
	r.Lost += s.lost()
	r.Duplicates += s.duplicates
	r.Redelivered += s.flagged
	r.Reordered += s.reordered
	r.Invented += s.invented
}

// print writes the result as a table or as JSON.
func (r *Result) print(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	var text strings.Builder
	row := func(name, format string, a ...any) { fmt.Fprintf(&text, name+"\t"+format+"\n", a...) }
	row(r.Protocol+" "+r.Mode, "%s, %d B, %d publishers, %d consumers, window %d, %.1f s",
		r.Addr, r.Size, r.Clients, r.Consumers, r.Window, r.Seconds)
	if r.Mode == modeDrain {
		row("received", "%d  (%.0f/s)", r.Received, r.ReceivedRate)
		row("of these redelivered", "%d", r.Redelivered)
		return r.finish(out, &text, row)
	}
	row("sent", "%d", r.Sent)
	row("confirmed", "%d  (%.0f/s)", r.Confirmed, r.ConfirmedRate)
	if r.Confirm != (Spread{}) { // QoS 0 is never confirmed
		row("confirm latency", "%s", r.Confirm)
	}
	if r.Backlog != nil {
		r.Backlog.rows(row, r.Confirmed*uint64(r.Size))
	}
	if r.Consumers > 0 {
		rate := r.ReceivedRate
		if r.Backlog != nil {
			rate = r.Backlog.DrainRate
		} else {
			row("end to end latency", "%s", r.EndToEnd)
		}
		row("received", "%d  (%.0f/s)", r.Received, rate)
		row("lost, invented, reordered", "%d, %d, %d", r.Lost, r.Invented, r.Reordered)
		row("duplicates marked, unmarked", "%d, %d", r.Redelivered, r.Duplicates)
	}
	return r.finish(out, &text, row)
}

// finish adds what a message costs and writes the table.
func (r *Result) finish(out io.Writer, text *strings.Builder, row func(name, format string, a ...any)) error {
	row("client CPU", "%.2f µs per message", r.ClientCPU)
	if r.BrokerCPU > 0 {
		row("broker CPU", "%.2f µs per message", r.BrokerCPU)
		row("broker wrote", "%.0f bytes to disk per message", r.Written)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(w, text.String())
	return errors.Join(err, w.Flush())
}

// rows writes what the backlog adds to the table; raw is the bytes of payload.
func (b *Backlog) rows(row func(name, format string, a ...any), raw uint64) {
	row("first tenth, last tenth", "%.0f/s, %.0f/s", b.FirstRate, b.LastRate)
	if b.PeakMemory > 0 {
		row("broker memory, at most", "%d MiB", b.PeakMemory>>20)
	}
	if b.Published > 0 {
		share := func(n uint64) float64 { return float64(n) / float64(raw) }
		row("data directory", "%d MB (%.2f of the payload) when all was confirmed, %d MB (%.2f) before draining",
			b.Published/1e6, share(b.Published), b.Settled/1e6, share(b.Settled))
	}
}

// String gives the percentiles in a readable unit.
func (s Spread) String() string {
	round := func(us float64) time.Duration {
		return time.Duration(us * float64(time.Microsecond)).Round(time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v", round(s.P50), round(s.P99), round(s.Max))
}
