package shard

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/core/index"
	"github.com/tidegate/tidegate/core/record"
)

// maxViews bounds the streams that a rewrite has at hand.
const maxViews = 1 << 14

// isControl tells whether records of the kind may still say something when all
// that is known of a shard is its segments, though the checkpoint has them. What
// a later version adds is one until it is said otherwise.
func isControl(kind record.Kind) bool {
	switch kind {
	case record.KindMessage, record.KindPlaced, record.KindHeld, record.KindAck, record.KindDelivered, record.KindReturns,
		record.KindTruncate, record.KindCompact: // ENDS and the next step of compaction tell the same
		return false
	default:
		return true
	}
}

// markControl notes in the store that there is such a record, so that its segment
// is not dropped unread. mu is held.
func (s *Shard) markControl(lsn record.LSN) {
	if block := index.ControlBlock(lsn); block != s.controls {
		s.controls = block
		s.pending.Set(index.ControlKey(block), nil)
	} else if block == 0 {
		s.pending.Set(index.ControlKey(0), nil)
	}
}

// kept is what the last rewrite left in a segment beside needed messages.
type kept struct {
	controls uint64 // records that say what is
	ends     uint64 // records that say what is no more
	oldest   bool   // there was no older segment
	at       uint64 // bytes of control records that were applied before, see stale
}

// keeper decides which records a rewrite keeps, as of a snapshot of the store.
//
// A message is kept with the places that it has in streams that need it, or
// without any when it is a retained value or the first of an exactly-once number
// in use. Of the other records it keeps what the state would be found from if the
// index were lost: the newest record of each thing that there is, and the records
// that end a thing for as long as older segments may still speak of it.
type keeper struct {
	snap   index.Snapshot
	oldest bool // no segment is older than those that are rewritten
	views  map[record.StreamID]*view

	msg    record.Message
	fire   record.Fire
	fired  index.Fired
	given  []record.Place
	places []record.Place
	body   []byte
	// retains and onces tell that a message was kept that may be the retained
	// value of a topic, or the first of a number, for who reads no further.
	retains, onces bool

	live, controls, ends uint64 // counts of what was kept
}

func newKeeper(snap index.Snapshot, oldest bool) *keeper {
	return &keeper{snap: snap, oldest: oldest, views: map[record.StreamID]*view{}}
}

// keep implements commitlog.Keep.
func (k *keeper) keep(lsn record.LSN, kind record.Kind, body []byte) (record.Kind, []byte, error) {
	switch kind {
	case record.KindAck, record.KindDelivered, record.KindReturns, record.KindTruncate, record.KindCompact:
		return 0, nil, nil
	case record.KindMessage:
		return k.message(lsn, body, nil)
	case record.KindPlaced:
		given, message, err := record.SplitPlaced(body, k.given[:0])
		if err != nil {
			return 0, nil, err
		}
		k.given = given
		return k.message(lsn, message, given)
	case record.KindHeld:
		return k.heldMessage(lsn, body)
	case record.KindFire:
		return k.fireRecord(lsn, body, nil)
	case record.KindPlacedFire:
		given, fire, err := record.SplitPlacedFire(body, k.given[:0])
		if err != nil {
			return 0, nil, err
		}
		k.given = given
		return k.fireRecord(lsn, fire, given)
	default:
	}
	is, isEnd, err := k.control(lsn, kind, body)
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("kind %d: %w", kind, err)
	case is:
		k.controls++
	case isEnd:
		k.ends++
	default:
		return 0, nil, nil
	}
	return kind, body, nil
}

// message keeps a message that is needed. given are its places when it had some,
// and else they are looked for.
func (k *keeper) message(lsn record.LSN, body []byte, given []record.Place) (record.Kind, []byte, error) {
	m := &k.msg
	if err := record.DecodeMessage(body, m); err != nil {
		return 0, nil, err
	}
	needed, ends, err := k.needs(lsn, m, given)
	if err != nil {
		return 0, nil, err
	}
	if m.Once.Session != 0 && !needed {
		if needed, err = k.refers(index.OnceKey(m.Once), lsn); err != nil {
			return 0, nil, err
		}
	}
	switch {
	case needed:
		k.live++
	case ends:
		k.ends++
	default:
		return 0, nil, nil
	}
	k.retains = k.retains || m.Retain && m.PayloadSize() > 0
	k.onces = k.onces || m.Once.Session != 0
	k.body = record.AppendPlaced(k.body[:0], k.places, body)
	return record.KindPlaced, k.body, nil
}

