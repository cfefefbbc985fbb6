package shard

import (
	"bytes"
	"cmp"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// keep publishes a retained value and waits until it is durable; no payload deletes it.
func (s *Shard) keep(t *testing.T, topic string, payload []byte) record.LSN {
	t.Helper()
	m := record.Message{Namespace: []byte("/"), Key: []byte(topic), Retain: true, Payload: payload}
	lsn, err := s.Publish(&m, true, nil)
	if err == nil {
		err = s.Wait(t.Context(), lsn)
	}
	must(t, err)
	return lsn
}

// valueFound is a retained value, and where it was read.
type valueFound struct {
	payload string
	copied  bool
}

// values reads all retained values that a filter matches.
func (s *Shard) values(t *testing.T, filter string) map[string]valueFound {
	t.Helper()
	search := s.SearchRetained("/", filter)
	refs := search.Next(nil, 1<<20)
	slices.SortFunc(refs, func(a, b RetainedRef) int { return cmp.Compare(a.Topic, b.Topic) })
	must(t, search.Fetch(refs))
	all := map[string]valueFound{}
	var h Hint
	for i := range refs {
		var m record.Message
		taken, err := search.Read(&refs[i], &h, &m)
		must(t, err)
		if at, err := s.Record(refs[i].LSN, &h, new(record.Message)); err != nil || at != taken {
			t.Errorf("%s was taken at %d by its copy, at %d by the log, %v", refs[i].Topic, taken, at, err)
		}
		all[string(m.Key)] = valueFound{string(m.Payload), refs[i].body != nil}
	}
	return all
}

// TestRetainedCopies reads retained values from the store where it has the one that the
// topic has, and from the log where it has none, an older one or none yet.
func TestRetainedCopies(t *testing.T) {
	cfg := testConfig(10)
	cfg.CheckpointBytes = 1 // each commit stores what was applied before it
	s, fs, store := opened(t, cfg)
	large := bytes.Repeat([]byte("x"), maxCopy)
	s.keep(t, "plant/small", []byte("1"))
	s.keep(t, "plant/large", large)
	s.keep(t, "plant/grown", []byte("1"))
	s.keep(t, "plant/shrunk", large)
	s.keep(t, "plant/deleted", []byte("1"))
	must(t, s.put(t, 2))
	s.keep(t, "plant/grown", large)
	s.keep(t, "plant/shrunk", []byte("2"))
	s.keep(t, "plant/deleted", nil)
	must(t, s.put(t, 2))
	want := map[string]valueFound{
		"plant/small": {"1", true}, "plant/large": {string(large), false},
		"plant/grown": {string(large), false}, "plant/shrunk": {"2", true},
	}
	same := func(when string, got map[string]valueFound) {
		t.Helper()
		for topic, v := range want {
			if got[topic] != v {
				t.Errorf("%s: %s: %d bytes, copied %v; want %d, %v",
					when, topic, len(got[topic].payload), got[topic].copied, len(v.payload), v.copied)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %d values, want %d", when, len(got), len(want))
		}
	}
	same("stored", s.values(t, "plant/+"))
	if _, err := store.Get(index.RetainedCopyKey([]byte("/"), []byte("plant/deleted"))); err == nil {
		t.Error("the copy of a deleted value is left")
	}

	// A value of which the store has an older copy, as an older version leaves it.
	var old index.Batch
	old.Set(index.RetainedCopyKey([]byte("/"), []byte("plant/small")),
		index.AppendRetainedCopy(nil, &index.RetainedCopy{LSN: 1, Time: 1, Body: []byte{0xff}}))
	must(t, store.Commit(&old))
	want["plant/small"] = valueFound{"1", false}
	same("beside an older copy", s.values(t, "plant/#"))
	s.keep(t, "plant/small", []byte("2"))
	want["plant/small"] = valueFound{"2", false}
	same("newer than the store", s.values(t, "plant/#"))

	must(t, s.Close())
	again, err := openOn(t, fs, store.Copy(), cfg)
	must(t, err)
	want["plant/small"] = valueFound{"2", true}
	same("after a start", again.values(t, "plant/#"))
	must(t, again.Close())
	rebuilt, err := openOn(t, fs.CrashClone(vfs.CrashCloneCfg{}), index.NewMap(), cfg)
	must(t, err)
	must(t, rebuilt.put(t, 2))
	same("after a rebuild", rebuilt.values(t, "plant/#"))
	must(t, rebuilt.Close())
}
