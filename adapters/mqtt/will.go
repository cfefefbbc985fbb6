package mqtt

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// will is the will of one connection.
type will struct {
	*wire.Will
	namespace, clientID string
	principal           *gateway.Principal

	// Under wills.mu.
	timer   *time.Timer // runs while the will is delayed
	at      bool        // its time is now: no delay when the connection ends
	late    bool        // it waits for room to be stored
	dropped bool        // never to be sent
}

const (
	// willRetry is how long a will waits that can't be stored because disk or
	// memory is low; maxLateWills is how many may.
	willRetry    = time.Second
	maxLateWills = 1024
)

type willKey struct{ namespace, clientID string }

// wills knows the wills of all connections and of clients that were lost less
// than the will delay ago. Delays are kept in memory.
type wills struct {
	publish func(*will)

	mu      sync.Mutex
	byKey   map[willKey]*will
	late    int // how many wait for room to be stored
	closed  bool
	sending sync.WaitGroup // timers that fired
}

// connected notes the client's new connection with its will, which may be nil.
// resumed tells that it goes on with the session: then a delayed will of the
// earlier connection is not sent. Otherwise that session has ended, and its
// will is due at once.
func (ws *wills) connected(namespace, clientID string, w *will, resumed bool) {
	key := willKey{namespace, clientID}
	ws.mu.Lock()
	before := ws.byKey[key]
	delete(ws.byKey, key)
	if w != nil {
		if ws.byKey == nil {
			ws.byKey = make(map[willKey]*will)
		}
		ws.byKey[key] = w
	}
	due := false
	if before != nil {
		if resumed && before.Delay > 0 {
			before.dropped = true
		} else {
			before.at = true
		}
		// A timer that can't be stopped is sending it already.
		due = before.timer != nil && before.timer.Stop() && !before.dropped
	}
	ws.mu.Unlock()
	if due {
		ws.publish(before)
	}
}

// drop forgets the will of a connection that ended in order.
func (ws *wills) drop(w *will) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.forget(w)
	w.dropped = true
}

// forget takes the will out of the map unless a newer one is there.
func (ws *wills) forget(w *will) {
	key := willKey{w.namespace, w.clientID}
	if ws.byKey[key] == w {
		delete(ws.byKey, key)
	}
}

// lost sends the will of a connection that was lost, at once or after its
// delay, but not later than the session's end.
func (ws *wills) lost(w *will, expiry time.Duration) {
	delay := min(w.Delay, expiry)
	ws.mu.Lock()
	switch {
	case w.dropped || ws.closed:
		ws.mu.Unlock()
		return
	case delay > 0 && !w.at:
		w.timer = time.AfterFunc(delay, func() { ws.fire(w) })
		ws.mu.Unlock()
		return
	}
	ws.forget(w)
	ws.mu.Unlock()
	ws.publish(w)
}

// fire sends a delayed will.
func (ws *wills) fire(w *will) {
	ws.mu.Lock()
	if w.dropped || ws.closed {
		ws.mu.Unlock()
		return
	}
	ws.forget(w)
	if w.late {
		w.late = false
		ws.late--
	}
	ws.sending.Add(1)
	ws.mu.Unlock()
	defer ws.sending.Done()
	ws.publish(w)
}

// postpone tries again later to send a will that can't be stored now. It
// returns false when too many wait.
func (ws *wills) postpone(w *will) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed || ws.late >= maxLateWills {
		return false
	}
	w.late = true
	ws.late++
	w.timer = time.AfterFunc(willRetry, func() { ws.fire(w) })
	return true
}

// close drops the delayed wills and waits for those that are being sent.
func (ws *wills) close() {
	ws.mu.Lock()
	ws.closed = true
	for _, w := range ws.byKey {
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	clear(ws.byKey)
	ws.mu.Unlock()
	ws.sending.Wait()
}

// sendWill sends a will, or keeps it while there is no room to store it.
func (s *Server) sendWill(w *will) {
	err := s.publishWill(w)
	if err == nil || errors.Is(err, core.ErrPressure) && s.wills.postpone(w) {
		return
	}
	s.log.Warn("publish will", slog.String("client_id", w.clientID), slog.Any("error", err))
}

// publishWill publishes a will if its owner may still publish.
func (s *Server) publishWill(w *will) error {
	if !mayWrite(w.principal, w.namespace, w.clientID, w.Topic) {
		s.counters.willsDenied.Add(1)
		return nil
	}
	m := core.Message{
		Format:     core.FormatMQTT,
		Exchange:   topicExchange,
		Key:        w.Topic,
		Properties: w.Properties,
		Payload:    w.Payload,
		QoS:        w.QoS,
		Retain:     w.Retain,
		Lossy:      w.QoS == 0,
	}
	if w.HasExpiry {
		m.ExpireAt = time.Now().UnixMilli() + int64(w.Expiry)*1000
	}
	if err := s.publishOnce(w.namespace, &m); err != nil {
		return err
	}
	s.counters.willsSent.Add(1)
	return nil
}

func (s *Server) publishOnce(namespace string, m *core.Message) error {
	p, err := s.broker.NewPublisher(namespace, nil, nil)
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Publish(m)
	return err
}
