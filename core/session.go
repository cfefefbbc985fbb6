package core

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/core/record"
	"github.com/tidegate/tidegate/core/shard"
)

// sessionKey names a client in its namespace.
type sessionKey struct{ namespace, client string }

// session is what outlives a client's connections: subscriptions, their
// cursors, the adapter's values. It is durable when it outlives the broker too.
type session struct {
	b       *Broker
	ns      *namespace
	id      uint64
	key     sessionKey
	owner   string
	home    uint32
	durable bool

	fresh  bool          // no connection had it yet; op guards it
	asleep bool          // is to be read from the index; op guards it
	will   *will         // of its last connection, unless that is gone; op guards it
	waits  bool          // in sessions.tired, whose lock guards it
	newest atomic.Uint64 // of its records

	// op serialises what changes the session: subscribe, attach, end.
	op   sync.Mutex
	live atomic.Pointer[Session] // the connection that has it, or nil

	mu       sync.Mutex // guards all below
	ended    bool
	expiry   time.Duration
	deadline time.Time // of a session without a connection
	subs     map[string]*subscription
	byStream map[record.StreamID]*subscription
	quiet    []*subscription // those of QoS 0, which read no stream
	nextSub  SubID
	values   map[uint32][]byte
	data     any
	retained []*retainedSearch // for new subscriptions
	apart    *apart            // nil while there is nothing of it

	readers []*shard.Reader
	sharing atomic.Pointer[sharing] // nil until it has a shared subscription
}

// subscription is one filter of a session.
type subscription struct {
	id   SubID
	kind streamKind
	spec Subscription
	only []SubID // its id, for deliveries that match nothing else

	place int // in session.quiet, if it is there
}

// Session is a connection's handle on a session. Once another connection has
// taken the session over, the handle does nothing any more.
type Session struct {
	*session
	spec    SessionSpec
	fenced  atomic.Bool
	deliver sync.Mutex              // held by Next
	tracker atomic.Pointer[tracker] // nil until something is put
	turn    int                     // the shard that Next asks first
	members members
	refs    []shard.Ref
	hints   []shard.Hint
	record  *record.Message // while Next takes messages

	delivered delivered
}

// sessionID derives the number of a client's session. Clients can't make it
// collide with that of another namespace.
func sessionID(k sessionKey) uint64 {
	h := sha256.New()
	h.Write([]byte(k.namespace))
	h.Write([]byte{0})
	h.Write([]byte(k.client))
	return binary.LittleEndian.Uint64(h.Sum(nil)) | 1
}

func (b *Broker) newSession(ns *namespace, client, owner string, durable bool) *session {
	k := sessionKey{ns.name, client}
	s := &session{
		b: b, ns: ns, id: sessionID(k), key: k, owner: owner, durable: durable,
		home: b.home(ns.name, []byte(client)),
	}
	for _, sh := range b.shards {
		s.readers = append(s.readers, sh.NewReader(s.id, s.wake))
	}
	return s
}

// wake tells the connection, if there is one, that Next may have something.
func (s *session) wake() {
	if h := s.live.Load(); h != nil {
		h.spec.Notify()
	}
}

// offer gives a message that is not stored to the connection. It returns false
// when the connection was too slow to take it.
func (s *session) offer(m *Message, subs []SubID) bool {
	h := s.live.Load()
	if h == nil {
		return true // QoS 0 is not kept for who is away
	}
	return h.spec.Live(m, subs)
}

// kind tells which stream a subscription of this session reads.
func (s *session) kind(filter string, qos uint8) streamKind {
	switch _, _, _, shared := sharedForm(filter); {
	case shared:
		return streamShared
	case qos == 0:
		return streamNone
	case s.durable:
		return streamDurable
	default:
		return streamTransient
	}
}

// ID is the session's number, for [Once].
func (s *session) ID() uint64 { return s.id }

// Data is a value of the adapter that lives in memory as long as the session,
// across its connections; nil at first, after a restart of the broker, and when a session
// that was left with nil has rested.
func (s *session) Data() any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

// SetData sets what Data returns.
func (s *session) SetData(v any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.data = v
}

// Subscriptions returns the session's subscriptions by ascending ID.
func (s *session) Subscriptions() []Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Subscription, 0, len(s.subs))
	for _, sub := range s.bySubID() {
		out = append(out, sub.spec)
	}
	return out
}

// bySubID returns the subscriptions by ascending id. mu is held.
func (s *session) bySubID() []*subscription {
	return slices.SortedFunc(maps.Values(s.subs), func(a, b *subscription) int { return cmp.Compare(a.id, b.id) })
}

// state is the session's record.
func (s *session) state(disconnected int64) *record.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	expiry := uint64(math.MaxUint64)
	if s.expiry != Forever {
		expiry = uint64(s.expiry.Milliseconds())
	}
	return &record.Session{
		ID: s.id, Expiry: expiry, Disconnected: disconnected,
		Namespace: s.ns.name, Client: s.key.client, Owner: s.owner,
	}
}

// log appends a record of a durable session to its home shard.
func (s *session) log(kind record.Kind, body []byte, w *shard.Waiter) (record.LSN, error) {
	if !s.durable {
		return 0, nil
	}
	lsn, err := s.b.shards[s.home].Append(kind, body, w)
	for newest := s.newest.Load(); uint64(lsn) > newest && !s.newest.CompareAndSwap(newest, uint64(lsn)); {
		newest = s.newest.Load()
	}
	return lsn, s.b.storageError(err)
}

