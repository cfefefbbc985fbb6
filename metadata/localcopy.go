package metadata

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The local copy is one file: a head line and JSON.
//
//	tidegate-catalog 1 <CRC32C of the JSON, 8 hex digits> <its length>\n
//	{"cluster": …, "revision": …, "entries": [{"key", "value", "revision"}]}
//
// It is replaced as a whole (write, sync, rename, sync the directory), so a
// reader finds the old or the new one. One that fails any check is ignored.
const copyHead = "tidegate-catalog %d %08x %d\n"

const (
	copyVersion  = 1
	maxCopyBytes = 1 << 30
	saveRetry    = 5 * time.Second // wait after a save that did not work
)

var errCopy = errors.New("local copy not usable")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type copyEntry struct {
	Key      string   `json:"key"`
	Value    []byte   `json:"value"`
	Revision Revision `json:"revision"`
}

type localCopy struct {
	Cluster  string      `json:"cluster"`
	Revision Revision    `json:"revision"`
	Entries  []copyEntry `json:"entries"`
}

// loadCopy fills the view from the local copy. The view stays empty on error.
func (c *Catalog) loadCopy() error {
	if c.cfg.Path == "" {
		return errors.New("none is kept")
	}
	stored, err := readCopy(c.cfg.FS, c.cfg.Path)
	if err == nil && stored.Cluster != c.cfg.Cluster {
		err = fmt.Errorf("of cluster %q: %w", stored.Cluster, errCopy)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", c.cfg.Path, err)
	}
	now := make(map[string]KV, len(stored.Entries))
	for _, e := range stored.Entries {
		now[e.Key] = KV{Key: e.Key, Value: e.Value, ModRevision: e.Revision}
	}
	loaded := newView(c.keys)
	if _, errs := loaded.replace(stored.Revision, now); len(errs) > 0 {
		return fmt.Errorf("read %s: %w: %w", c.cfg.Path, errCopy, errors.Join(errs...))
	}
	c.view, c.delivered = loaded, stored.Revision
	return nil
}

func readCopy(fs vfs.FS, path string) (localCopy, error) {
	file, err := fs.Open(path)
	if err != nil {
		return localCopy{}, err
	}
	defer func() { _ = file.Close() }() // only read
	text, err := io.ReadAll(io.LimitReader(file, maxCopyBytes))
	if err != nil {
		return localCopy{}, err
	}
	head, body, _ := bytes.Cut(text, []byte("\n"))
	var version, length int
	var sum uint32
	if _, err := fmt.Sscanf(string(head)+"\n", copyHead, &version, &sum, &length); err != nil {
		return localCopy{}, fmt.Errorf("head: %w: %w", errCopy, err)
	}
	switch {
	case fmt.Sprintf(copyHead, version, sum, length) != string(head)+"\n":
		return localCopy{}, fmt.Errorf("head is not as it was written: %w", errCopy) // Sscanf lets much pass
	case version != copyVersion:
		return localCopy{}, fmt.Errorf("version %d: %w", version, errCopy)
	case length != len(body):
		return localCopy{}, fmt.Errorf("length %d of %d: %w", len(body), length, errCopy)
	case sum != crc32.Checksum(body, castagnoli):
		return localCopy{}, fmt.Errorf("checksum: %w", errCopy)
	}
	var stored localCopy
	if err := json.Unmarshal(body, &stored); err != nil {
		return localCopy{}, fmt.Errorf("%w: %w", errCopy, err)
	}
	return stored, nil
}

// saveSoon asks for a save; one that is due already covers this change too.
func (c *Catalog) saveSoon() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// keepCopy saves the copy a little after each change, and at the end.
func (c *Catalog) keepCopy(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			select {
			case <-c.dirty:
				c.saveOrLog()
			default:
			}
			return
		case <-c.dirty:
		}
		goOn := pause(ctx, c.cfg.SaveDelay)
		if !c.saveOrLog() {
			c.saveSoon()
			goOn = pause(ctx, saveRetry)
		}
		if !goOn {
			return
		}
	}
}

func (c *Catalog) saveOrLog() bool {
	if err := c.saveCopy(); err != nil {
		c.log.Warn("local copy of the metadata not saved", slog.String("path", c.cfg.Path), slog.Any("error", err))
		return false
	}
	return true
}

// saveCopy writes the copy. A catalog without a namespace has not begun, or is an
// empty one in the place of the one that the copy is of: then the copy is the last there
// is, and stays.
func (c *Catalog) saveCopy() error {
	c.mu.RLock()
	if len(c.view.namespaces) == 0 {
		c.mu.RUnlock()
		return nil
	}
	out := localCopy{Cluster: c.cfg.Cluster, Revision: c.view.rev, Entries: make([]copyEntry, 0, len(c.view.entries))}
	for key, e := range c.view.entries {
		out.Entries = append(out.Entries, copyEntry{Key: key, Value: e.value, Revision: e.rev})
	}
	c.mu.RUnlock()
	sum := summary{}
	if err := out.encode(&sum); err != nil {
		return err
	}
	return replaceFile(c.cfg.FS, c.cfg.Path, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, copyHead, copyVersion, sum.crc, sum.length); err != nil {
			return err
		}
		return out.encode(w)
	})
}

// encode writes the copy as JSON. It does so entry by entry, and once more for the
// head: as one piece of memory the copy of a large catalog, made anew after every
// change, would be most of what the collector has to do.
func (l *localCopy) encode(w io.Writer) error {
	out := bufio.NewWriterSize(w, copyBuffer)
	cluster, err := json.Marshal(l.Cluster)
	if err != nil {
		return err
	}
	// An error of the buffer stays, and comes with Flush.
	_, _ = fmt.Fprintf(out, `{"cluster":%s,"revision":%d,"entries":[`, cluster, l.Revision)
	entries := json.NewEncoder(out)
	for i := range l.Entries {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		if err := entries.Encode(&l.Entries[i]); err != nil {
			return err
		}
	}
	_, _ = out.WriteString("]}")
	return out.Flush()
}

const copyBuffer = 64 << 10

// summary is what the head tells of the JSON behind it.
type summary struct {
	crc    uint32
	length int
}

// Write implements io.Writer.
func (s *summary) Write(p []byte) (int, error) {
	s.crc, s.length = crc32.Update(s.crc, castagnoli, p), s.length+len(p)
	return len(p), nil
}
