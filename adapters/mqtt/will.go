package mqtt

import (
	"bytes"
	"errors"
	"log/slog"
	"time"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// engineWill is a will as the engine keeps it, nil for none.
func engineWill(w *wire.Will) *core.Will {
	if w == nil {
		return nil
	}
	return &core.Will{
		Message: core.Message{
			Format:     core.FormatMQTT,
			Exchange:   topicExchange,
			Key:        w.Topic,
			Properties: w.Properties,
			Payload:    bytes.Clone(w.Payload),
			QoS:        w.QoS,
			Retain:     w.Retain,
		},
		Delay:   w.Delay,
		Expires: w.HasExpiry,
		Expiry:  time.Duration(w.Expiry) * time.Second,
	}
}

// mayWill tells whether a will may be sent: its owner may have lost the permission since
// the CONNECT.
func (s *Server) mayWill(w core.WillOf) bool {
	if mayWrite(s.auth.Known(w.Owner), w.Namespace, w.Client, w.Key) {
		return true
	}
	s.counters.willsDenied.Add(1)
	return false
}

// dropWill deletes the will of a client that said goodbye.
func (c *conn) dropWill() {
	err := c.session.DropWill()
	if err != nil && !errors.Is(err, core.ErrFenced) && !errors.Is(err, core.ErrClosed) {
		c.log().Warn("delete will", slog.String("client_id", c.clientID), slog.Any("error", err))
	}
}
