// Package checker judges what a broker did with sequence-numbered messages:
// nothing confirmed is lost, nothing is invented, the order of every publisher
// is kept, and a message that arrives twice says so. It knows no protocol and
// no clock; tests tell it what their clients saw.
package checker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ID names one attempt to publish one message. A publisher that does not know
// whether an attempt arrived goes on with the next number, so two deliveries
// of one ID are always the broker's doing.
type ID struct {
	Publisher string
	Seq       uint64
}

// String gives the form in which an ID travels as payload.
func (id ID) String() string { return id.Publisher + "/" + strconv.FormatUint(id.Seq, 10) }

// ParseID reads what [ID.String] wrote, up to the first space: a payload may
// carry padding behind it.
func ParseID(payload string) (ID, error) {
	head, _, _ := strings.Cut(payload, " ")
	name, digits, ok := strings.Cut(head, "/")
	if !ok || name == "" {
		return ID{}, fmt.Errorf("payload %.60q carries no message id", payload)
	}
	seq, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return ID{}, fmt.Errorf("payload %.60q: %w", payload, err)
	}
	return ID{Publisher: name, Seq: seq}, nil
}

// Rules are what a consumer may see.
type Rules struct {
	// From names the publishers whose messages reach this consumer.
	From []string
	// Once forbids every duplicate, flagged or not: the consumer read a queue
	// that nobody read before.
	Once bool
	// Shared tells that the consumer is a group, whose members get messages at the same
	// time: there is no order, and what comes to another member is new to that.
	Shared bool
}

// Violation is one broken promise.
type Violation struct {
	Kind     Kind
	Consumer string
	ID       ID
	Detail   string
}

// String gives the violation as one line of a test report.
func (v Violation) String() string {
	return fmt.Sprintf("%s: consumer %s, message %s: %s", v.Kind, v.Consumer, v.ID, v.Detail)
}

// Kind is a class of broken promise.
type Kind string

// The classes of broken promises.
const (
	Lost       Kind = "lost"       // confirmed to its publisher, never delivered
	Invented   Kind = "invented"   // delivered, never published or published elsewhere
	Reordered  Kind = "reordered"  // first delivered after a later message of its publisher
	Unflagged  Kind = "unflagged"  // delivered again without saying so
	Duplicated Kind = "duplicated" // delivered again where that is never right
	Unsettled  Kind = "unsettled"  // delivered again although its settlement was durable
)

// History collects what the clients of one test saw. It is safe for
// concurrent use.
type History struct {
	mu         sync.Mutex
	publishers map[string]*publisher
	consumers  map[string]*consumer
	broken     []Violation
	durable    time.Duration
	up         time.Time // when the broker was last known to be down
}

type publisher struct {
	attempted uint64 // numbers 1…attempted were sent or may have been
	confirmed map[uint64]bool
}

type consumer struct {
	rules Rules
	last  map[string]uint64 // highest number first delivered, by publisher
	seen  map[ID]bool       // delivered at least once
	acked map[ID]time.Time  // settled since the last crash
	final map[ID]bool       // settled and durable: must not come again
	again int               // deliveries beyond the first of each message
	have  int               // messages that were confirmed and seen
}

// New returns an empty history. A settlement that is older than durable when
// the broker crashes must survive the crash.
func New(durable time.Duration) *History {
	return &History{
		publishers: map[string]*publisher{},
		consumers:  map[string]*consumer{},
		durable:    durable,
	}
}

// Consumer declares a consumer and what it may see.
func (h *History) Consumer(name string, rules Rules) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.consumers[name] = &consumer{
		rules: rules,
		last:  map[string]uint64{},
		seen:  map[ID]bool{},
		acked: map[ID]time.Time{},
		final: map[ID]bool{},
	}
}

// Attempt returns the next ID of a publisher. It is called before the message
// is sent.
func (h *History) Attempt(name string) ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.publishers[name]
	if p == nil {
		p = &publisher{confirmed: map[uint64]bool{}}
		h.publishers[name] = p
	}
	p.attempted++
	return ID{Publisher: name, Seq: p.attempted}
}

// Confirmed notes that the broker took responsibility for a message.
func (h *History) Confirmed(id ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.publishers[id.Publisher]
	if p == nil || p.confirmed[id.Seq] {
		return
	}
	p.confirmed[id.Seq] = true
	for _, c := range h.consumers {
		if c.seen[id] && slices.Contains(c.rules.From, id.Publisher) {
			c.have++
		}
	}
}

