package core

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/tidegate/tidegate/core/record"
)

// filter is one distinct MQTT filter of a namespace with the subscriptions that
// have it, of sessions that do not rest. Sessions that outlive a crash share one stream, the others another,
// so that offsets in the log never depend on what only lives in memory. Both
// have a part in every shard. The namespace's mu guards all fields.
type filter struct {
	target             target
	text               string
	durable, transient record.StreamID // 0 when there is none
	nDurable           int32           // subscriptions that read each, of sessions that rest too
	nTransient         int32
	subs               map[*session]*subscription // nil while there are none
}

// streamKind tells which of a filter's streams a subscription reads.
type streamKind uint8

const (
	streamNone streamKind = iota // QoS 0: from memory alone
	streamTransient
	streamDurable
	streamShared // that of a queue, which others have too
)

// own tells whether the session has a cursor of its own on the stream.
func (k streamKind) own() bool { return k == streamTransient || k == streamDurable }

// filterStream is the id of a filter's stream. It is derived, so that every
// shard and every restart find the same; the hash is one that a client can't
// collide with another namespace's filter.
func filterStream(namespace, text string, kind streamKind) record.StreamID {
	h := sha256.New()
	h.Write([]byte{byte(kind)})
	h.Write([]byte(namespace))
	h.Write([]byte{0})
	h.Write([]byte(text))
	return record.StreamID(binary.LittleEndian.Uint64(h.Sum(nil))) | filterBit
}

// join adds a subscription to its filter and makes the stream that it reads.
// ns.mu is held. The stream is there for messages appended later.
func (b *Broker) join(ns *namespace, s *session, sub *subscription) error {
	if sub.kind == streamShared {
		return b.joinShare(ns, s, sub)
	}
	f, err := b.hold(ns, sub.spec.Filter, sub.kind)
	if err != nil {
		return err
	}
	f.add(s, sub)
	ns.version.Add(1)
	return nil
}

// hold makes the stream of a filter that one more subscription reads. ns.mu is held.
func (b *Broker) hold(ns *namespace, text string, kind streamKind) (*filter, error) {
	f := ns.filters[text]
	if f == nil {
		f = newFilter(text)
	}
	if err := b.joinStream(ns, f, kind); err != nil {
		return nil, err
	}
	ns.put(f)
	return f, nil
}

func newFilter(text string) *filter {
	f := &filter{text: text}
	f.target.filter = f
	return f
}

// bindFilter returns a filter, made if it is not there. mu is held.
func (ns *namespace) bindFilter(text string) *filter {
	f := ns.filters[text]
	if f == nil {
		f = newFilter(text)
		ns.put(f)
	}
	return f
}

func (ns *namespace) put(f *filter) {
	if ns.filters[f.text] == nil {
		ns.filters[f.text] = f
		ns.table.BindFilter(f.text, &f.target)
	}
}

// unbindUnused takes a filter out that no subscription needs. mu is held.
func (ns *namespace) unbindUnused(f *filter) {
	if len(f.subs) > 0 || f.nDurable > 0 || f.nTransient > 0 {
		return
	}
	delete(ns.filters, f.text)
	ns.table.UnbindFilter(f.text, &f.target)
	ns.version.Add(1)
}

// add adds a session's subscription, or changes it.
func (f *filter) add(s *session, sub *subscription) {
	if f.subs == nil {
		f.subs = map[*session]*subscription{}
	}
	f.subs[s] = sub
}

// remove takes a session's subscription out.
func (f *filter) remove(s *session) {
	if delete(f.subs, s); len(f.subs) == 0 {
		f.subs = nil
	}
}

func (b *Broker) joinStream(ns *namespace, f *filter, kind streamKind) error {
	if kind == streamNone {
		return nil
	}
	info := record.Stream{
		ID: filterStream(ns.name, f.text, kind), Filter: true, Namespace: ns.name, Name: f.text,
	}
	for _, s := range b.shards {
		if err := s.CreateStream(info, kind == streamDurable); err != nil {
			return b.storageError(err)
		}
	}
	if kind == streamDurable {
		f.durable = info.ID
		f.nDurable++
	} else {
		f.transient = info.ID
		f.nTransient++
	}
	return nil
}

// leave removes a subscription from its filter, and the stream with its last
// cursor. ns.mu is held. lsns[i] is raised to what to wait for in shard i.
func (b *Broker) leave(ns *namespace, s *session, sub *subscription, lsns []record.LSN) error {
	if sub.kind == streamShared {
		return b.leaveShare(ns, s, sub, lsns)
	}
	f := ns.filters[sub.spec.Filter]
	if f == nil || f.subs[s] != sub {
		return nil
	}
	f.remove(s)
	ns.release(f.text, s)
	ns.version.Add(1)
	err := b.leaveStream(ns, f, s.id, sub.kind, lsns)
	ns.unbindUnused(f)
	return err
}

func (b *Broker) leaveStream(ns *namespace, f *filter, id uint64, kind streamKind, lsns []record.LSN) error {
	last := false
	switch kind {
	case streamNone:
		return nil
	case streamDurable:
		if f.nDurable--; f.nDurable == 0 {
			f.durable, last = 0, true
		}
	default:
		if f.nTransient--; f.nTransient == 0 {
			f.transient, last = 0, true
		}
	}
	stream := filterStream(ns.name, f.text, kind)
	if kind == streamDurable {
		e := ended{stream: uint64(stream)}
		if !last {
			e.cursor = id
		}
		b.unpublish.add(e)
	}
	for i, s := range b.shards {
		var lsn record.LSN
		var err error
		if last {
			lsn, err = s.DropStream(stream)
		} else {
			_, lsn, err = s.DropCursor(stream, id)
		}
		if err != nil {
			return b.storageError(err)
		}
		lsns[i] = max(lsns[i], lsn)
	}
	return nil
}
