package amqp

import (
	"context"
	"errors"
	"slices"

	"github.com/tidegate/tidegate/adapters/amqp/wire"
	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

// namedExchange refuses the default exchange, which is not to be touched.
func namedExchange(names ...string) error {
	if slices.Contains(names, "") {
		return refuse(codeAccessRefused, "operation not permitted on the default exchange")
	}
	return nil
}

func (ch *channel) exchangeDeclare(ctx context.Context, m *wire.ExchangeDeclare) error {
	m.Exchange = cleanName(m.Exchange)
	if err := namedExchange(m.Exchange); err != nil {
		return err
	}
	if m.Passive {
		if err := ch.c.permitAny("exchange", m.Exchange); err != nil {
			return err
		}
		if _, err := ch.broker().CheckExchange(ch.c.namespace, m.Exchange); err != nil {
			return err
		}
	} else if err := ch.createExchange(ctx, m); err != nil {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.ExchangeDeclareOK{})
	}
	return nil
}

func (ch *channel) createExchange(ctx context.Context, m *wire.ExchangeDeclare) error {
	if err := checkExchangeType(m.Type); err != nil {
		return err
	}
	if err := ch.c.permit(gateway.Configure, "exchange", m.Exchange); err != nil {
		return err
	}
	asked, err := plainTable(m.Arguments)
	if err != nil {
		return err
	}
	args, err := checkExchangeArguments(m.Type, asked, object("exchange", m.Exchange, ch.c.namespace))
	if err != nil {
		return err
	}
	if alternate, ok := args[alternateExchange].(string); ok {
		if err := ch.c.permit(gateway.Read, "exchange", m.Exchange); err != nil {
			return err
		}
		if err := ch.c.permit(gateway.Write, "exchange", alternate); err != nil {
			return err
		}
	}
	if reserved(m.Exchange) {
		_, err := ch.broker().CheckExchange(ch.c.namespace, m.Exchange)
		if errors.Is(err, core.ErrNotFound) {
			return refuse(codeAccessRefused, "exchange name '%s' contains reserved prefix 'amq.*'", m.Exchange)
		}
		if err != nil {
			return err
		}
	}
	return ch.broker().DeclareExchange(ctx, ch.c.namespace, core.ExchangeSpec{
		Name:       m.Exchange,
		Type:       m.Type,
		Durable:    m.Durable,
		AutoDelete: m.AutoDelete,
		Internal:   m.Internal,
		Args:       args,
	})
}

func (ch *channel) exchangeDelete(ctx context.Context, m *wire.ExchangeDelete) error {
	if err := namedExchange(m.Exchange); err != nil {
		return err
	}
	if err := ch.c.permit(gateway.Configure, "exchange", m.Exchange); err != nil {
		return err
	}
	if reserved(m.Exchange) {
		return refuse(codeAccessRefused, "deletion of system %s not allowed",
			object("exchange", m.Exchange, ch.c.namespace))
	}
	err := ch.broker().DeleteExchange(ctx, ch.c.namespace, m.Exchange, m.IfUnused)
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.ExchangeDeleteOK{})
	}
	return nil
}

func (ch *channel) exchangeBind(ctx context.Context, m *wire.ExchangeBind) error {
	spec, err := ch.exchangeBinding(m.Source, m.Destination, m.RoutingKey, m.Arguments)
	if err != nil {
		return err
	}
	if err := ch.broker().Bind(ctx, ch.c.namespace, spec); err != nil {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.ExchangeBindOK{})
	}
	return nil
}

func (ch *channel) exchangeUnbind(ctx context.Context, m *wire.ExchangeUnbind) error {
	spec, err := ch.exchangeBinding(m.Source, m.Destination, m.RoutingKey, m.Arguments)
	if err != nil {
		return err
	}
	if err := ch.broker().Unbind(ctx, ch.c.namespace, spec); err != nil && !errors.Is(err, core.ErrNotFound) {
		return err
	}
	if !m.NoWait {
		ch.reply(&wire.ExchangeUnbindOK{})
	}
	return nil
}

// exchangeBinding checks that a binding may be changed, and describes it.
func (ch *channel) exchangeBinding(source, dest, key string, t wire.Table) (core.BindingSpec, error) {
	var none core.BindingSpec
	if err := namedExchange(source, dest); err != nil {
		return none, err
	}
	if err := ch.c.permit(gateway.Write, "exchange", dest); err != nil {
		return none, err
	}
	if err := ch.c.permit(gateway.Read, "exchange", source); err != nil {
		return none, err
	}
	if err := ch.permitBinding(source, key); err != nil {
		return none, err
	}
	args, err := plainTable(t)
	if err != nil {
		return none, err
	}
	return core.BindingSpec{Source: source, Dest: dest, ToExchange: true, Key: key, Args: args, Owner: ch.c.conn.ID}, nil
}
