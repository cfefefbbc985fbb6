package mqtt

import (
	"errors"

	"github.com/tidegate/tidegate/adapters/mqtt/wire"
	"github.com/tidegate/tidegate/core"
)

// reasons are the codes for a refusal of the engine, by the packet that
// carries them.
type reasons struct {
	ack        wire.Reason // PUBACK, PUBREC, SUBACK, UNSUBACK
	connack    wire.Reason
	disconnect wire.Reason
}

// refusals is the table from the engine's errors to reason codes.
var refusals = []struct {
	err error
	reasons
}{
	{core.ErrNotFound, reasons{wire.ImplementationSpecific, wire.ServerUnavailable, wire.ImplementationSpecific}},
	{core.ErrInequivalent, reasons{wire.ImplementationSpecific, wire.ImplementationSpecific, wire.ImplementationSpecific}},
	{core.ErrLocked, reasons{wire.NotAuthorized, wire.NotAuthorized, wire.NotAuthorized}},
	{core.ErrInUse, reasons{wire.ImplementationSpecific, wire.ImplementationSpecific, wire.ImplementationSpecific}},
	{core.ErrNotEmpty, reasons{wire.ImplementationSpecific, wire.ImplementationSpecific, wire.ImplementationSpecific}},
	{core.ErrReserved, reasons{wire.NotAuthorized, wire.NotAuthorized, wire.NotAuthorized}},
	{core.ErrInvalid, reasons{wire.ImplementationSpecific, wire.ImplementationSpecific, wire.ImplementationSpecific}},
	{core.ErrUnsupported, reasons{wire.ImplementationSpecific, wire.ImplementationSpecific, wire.ImplementationSpecific}},
	{core.ErrUnavailable, reasons{wire.UnspecifiedError, wire.ServerUnavailable, wire.ServerBusy}},
	{core.ErrStorage, reasons{wire.UnspecifiedError, wire.ServerUnavailable, wire.UnspecifiedError}},
	{core.ErrClosed, reasons{wire.UnspecifiedError, wire.ServerUnavailable, wire.ServerShuttingDown}},
	{core.ErrFenced, reasons{wire.UnspecifiedError, wire.ServerBusy, wire.SessionTakenOver}},
	{core.ErrNotOwner, reasons{wire.NotAuthorized, wire.NotAuthorized, wire.NotAuthorized}},
	{core.ErrTooLarge, reasons{wire.QuotaExceeded, wire.QuotaExceeded, wire.PacketTooLarge}},
	{core.ErrLimit, reasons{wire.QuotaExceeded, wire.QuotaExceeded, wire.QuotaExceeded}},
	{core.ErrFull, reasons{wire.QuotaExceeded, wire.ServerBusy, wire.QuotaExceeded}},
	{core.ErrPressure, reasons{wire.QuotaExceeded, wire.ServerBusy, wire.QuotaExceeded}},
}

// reasonsFor returns the codes for an error of the engine.
func reasonsFor(err error) reasons {
	for i := range refusals {
		if errors.Is(err, refusals[i].err) {
			return refusals[i].reasons
		}
	}
	return reasons{wire.UnspecifiedError, wire.ServerUnavailable, wire.UnspecifiedError}
}
