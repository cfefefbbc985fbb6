package shard

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/route"
)

// Of retained values, which record is a topic's is in memory. The value itself is in
// the log, and when it is small in the store too: a subscription that matches many of
// them, all over the log, takes a lookup for each and not a block of the log. What is
// newer than the last spill is read from the log, of which that is the tail.

const (
	// maxCopy is how many bytes the record of a retained value may have to be copied to
	// the store.
	maxCopy = 4 << 10
	// searchStep is how many topics' nodes a search for retained values looks at before
	// it lets others have the shard.
	searchStep = 1024
)

// retain makes the message the retained value of its topic; an empty payload
// removes the value. body is that of the message's record, nil when that has not all of
// the message.
func (s *Shard) retain(m *record.Message, body []byte, lsn record.LSN) {
	topics := s.retained[string(m.Namespace)]
	s.checkpoint.went = true
	reference, copied := index.RetainedKey(m.Namespace, m.Key), index.RetainedCopyKey(m.Namespace, m.Key)
	if m.PayloadSize() == 0 {
		s.markControl(lsn)
		s.pending.Delete(reference)
		s.pending.Delete(copied)
		if topics != nil {
			topics.Delete(string(m.Key))
		}
		return
	}
	if topics == nil {
		topics = route.NewTopics[record.LSN]()
		s.retained[string(m.Namespace)] = topics
	}
	topics.Put(string(m.Key), lsn)
	s.pending.Set(reference, index.AppendLSN(nil, lsn))
	if body == nil || len(body) > maxCopy {
		s.pending.Delete(copied)
		return
	}
	s.copied = index.AppendRetainedCopy(s.copied[:0], &index.RetainedCopy{LSN: lsn, Time: s.applyTime, Body: body})
	s.pending.Set(copied, s.copied)
}

func (s *Shard) loadRetained(k, v []byte) error {
	lsn, err := index.DecodeLSN(v)
	if err != nil {
		return err
	}
	namespace, topic, err := index.SplitRetainedKey(k)
	if err != nil {
		return err
	}
	topics := s.retained[string(namespace)]
	if topics == nil {
		topics = route.NewTopics[record.LSN]()
		s.retained[string(namespace)] = topics
	}
	topics.Put(string(topic), lsn)
	return nil
}

// RetainedRef is the retained value of a topic.
type RetainedRef struct {
	Topic string
	LSN   record.LSN
	taken int64
	body  []byte // of its copy, nil when it is to be read from the log
}

// RetainedSearch finds the retained values whose topics a filter matches, in steps:
// others may have the shard in between, and a value that is set meanwhile may be found. It belongs to one goroutine at a time. Until Next has appended fewer values
// than asked for, or End is called, it holds on to nodes of the index of topics.
type RetainedSearch struct {
	s         *Shard
	namespace string
	search    *route.Search[record.LSN] // nil when it has ended
	keys      [][]byte                  // scratch of Fetch, and the values they are of
	of        []int
}

// SearchRetained begins a search.
func (s *Shard) SearchRetained(namespace, filter string) *RetainedSearch {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &RetainedSearch{s: s, namespace: namespace}
	if topics := s.retained[namespace]; topics != nil {
		r.search = topics.Search(filter)
	}
	return r
}

// Next appends values to dst: n at least, and no more than searchStep beyond that. There
// are no others when it appends fewer.
func (r *RetainedSearch) Next(dst []RetainedRef, n int) []RetainedRef {
	for n += len(dst); r.search != nil && len(dst) < n; {
		r.s.mu.Lock()
		if !r.search.Next(searchStep, func(topic string, lsn record.LSN) bool {
			dst = append(dst, RetainedRef{Topic: topic, LSN: lsn})
			return true
		}) {
			r.search = nil
		}
		r.s.mu.Unlock()
	}
	return dst
}

// End gives the search up.
func (r *RetainedSearch) End() {
	if r.search == nil {
		return
	}
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.search.End()
	r.search = nil
}

// Fetch reads the copies of values that Next has appended, in ascending order of
// topics, so that Read has them at hand.
func (r *RetainedSearch) Fetch(refs []RetainedRef) error {
	r.keys, r.of = r.keys[:0], r.of[:0]
	spilled := record.LSN(r.s.spilled.Load())
	for i := range refs {
		if refs[i].LSN <= spilled {
			r.keys = append(r.keys, index.RetainedCopyKey([]byte(r.namespace), []byte(refs[i].Topic)))
			r.of = append(r.of, i)
		}
	}
	var failed error
	err := r.s.store.GetSorted(r.keys, func(i int, v []byte) {
		ref := &refs[r.of[i]]
		var c index.RetainedCopy
		if err := index.DecodeRetainedCopy(v, &c); err != nil {
			failed = fmt.Errorf("retained message of %q: %w", ref.Topic, err)
		} else if c.LSN == ref.LSN {
			ref.taken, ref.body = c.Time, bytes.Clone(c.Body)
		}
	})
	clear(r.keys)
	return errors.Join(err, failed)
}

// Read reads a value as Shard.Record does: its copy, or from the log when Fetch has found
// none.
func (r *RetainedSearch) Read(ref *RetainedRef, h *Hint, m *record.Message) (taken int64, err error) {
	if ref.body == nil {
		return r.s.Record(ref.LSN, h, m)
	}
	if err := record.DecodeMessage(ref.body, m); err != nil {
		return 0, fmt.Errorf("retained message of %q: %w", ref.Topic, err)
	}
	return ref.taken, nil
}

// RetainedTopics is how many topics have a retained value.
func (s *Shard) RetainedTopics() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topics := range s.retained {
		n += topics.Len()
	}
	return n
}