// needs tells whether a stream needs the message, or it is the retained value of its
// topic, or else whether it ends that of older segments. It fills k.places.
func (k *keeper) needs(lsn record.LSN, m *record.Message, given []record.Place) (needed, ends bool, err error) {
	if needed, err = k.find(lsn, m, given); err != nil || !m.Retain {
		return needed, false, err
	}
	is, err := k.refers(index.RetainedKey(m.Namespace, m.Key), lsn)
	if err == nil && m.PayloadSize() == 0 {
		ends, err = k.endsRetained(m)
	}
	return needed || is, ends, err
}

// find fills k.places and tells whether one of them is needed.
func (k *keeper) find(lsn record.LSN, m *record.Message, given []record.Place) (needed bool, err error) {
	k.places = k.places[:0]
	for i := range m.NumStreams() {
		place := record.NoPlace
		v, err := k.view(m.StreamAt(i))
		if err != nil {
			return false, err
		}
		switch {
		case v == nil || lsn < v.since:
		case given != nil:
			o, ok := given[i].Offset()
			if ok {
				ok, err = v.keeps(k.snap, o)
			}
			if err != nil {
				return false, err
			}
			if ok {
				place = given[i]
			}
		default:
			o, ok, err := v.find(k.snap, lsn)
			if err != nil {
				return false, err
			}
			if ok {
				place = record.PlaceAt(o)
			}
		}
		needed = needed || place != record.NoPlace
		k.places = append(k.places, place)
	}
	return needed, nil
}

// view returns a stream as of the snapshot, nil when there is none.
func (k *keeper) view(id record.StreamID) (*view, error) {
	v, known := k.views[id]
	if known {
		return v, nil
	}
	if len(k.views) >= maxViews {
		clear(k.views)
	}
	v, err := findView(k.snap, id)
	if err == nil {
		k.views[id] = v
	}
	return v, err
}

