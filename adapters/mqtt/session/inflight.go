package session

import "github.com/tidegate/tidegate/core"

// MaxInflight is the most messages that one session can have in flight; it
// leaves packet identifiers free so that one is not used again at once.
const MaxInflight = 60_000

// Phase is how far a message in flight has got. The numbers are part of the
// values kept with the session.
type Phase uint8

// The phases of a message in flight.
const (
	Waiting  Phase = iota + 1 // PUBLISH still to be sent, or to be answered
	Recorded                  // PUBREC has come: PUBREL to be sent, PUBCOMP to come
)

// entry is a message in flight, in the list of its order of sending.
type entry struct {
	pos        core.Position
	put        uint64 // what Stored must reach before the next packet leaves
	seq        uint64 // order of sending, counted over the session's life
	prev, next int32
	id         uint16
	qos        uint8
	phase      Phase
	shared     bool // of a shared subscription
	sent       bool // PUBLISH has left, on whichever connection
	counted    bool // takes a place in the client's Receive Maximum
}

// Inflight is the sending side of a session: messages of QoS 1 and 2 that are
// on their way, in the order in which they were taken from the backlog, each
// with its packet identifier. It survives the connection: [Inflight.Connect]
// starts all over with the oldest one.
//
// The owner takes deliveries while [Inflight.Room] allows, adds each with
// [Inflight.Add], and sends what [Inflight.Next] tells.
type Inflight struct {
	entries []entry
	index   map[uint16]int32
	free    int32 // list of unused entries through next, or none
	first   int32
	last    int32
	todo    int32 // first entry not handled on this connection, or none
	ahead   int   // how many entries there are from todo on
	counted int
	window  int
	lastID  uint16
	seq     uint64
	rels    queue[uint16] // ids whose PUBREL waits for the record of PUBREC
}

const none int32 = -1

// NewInflight returns an empty table with no window: call Connect.
func NewInflight() *Inflight {
	return &Inflight{free: none, first: none, last: none, todo: none}
}

// Connect begins a connection whose client takes window unacknowledged
// messages at a time. Everything in flight is to be sent again; QoS 2 messages
// once Next is called with stored ≥ put, because what an earlier connection
// wrote down may not be durable yet, and was numbered differently.
func (f *Inflight) Connect(window int, put uint64) {
	f.window = window
	f.todo, f.counted, f.ahead = f.first, 0, len(f.index)
	f.rels = queue[uint16]{}
	for i := f.first; i != none; i = f.entries[i].next {
		f.entries[i].counted = false
		f.entries[i].put = 0
		if f.entries[i].qos == 2 {
			f.entries[i].put = put
		}
	}
}

// Kept returns one of the QoS 2 messages in flight, if there are any. Writing
// it down again gives the number that Connect asks for.
func (f *Inflight) Kept() (Saved, bool) {
	for i := f.first; i != none; i = f.entries[i].next {
		if e := &f.entries[i]; e.qos == 2 {
			return f.Saved(e.id, e.phase), true
		}
	}
	return Saved{}, false
}

// Hold lets no more PUBLISH leave on this connection. What has left is completed.
func (f *Inflight) Hold() { f.window = 0 }

// Idle tells that the client owes no acknowledgement for what has left on this connection.
func (f *Inflight) Idle() bool { return f.counted == 0 && f.rels.len() == 0 }

// Len is the number of messages in flight.
func (f *Inflight) Len() int { return len(f.index) }

// Room is how many more deliveries may be taken now.
func (f *Inflight) Room() int {
	return max(0, min(f.window-f.counted-f.ahead, MaxInflight-len(f.index)))
}

// Add takes a delivery for sending after those that are in flight, and returns
// its packet identifier. qos is 1 or 2; shared tells that it is of a shared subscription.
// Room must have allowed it.
func (f *Inflight) Add(pos core.Position, qos uint8, shared bool) uint16 {
	f.seq++
	return f.insert(entry{pos: pos, qos: qos, phase: Waiting, shared: shared, seq: f.seq, id: f.allocate()})
}

// Return forgets, at the end of a connection, the messages of shared subscriptions that others are
// to get now: all but those of QoS 2 whose PUBLISH has left, which only this client may
// complete. The result are the identifiers of those of QoS 2.
func (f *Inflight) Return() (stored []uint16) {
	for i := f.first; i != none; {
		e := &f.entries[i]
		at := i
		i = e.next
		if !e.shared || e.qos == 2 && e.sent {
			continue
		}
		if e.qos == 2 {
			stored = append(stored, e.id)
		}
		if f.remove(at); len(f.index) == 0 {
			break // the table is given up
		}
	}
	return stored
}

