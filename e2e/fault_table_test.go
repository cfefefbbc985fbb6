package e2e

import (
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"

	"github.com/tidegate/tidegate/e2e/checker"
)

// faultRow is what one kind of fault has led to.
type faultRow struct {
	fault     string
	times     int
	confirmed int
	late      int // confirmed after the fault, by a broker that can't know
	broken    map[checker.Kind]int
}

// faultTable collects the rows of all tests of this run.
type faultTable struct {
	mu   sync.Mutex
	rows []faultRow
}

// faults is the table of this run, printed at its end.
var faults faultTable

func (t *faultTable) add(r faultRow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// print writes the table, if there is anything in it.
func (t *faultTable) print(w io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return
	}
	out := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(out, "| fault\t| times\t| confirmed\t| lost\t| wrongly acked\t| invented\t| reordered\t| unmarked duplicates\t| acks forgotten\t|")
	fmt.Fprintln(out, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range t.rows {
		fmt.Fprintf(out, "| %s\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t| %d\t|\n",
			r.fault, r.times, r.confirmed, r.broken[checker.Lost], r.late, r.broken[checker.Invented],
			r.broken[checker.Reordered], r.broken[checker.Unflagged]+r.broken[checker.Duplicated], r.broken[checker.Unsettled])
	}
	out.Flush()
}

// row makes a row of what a run has seen.
func (c *crashRun) row(fault string, times, late int) {
	r := faultRow{fault: fault, times: times, confirmed: c.history.Confirms(), late: late, broken: map[checker.Kind]int{}}
	for _, v := range c.history.Verdict() {
		r.broken[v.Kind]++
	}
	faults.add(r)
}

// rounds is how often a fault is repeated: a few times, or as often as the
// table of record asks for.
func rounds(few, many int) int {
	if os.Getenv("TIDEGATE_E2E_LONG") == "1" {
		return many
	}
	return few
}