// Confirms returns how many messages were confirmed so far.
func (h *History) Confirms() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, p := range h.publishers {
		n += len(p.confirmed)
	}
	return n
}

// Delivered notes that a consumer got a message; flagged is the protocol's
// mark of a possible duplicate (redelivered, DUP).
func (h *History) Delivered(name string, id ID, flagged bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.consumers[name]
	if c == nil {
		h.report(Invented, name, id, "this consumer was never declared")
		return
	}
	p := h.publishers[id.Publisher]
	switch {
	case p == nil || id.Seq == 0 || id.Seq > p.attempted:
		h.report(Invented, name, id, "never published")
	case !slices.Contains(c.rules.From, id.Publisher):
		h.report(Invented, name, id, "not meant for this consumer")
	case c.seen[id]:
		c.again++
		h.again(name, c, id, flagged)
	default:
		c.seen[id] = true
		if p.confirmed[id.Seq] {
			c.have++
		}
		if last := c.last[id.Publisher]; id.Seq < last && !c.rules.Shared {
			h.report(Reordered, name, id, fmt.Sprintf("came after number %d", last))
			return
		}
		c.last[id.Publisher] = id.Seq
	}
}

// again judges a message that the consumer has had before.
func (h *History) again(name string, c *consumer, id ID, flagged bool) {
	switch {
	case c.rules.Once:
		h.report(Duplicated, name, id, "stored more than once")
	case c.final[id]:
		h.report(Unsettled, name, id, "its settlement was durable before a crash")
	case !flagged && !c.rules.Shared:
		h.report(Unflagged, name, id, "delivered again without a mark")
	}
}

// Settled notes that a consumer acknowledged a message at a moment. An
// acknowledgement from before the last recovery died with the broker.
func (h *History) Settled(name string, id ID, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c := h.consumers[name]; c != nil && at.After(h.up) {
		c.acked[id] = at
	}
}

// Crashed notes that the broker is about to be killed at a moment: settlements
// older than the durable interval must hold from now on.
func (h *History) Crashed(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.consumers {
		for id, settled := range c.acked {
			if at.Sub(settled) >= h.durable {
				c.final[id] = true
			}
		}
	}
}

// Recovered notes that the broker is gone and will start after a moment:
// settlements that were too young when it crashed may be forgotten.
func (h *History) Recovered(at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up = at
	for _, c := range h.consumers {
		clear(c.acked)
	}
}

// Summary tells in one line how much the history holds.
func (h *History) Summary() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var b strings.Builder
	for i, name := range slices.Sorted(maps.Keys(h.publishers)) {
		if i > 0 {
			b.WriteString(", ")
		}
		p := h.publishers[name]
		fmt.Fprintf(&b, "%s published %d and had %d confirmed", name, p.attempted, len(p.confirmed))
	}
	for _, name := range slices.Sorted(maps.Keys(h.consumers)) {
		c := h.consumers[name]
		fmt.Fprintf(&b, "; %s got %d and %d again, %d settled for good", name, len(c.seen), c.again, len(c.final))
	}
	return b.String()
}

// Missing returns how many confirmed messages a consumer has not seen yet.
func (h *History) Missing(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.consumers[name]
	if c == nil {
		return 0
	}
	n := -c.have
	for _, from := range c.rules.From {
		if p := h.publishers[from]; p != nil {
			n += len(p.confirmed)
		}
	}
	return n
}

// Verdict returns every broken promise. The caller has waited until the
// consumers had all they could get.
func (h *History) Verdict() []Violation {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.consumers)) {
		c := h.consumers[name]
		for _, from := range c.rules.From {
			h.losses(name, c, from)
		}
	}
	return slices.Clone(h.broken)
}

// losses reports the confirmed messages of one publisher that a consumer
// never got.
func (h *History) losses(name string, c *consumer, from string) {
	p := h.publishers[from]
	if p == nil {
		return
	}
	for _, seq := range slices.Sorted(maps.Keys(p.confirmed)) {
		if id := (ID{Publisher: from, Seq: seq}); !c.seen[id] {
			h.report(Lost, name, id, "confirmed, never delivered")
		}
	}
}

func (h *History) report(kind Kind, name string, id ID, detail string) {
	h.broken = append(h.broken, Violation{Kind: kind, Consumer: name, ID: id, Detail: detail})
}