// Put keeps a small value of the adapter with the session, as durable as the
// session; a nil value deletes it. settle are positions that it ends: a crash
// may keep the value and deliver them again, but never the reverse; they are
// settled at the latest when Stored says that the value is. Nor does a crash keep
// the value and lose a message that the session was given before. The result
// is a number for Stored.
func (h *Session) Put(key uint32, value []byte, settle ...Position) (uint64, error) {
	if h.fenced.Load() {
		return 0, ErrFenced
	}
	if err := h.beforeValue(value != nil); err != nil {
		return 0, err
	}
	lsn, err := h.put(key, value)
	if err != nil {
		return 0, err
	}
	if lsn != 0 {
		h.tracks().add(h.home, lsn)
	}
	h.noteLent(key, value, settle)
	h.settleAfter(lsn, settle)
	return h.tracks().next(), nil
}

// tracks is what tells how far what was put is committed.
func (h *Session) tracks() *tracker {
	if t := h.tracker.Load(); t != nil {
		return t
	}
	h.tracker.CompareAndSwap(nil, newTracker(h.b.shards, h.spec.Notify))
	return h.tracker.Load()
}

// put is Put of the value alone. Nothing of a fenced connection comes behind what the next
// one has written, or behind the session's rest.
func (h *Session) put(key uint32, value []byte) (record.LSN, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fenced.Load() {
		return 0, ErrFenced
	}
	if value == nil {
		delete(h.values, key)
	} else {
		if h.values == nil {
			h.values = map[uint32][]byte{}
		}
		h.values[key] = slices.Clone(value)
	}
	v := record.Value{Session: h.id, Key: key, Present: value != nil, Value: value}
	return h.log(record.KindValue, record.AppendValue(nil, &v), h.tracks().waiter(h.home))
}

// Values calls fn for each value kept with Put, by ascending key.
func (h *Session) Values(fn func(key uint32, value []byte)) {
	h.mu.Lock()
	all := maps.Clone(h.values)
	h.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(all)) {
		fn(k, all[k])
	}
}

// Release forgets an exactly-once number (see [Message.Once]); a later publish
// with the same number is a new message. The result is a number for Stored.
// ErrNotFound: nothing stored has the number.
func (h *Session) Release(id uint16) (uint64, error) {
	if h.fenced.Load() {
		return 0, ErrFenced
	}
	known := false
	for i, s := range h.b.shards {
		lsn, err := s.Release(Once{Session: h.id, ID: id}, h.tracks().waiter(uint32(i)))
		if err != nil {
			return 0, h.b.storageError(err)
		}
		if lsn != 0 {
			h.tracks().add(uint32(i), lsn)
			known = true
		}
	}
	if !known {
		return 0, ErrNotFound
	}
	return h.tracks().next(), nil
}

// Stored returns the number up to which all Puts and Releases are durable;
// Notify is called when it advances.
func (h *Session) Stored() (uint64, error) {
	h.settleHeld()
	n, err := h.tracker.Load().settled()
	return n, h.b.storageError(err)
}

// SetExpiry changes how long the session outlives its connection. A session
// that was opened to end with its connection does.
func (h *Session) SetExpiry(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.durable && !h.fenced.Load() {
		h.expiry = d
	}
}

// Fenced tells whether another connection has taken the session over. What the handle did
// before a call that returns false took effect.
func (h *Session) Fenced() bool { return h.fenced.Load() }

// fence ends the handle's rights; false if they had ended before.
func (h *Session) fence() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.fenced.Swap(true)
}

// stop makes deliveries of a fenced connection end: a Next under way is over
// when it returns, and the next one gives nothing.
func (h *Session) stop(ctx context.Context) {
	h.deliver.Lock()
	defer h.deliver.Unlock()
	h.closeMembers(ctx)
	for _, r := range h.readers {
		r.Pause()
	}
	h.endRetained()
}

// Close detaches the connection. The session ends now, or after its expiry. The will
// is published now, or after its delay.
func (h *Session) Close(ctx context.Context) error {
	h.op.Lock()
	defer h.op.Unlock()
	h.settleHeld()
	if !h.fence() {
		return nil
	}
	h.live.Store(nil)
	h.stop(ctx)
	h.loseWill()
	return h.detach(ctx)
}

// detach leaves the session without a connection: it ends now, or after its
// expiry. op is held.
func (s *session) detach(ctx context.Context) error {
	s.mu.Lock()
	expiry := s.expiry
	s.mu.Unlock()
	if expiry <= 0 {
		return s.end(ctx)
	}
	now := s.b.deps.Clock.Now()
	if expiry != Forever {
		s.mu.Lock()
		s.deadline = now.Add(expiry)
		s.mu.Unlock()
		s.b.sessions.expireAt(s, now.Add(expiry))
	}
	_, err := s.log(record.KindSession, record.AppendSession(nil, s.state(now.UnixMilli())), nil)
	s.b.sessions.restLater(s)
	return err
}

// end removes the session with all it holds. op is held.
func (s *session) end(ctx context.Context) error {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return nil
	}
	s.ended = true
	subs := s.bySubID()
	s.mu.Unlock()
	defer s.b.sessions.remove(s)
	s.willOfEnded()
	// What is lent ends before the session does: a crash must not keep that alone.
	errs := []error{s.b.wait(ctx, s.settleLent())}
	lsns := make([]record.LSN, len(s.b.shards))
	s.ns.mu.Lock()
	for _, sub := range subs {
		errs = append(errs, s.b.leave(s.ns, s, sub, lsns))
	}
	s.ns.mu.Unlock()
	lsn, err := s.log(record.KindSessionDrop, record.AppendSession(nil, s.state(0)), nil)
	lsns[s.home] = max(lsns[s.home], lsn)
	errs = append(errs, err, s.b.releaseOnce(s.id))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return s.b.wait(ctx, lsns)
}