// Storing says that the identifier of the QoS 2 message was written down, and
// is durable once Next is called with stored ≥ put. The PUBLISH waits for it.
func (f *Inflight) Storing(id uint16, put uint64) {
	if i, ok := f.index[id]; ok {
		f.entries[i].put = put
	}
}

// Kind is what is to be sent.
type Kind uint8

// The packets that Next asks for.
const (
	SendPublish Kind = iota + 1
	SendPubrel
)

// Action is a packet to be sent.
type Action struct {
	Kind     Kind
	ID       uint16
	Position core.Position
	QoS      uint8
	Dup      bool
}

// Next returns the next packet to send; ok is false when there is none now.
// stored is the number up to which the session's values are durable.
func (f *Inflight) Next(stored uint64) (a Action, ok bool) {
	if f.rels.len() > 0 {
		id := *f.rels.front()
		i, live := f.index[id]
		if !live {
			f.rels.pop()
			return f.Next(stored)
		}
		if f.entries[i].put <= stored {
			f.rels.pop()
			return Action{Kind: SendPubrel, ID: id, QoS: 2}, true
		}
	}
	for f.todo != none {
		e := &f.entries[f.todo]
		if e.phase == Recorded {
			f.advance()
			if e.put <= stored {
				return Action{Kind: SendPubrel, ID: e.id, QoS: 2}, true
			}
			f.rels.push(e.id)
			continue
		}
		if e.put > stored || f.counted >= f.window {
			return Action{}, false
		}
		a = Action{Kind: SendPublish, ID: e.id, Position: e.pos, QoS: e.qos, Dup: e.sent}
		e.sent, e.counted = true, true
		f.counted++
		f.advance()
		return a, true
	}
	return Action{}, false
}

func (f *Inflight) advance() {
	f.todo = f.entries[f.todo].next
	f.ahead--
}

// Answer tells what a client's acknowledgement means.
type Answer uint8

// The answers.
const (
	Unknown Answer = iota // no such message: the client is behind
	Settled               // the message is done: settle its position
	Record                // write the PUBREC down, then call Recording
	Repeat                // known already: Next sends PUBREL again
	Wrong                 // not how a message of this QoS is acknowledged
)

// Puback takes a PUBACK.
func (f *Inflight) Puback(id uint16) (core.Position, Answer) {
	i, ok := f.index[id]
	if !ok {
		return core.Position{}, Unknown
	}
	if f.entries[i].qos != 1 {
		return core.Position{}, Wrong
	}
	return f.remove(i), Settled
}

// Pubrec takes a PUBREC; failed tells that its reason code is a failure, which
// ends the message.
func (f *Inflight) Pubrec(id uint16, failed bool) (core.Position, Answer) {
	i, ok := f.index[id]
	if !ok {
		return core.Position{}, Unknown
	}
	e := &f.entries[i]
	switch {
	case e.qos != 2:
		return core.Position{}, Wrong
	case failed:
		return f.remove(i), Settled
	case e.phase == Recorded:
		if f.rels.len() < MaxInflight { // a client may repeat without end
			f.rels.push(id)
		}
		return core.Position{}, Repeat
	default:
		return e.pos, Record
	}
}

// Recording says that the PUBREC of the message was written down as put; the
// PUBREL waits for it.
func (f *Inflight) Recording(id uint16, put uint64) {
	i, ok := f.index[id]
	if !ok {
		return
	}
	e := &f.entries[i]
	pending := f.isAhead(i)
	e.phase, e.put, e.sent = Recorded, put, true
	if !pending {
		f.rels.push(id)
	}
}

// Pubcomp takes a PUBCOMP and tells whether there was a message for it, whose
// value can be deleted now.
func (f *Inflight) Pubcomp(id uint16) Answer {
	i, ok := f.index[id]
	switch {
	case !ok:
		return Unknown
	case f.entries[i].phase != Recorded:
		return Wrong
	default:
		f.remove(i)
		return Settled
	}
}

// Drop forgets a message that can't be sent.
func (f *Inflight) Drop(id uint16) {
	if i, ok := f.index[id]; ok {
		f.remove(i)
	}
}

// isAhead tells whether the entry is still to be handled on this connection.
func (f *Inflight) isAhead(i int32) bool {
	return f.todo != none && f.entries[i].seq >= f.entries[f.todo].seq
}
