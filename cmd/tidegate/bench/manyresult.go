package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// ManyResult is what "tidegate bench many" measured.
type ManyResult struct {
	What    string  `json:"what"`
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	// The resident set of the broker in bytes before the first was made, and
	// when all had rested; 0 when its process is not known.
	Before uint64 `json:"rss_before_bytes"`
	After  uint64 `json:"rss_after_bytes"`
}

// Each is how many bytes of memory the broker has more for each of them.
func (r *ManyResult) Each() float64 {
	return (float64(r.After) - float64(r.Before)) / float64(r.Count)
}

// print writes the result as a table or as JSON.
func (r *ManyResult) print(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, err := fmt.Fprintf(w, "%s\t%d in %.1f s  (%.0f/s)\n", r.What, r.Count, r.Seconds, float64(r.Count)/r.Seconds)
	if r.Before > 0 {
		_, err2 := fmt.Fprintf(w, "broker memory\t%d MiB before, %d MiB with them\neach\t%.0f bytes\n",
			r.Before>>20, r.After>>20, r.Each())
		err = errors.Join(err, err2)
	}
	return errors.Join(err, w.Flush())
}
