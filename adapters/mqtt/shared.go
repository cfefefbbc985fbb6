package mqtt

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/tidegate/tidegate/adapters/mqtt/session"
	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// Lent is [core.Deps.Lent].
func Lent(key uint32, value []byte) (at core.Position, done, ok bool) {
	return session.Lent(key, value)
}

// shared is the sending side of a session. It lives as long as the session,
// across its connections, and obeys the connection that joined last: what an
// older one still does finds that it is no longer the owner.
type shared struct {
	mu       sync.Mutex
	owner    *conn // nil while nobody is connected
	inflight *session.Inflight
	// gathered are positions that the client has acknowledged in this burst.
	gathered []core.Position
	// unsure are positions that were settled since the engine last proved that
	// the connection had not been fenced: a fenced one settles nothing, so the
	// next connection settles them once more.
	unsure []core.Position
}

// maxUnsure bounds the positions that are settled again. More than a window of
// them never come without a delivery in between.
const maxUnsure = 1024

// settle ends deliveries. mu must be held, and c must be the owner.
func (sh *shared) settle(c *conn, positions ...core.Position) {
	c.session.Settle(positions...)
	if over := len(sh.unsure) + len(positions) - maxUnsure; over > 0 {
		sh.unsure = slices.Delete(sh.unsure, 0, min(over, len(sh.unsure)))
	}
	sh.unsure = append(sh.unsure, positions...)
}

// settleGathered settles what was acknowledged, unless a newer connection has
// done so.
func (sh *shared) settleGathered(c *conn) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.owner == c {
		sh.flush(c)
	}
}

func (sh *shared) flush(c *conn) {
	if len(sh.gathered) == 0 {
		return
	}
	sh.settle(c, sh.gathered...)
	if sh.gathered = sh.gathered[:0]; cap(sh.gathered) > maxGathered {
		sh.gathered = nil
	}
}

// proven notes that the connection was not fenced a moment ago.
func (sh *shared) proven() {
	if sh.unsure = sh.unsure[:0]; cap(sh.unsure) > maxGathered {
		sh.unsure = nil
	}
}

// join makes the connection the owner of the session's sending side, which is
// rebuilt from the kept values after a restart of the broker.
func (c *conn) join(window int) error {
	sh, ok := c.session.Data().(*shared)
	if !ok {
		var err error
		if sh, err = c.restore(); err != nil {
			return err
		}
	}
	c.shared = sh
	sh.mu.Lock()
	defer sh.mu.Unlock()
	c.session.SetData(sh) // the connection before may have left in this moment
	var put uint64
	if kept, ok := sh.inflight.Kept(); ok {
		// The log keeps the order: when this is durable, so is what an earlier
		// connection wrote.
		var err error
		if put, err = c.session.Put(uint32(kept.ID), session.AppendValue(nil, kept)); err != nil {
			return fmt.Errorf("record message state: %w", err)
		}
	}
	if err := sh.giveBack(c); err != nil {
		return err
	}
	sh.owner = c
	c.session.Settle(append(sh.unsure, sh.gathered...)...)
	sh.unsure, sh.gathered = nil, nil
	sh.inflight.Connect(window, put)
	return nil
}

func (c *conn) restore() (*shared, error) {
	sh := &shared{inflight: session.NewInflight()}
	var saved []session.Saved
	var unknown []uint32
	c.session.Values(func(key uint32, value []byte) {
		s, err := session.ParseValue(key, value)
		if err != nil {
			unknown = append(unknown, key)
			return
		}
		saved = append(saved, s)
	})
	for _, key := range unknown {
		c.log().Warn("dropped a message state that can't be read", slog.String("client_id", c.clientID))
		if _, err := c.session.Put(key, nil); err != nil {
			return nil, fmt.Errorf("drop message state: %w", err)
		}
	}
	sh.inflight.Restore(saved)
	var settled []core.Position
	for _, s := range saved {
		if s.Phase == session.Waiting {
			if err := c.session.Reserve(s.Position); err != nil {
				return nil, fmt.Errorf("reserve message in flight: %w", err)
			}
		} else { // a crash may have kept the PUBREC and lost that it settles
			settled = append(settled, s.Position)
		}
	}
	c.session.SettleKept(settled...)
	return sh, nil
}

// leave gives the sending side up unless a newer connection has it. Without anything in
// flight the session does not need it any more: what was settled until now is, since the
// connection is not fenced.
func (sh *shared) leave(c *conn) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.owner == c {
		sh.flush(c)
		if err := sh.giveBack(c); err != nil {
			c.log().Debug("give back what others are to get", slog.Any("error", err)) // the next connection does
		}
		sh.owner = nil
		if sh.inflight.Len() == 0 && !c.session.Fenced() {
			c.session.SetData(nil)
		}
	}
}

// giveBack forgets what others get as the connection ends, see [session.Inflight.Return].
func (sh *shared) giveBack(c *conn) error {
	for _, id := range sh.inflight.Return() {
		if _, err := c.session.Put(uint32(id), nil); err != nil {
			return fmt.Errorf("give back message: %w", err)
		}
	}
	return nil
}

// acknowledge takes a PUBACK, PUBREC or PUBCOMP. What a PUBACK settles is
// gathered; the others settle theirs with the record.
func (sh *shared) acknowledge(c *conn, t wire.Type, a *wire.Ack) (session.Answer, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.owner != c {
		return session.Repeat, nil
	}
	f := sh.inflight
	switch t {
	case wire.TypePuback:
		position, answer := f.Puback(a.PacketID)
		switch {
		case answer != session.Settled:
		case a.Reason.Failed() && c.session.Shares(position):
			c.session.Fail(a.Reason == wire.PayloadFormatInvalid, position)
		default:
			if sh.gathered = append(sh.gathered, position); len(sh.gathered) >= maxGathered {
				sh.flush(c)
			}
		}
		return answer, nil
	case wire.TypePubrec:
		position, answer := f.Pubrec(a.PacketID, a.Reason.Failed())
		var err error
		switch answer {
		case session.Settled:
			if c.session.Shares(position) {
				c.session.Fail(a.Reason == wire.PayloadFormatInvalid, position)
			}
			_, err = c.session.Put(uint32(a.PacketID), nil, position)
		case session.Record:
			err = sh.record(c, a.PacketID, position)
		case session.Unknown, session.Repeat, session.Wrong:
		}
		return answer, err
	default:
		answer := f.Pubcomp(a.PacketID)
		var err error
		if answer == session.Settled {
			_, err = c.session.Put(uint32(a.PacketID), nil)
		}
		return answer, err
	}
}

// record writes down that the client has the message, and settles it with the
// same record. The PUBREL follows when that is durable.
func (sh *shared) record(c *conn, id uint16, position core.Position) error {
	put, err := c.session.Put(uint32(id), session.AppendValue(nil, sh.inflight.Saved(id, session.Recorded)), position)
	if err != nil {
		return fmt.Errorf("record PUBREC: %w", err)
	}
	sh.inflight.Recording(id, put)
	return nil
}
