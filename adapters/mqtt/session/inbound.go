package session

// Inbound is the receiving side of one connection. It keeps the order of the
// acknowledgements, counts publishes against the Receive Maximum, and knows
// which QoS 2 identifiers are open.
type Inbound struct {
	window int
	strict bool
	used   int // publishes not yet answered for good
	acks   queue[PendingAck]
	comps  queue[PendingComp]
	open   map[uint16]openPhase
}

type openPhase uint8

const (
	awaitsConfirm openPhase = iota + 1 // PUBREC not sent
	awaitsRelease                      // PUBREC sent, PUBREL to come
	awaitsStored                       // PUBREL taken, PUBCOMP not sent
)

// PendingAck is a PUBACK (QoS 1) or PUBREC (QoS 2) that leaves once the
// publisher has settled Seq.
type PendingAck struct {
	Seq    uint64
	ID     uint16
	QoS    uint8
	Reason uint8
	Detail string
}

// PendingComp is a PUBCOMP that leaves once Put is stored.
type PendingComp struct {
	Put    uint64
	ID     uint16
	Reason uint8
}

// NewInbound returns the receiving side for a client that may have window
// publishes unanswered. strict makes more than that an error (MQTT 5);
// otherwise the reader waits, see [Inbound.Full].
func NewInbound(window int, strict bool) *Inbound {
	return &Inbound{window: window, strict: strict}
}

// Verdict tells what to do with an arriving packet.
type Verdict uint8

// The verdicts.
const (
	Accept   Verdict = iota
	Exceeded         // more publishes than the Receive Maximum
	InUse            // the packet identifier belongs to an unfinished QoS 2 message
	Early            // PUBREL before its PUBREC was sent
)

// Publish takes note of an arriving publish of QoS 1 or 2. A QoS 2 identifier
// that is open is the same message again and counts once.
func (in *Inbound) Publish(qos uint8, id uint16) Verdict {
	phase, open := in.open[id]
	switch {
	case open && (qos == 1 || phase == awaitsStored):
		return InUse
	case open:
		in.open[id] = awaitsConfirm
		return Accept
	case in.strict && in.used >= in.window:
		return Exceeded
	}
	in.used++
	if qos == 2 {
		if in.open == nil {
			in.open = make(map[uint16]openPhase)
		}
		in.open[id] = awaitsConfirm
	}
	return Accept
}

// Full tells that the reader should wait for acknowledgements to leave before
// it takes another publish.
func (in *Inbound) Full() bool { return in.acks.len() >= in.window }

// Answer queues the acknowledgement of a publish, in the order of the publishes.
func (in *Inbound) Answer(a PendingAck) {
	if n := in.acks.len(); n > 0 {
		// A refusal has no number of its own: it leaves with what is before it.
		a.Seq = max(a.Seq, in.acks.items[len(in.acks.items)-1].Seq)
	}
	in.acks.push(a)
}

// NextAck returns the next acknowledgement that may leave.
func (in *Inbound) NextAck(settled uint64) (PendingAck, bool) {
	if in.acks.len() == 0 || in.acks.front().Seq > settled {
		return PendingAck{}, false
	}
	a := in.acks.pop()
	switch {
	case a.QoS == 1:
		in.used--
	case a.Reason >= 0x80:
		in.close(a.ID)
	case in.open[a.ID] == awaitsConfirm:
		in.open[a.ID] = awaitsRelease
	}
	return a, true
}

// Pubrel takes a PUBREL. known is false when the identifier is not open on this
// connection; it may be from an earlier one.
func (in *Inbound) Pubrel(id uint16) (known bool, v Verdict) {
	phase, open := in.open[id]
	if open && phase == awaitsConfirm {
		return true, Early
	}
	return open, Accept
}

// Released queues the PUBCOMP that answers a PUBREL.
func (in *Inbound) Released(c PendingComp) {
	if _, open := in.open[c.ID]; open {
		in.open[c.ID] = awaitsStored
	}
	in.comps.push(c)
}

// NextComp returns the next PUBCOMP that may leave.
func (in *Inbound) NextComp(stored uint64) (PendingComp, bool) {
	if in.comps.len() == 0 || in.comps.front().Put > stored {
		return PendingComp{}, false
	}
	c := in.comps.pop()
	in.close(c.ID)
	return c, true
}

// Waiting tells whether answers wait for the log.
func (in *Inbound) Waiting() bool { return in.acks.len()+in.comps.len() > 0 }

// Idle tells that no publish of the client is open.
func (in *Inbound) Idle() bool { return in.used == 0 && !in.Waiting() }

// CompsFull tells that more PUBCOMPs wait than the client may have messages open.
func (in *Inbound) CompsFull() bool { return in.comps.len() >= max(in.window, 100) }

func (in *Inbound) close(id uint16) {
	if _, open := in.open[id]; open {
		in.used--
		delete(in.open, id)
	}
}