// refers tells whether the key's value is the record.
func (k *keeper) refers(key []byte, lsn record.LSN) (bool, error) {
	v, err := k.snap.Get(key)
	if errors.Is(err, index.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	at, err := index.DecodeLSN(v)
	return at == lsn, err
}

// exists tells whether the store has the key.
func (k *keeper) exists(key []byte) (bool, error) {
	_, err := k.snap.Get(key)
	if errors.Is(err, index.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// holds tells whether the store has the body as the value of the key.
func (k *keeper) holds(key, body []byte) (bool, error) {
	v, err := k.snap.Get(key)
	if errors.Is(err, index.ErrNotFound) {
		return false, nil
	}
	return err == nil && bytes.Equal(v, body), err
}

// endsRetained tells whether a message that clears a topic's value is to be kept:
// not when there is a newer value, nor when nothing older can be taken for one.
func (k *keeper) endsRetained(m *record.Message) (bool, error) {
	there, err := k.exists(index.RetainedKey(m.Namespace, m.Key))
	return !there && (!k.oldest || k.retains), err
}

// control tells whether a record is the newest one of something that there is, or
// else the end of something that older records may speak of.
func (k *keeper) control(lsn record.LSN, kind record.Kind, body []byte) (is, isEnd bool, err error) {
	switch kind {
	case record.KindStreamCreate, record.KindStreamDrop, record.KindCursorCreate, record.KindCursorDrop:
		return k.streamControl(lsn, kind, body)
	case record.KindSession, record.KindSessionDrop:
		var r record.Session
		if err := record.DecodeSession(body, &r); err != nil {
			return false, false, err
		}
		return k.ofSession(index.SessionThing(r.ID), index.SessionKey(r.ID), lsn, body, kind == record.KindSession)
	case record.KindSubscription, record.KindSubscriptionDrop:
		var r record.Subscription
		if err := record.DecodeSubscription(body, &r); err != nil {
			return false, false, err
		}
		return k.ofSession(index.SubscriptionThing(r.Session, r.Filter), index.SubscriptionKey(r.Session, r.Filter),
			lsn, body, kind == record.KindSubscription)
	case record.KindValue:
		var r record.Value
		if err := record.DecodeValue(body, &r); err != nil {
			return false, false, err
		}
		return k.ofSession(index.ValueThing(r.Session, r.Key), index.ValueKey(r.Session, r.Key), lsn, body, r.Present)
	case record.KindRelease:
		o, err := record.DecodeOnce(body)
		if err != nil {
			return false, false, err
		}
		there, err := k.exists(index.OnceKey(o))
		return false, !there && (!k.oldest || k.onces), err
	case record.KindGroup, record.KindSeek, record.KindForget:
		return k.keptControl(lsn, kind, body)
	case record.KindTransfer, record.KindTransferred, record.KindTransferDone:
		return k.transferControl(lsn, kind, body)
	case record.KindCancel:
		var c record.Cancel
		if err := record.DecodeCancel(body, &c); err != nil {
			return false, false, err
		}
		isEnd, err = k.endsBody(c.Body)
		return false, isEnd, err
	default:
		return true, false, nil // whoever wrote it will know
	}
}

// ofSession is control for a session and what it has. Of equal records the newest
// one counts.
func (k *keeper) ofSession(
	t index.Thing, key []byte, lsn record.LSN, body []byte, present bool,
) (is, isEnd bool, err error) {
	if !present {
		isEnd, err = k.endsThing(t, lsn)
		return false, isEnd, err
	}
	if is, err = k.holds(key, body); is && err == nil {
		is, err = k.newest(t, lsn)
	}
	return is, false, err
}

// streamControl is control for streams and cursors.
func (k *keeper) streamControl(lsn record.LSN, kind record.Kind, body []byte) (is, isEnd bool, err error) {
	var id record.StreamID
	var cursor uint64
	if kind == record.KindStreamCreate {
		var r record.Stream
		err = record.DecodeStream(body, &r)
		id = r.ID
	} else {
		var r record.CursorRef
		r, err = record.DecodeCursorRef(body)
		id, cursor = r.Stream, r.Cursor
	}
	if err != nil {
		return false, false, err
	}
	v, err := k.view(id)
	if err != nil {
		return false, false, err
	}
	switch kind {
	case record.KindStreamCreate:
		return v != nil && v.since == lsn, false, nil
	case record.KindStreamDrop:
		isEnd, err = k.endsThing(index.StreamThing(id), lsn)
		return false, isEnd, err
	case record.KindCursorCreate:
		return k.makesCursor(v, cursor, lsn)
	default:
		return k.endsCursor(v, cursor, id, lsn)
	}
}

// keptControl is control for stream queues.
func (k *keeper) keptControl(lsn record.LSN, kind record.Kind, body []byte) (is, isEnd bool, err error) {
	if kind == record.KindForget {
		r, err := record.DecodeForget(body)
		if err != nil {
			return false, false, err
		}
		v, err := k.view(r.Stream)
		return false, v != nil && lsn >= v.since && !k.oldest, err
	}
	var ref record.CursorRef
	if kind == record.KindGroup {
		var r record.Group
		r, err = record.DecodeGroup(body)
		ref = record.CursorRef{Stream: r.Stream, Cursor: r.Cursor}
	} else {
		ref, err = record.DecodeCursorRef(body)
	}
	if err != nil {
		return false, false, err
	}
	v, err := k.snap.Get(index.GroupKey(ref.Stream, ref.Cursor))
	if errors.Is(err, index.ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	g, err := index.DecodeGroup(v)
	return kind == record.KindGroup && lsn == g.Created || kind == record.KindSeek && lsn == g.Since, false, err
}

// makesCursor tells whether the record made a cursor that there is. Where it is not
// noted which one did, each may have.
func (k *keeper) makesCursor(of *view, cursor uint64, lsn record.LSN) (is, isEnd bool, err error) {
	if of == nil || lsn < of.since {
		return false, false, nil
	}
	if is, err = k.exists(index.CursorKey(of.id, cursor)); is && err == nil {
		is, err = k.newest(index.CursorThing(of.id, cursor), lsn)
	}
	return is, false, err
}

// endsCursor tells whether a record that ends a cursor is to be kept: also when the
// cursor is there, and it is not noted which record made it.
func (k *keeper) endsCursor(of *view, cursor uint64, id record.StreamID, lsn record.LSN) (is, isEnd bool, err error) {
	t := index.CursorThing(id, cursor)
	isEnd, err = k.endsThing(t, lsn)
	if isEnd || err != nil || of == nil || lsn < of.since {
		return false, isEnd, err
	}
	there, err := k.exists(index.CursorKey(id, cursor))
	if !there || err != nil {
		return false, false, err
	}
	made, err := k.noted(t.NewestKey())
	return false, made == 0, err
}
