package core

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/tidegate/tidegate/core/route"
	"github.com/tidegate/tidegate/metadata"
)

// argAlternate is the argument with the exchange for what another can't route.
const argAlternate = "alternate-exchange"

// DeclareExchange creates the exchange, or checks that the existing one is
// equivalent (ErrInequivalent). It returns once publishes see it. ErrInvalid:
// a type that is not known. ErrUnavailable: the metadata store is away.
func (b *Broker) DeclareExchange(ctx context.Context, name string, spec ExchangeSpec) error {
	ns, err := b.namespace(name)
	if err != nil {
		return err
	}
	if known, err := ns.checkExchange(&spec); known || err != nil {
		return err
	}
	if !spec.Durable {
		return ns.addExchange(spec)
	}
	now, created, err := b.deps.Catalog.CreateExchange(ctx, metadata.Exchange{
		Namespace: name, Name: spec.Name, Type: spec.Type,
		AutoDelete: spec.AutoDelete, Internal: spec.Internal, Args: spec.Args,
	})
	if err != nil {
		return metadataError(err)
	}
	if created {
		return nil
	}
	return ns.equivalentExchange(&spec, exchangeSpec(route.Exchange{
		Name: now.Name, Type: now.Type, Durable: true, AutoDelete: now.AutoDelete, Internal: now.Internal, Args: now.Args,
	}))
}

func (ns *namespace) checkExchange(spec *ExchangeSpec) (known bool, err error) {
	ns.mu.RLock()
	defer ns.mu.RUnlock()
	if x, ok := ns.table.Exchange(spec.Name); ok {
		return true, ns.equivalentExchange(spec, exchangeSpec(x))
	}
	if route.Kind(spec.Type, spec.Args) == "" {
		return false, &Error{
			Reason: ErrInvalid, Kind: "exchange", Name: spec.Name, Namespace: ns.name, Arg: "type", Got: spec.Type,
		}
	}
	return false, nil
}

func (ns *namespace) addExchange(spec ExchangeSpec) error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	x := route.Exchange{
		Name: spec.Name, Type: spec.Type, AutoDelete: spec.AutoDelete, Internal: spec.Internal, Args: spec.Args,
	}
	x.Alternate = ns.alternate(&x)
	if old, ok := ns.table.Exchange(spec.Name); ok { // declared meanwhile
		return ns.equivalentExchange(&spec, exchangeSpec(old))
	}
	if err := ns.table.AddExchange(x); err != nil {
		return fmt.Errorf("declare exchange '%s': %w", spec.Name, err)
	}
	ns.version.Add(1)
	return nil
}

// equivalentExchange compares in the order that RabbitMQ does.
func (ns *namespace) equivalentExchange(got *ExchangeSpec, current ExchangeSpec) error {
	return inequivalent("exchange", got.Name, ns.name, []property{
		{"type", got.Type, current.Type},
		{"durable", strconv.FormatBool(got.Durable), strconv.FormatBool(current.Durable)},
		{"auto_delete", strconv.FormatBool(got.AutoDelete), strconv.FormatBool(current.AutoDelete)},
		{"internal", strconv.FormatBool(got.Internal), strconv.FormatBool(current.Internal)},
		{route.DelayedType, text(got.Args[route.DelayedType]), text(current.Args[route.DelayedType])},
		{argAlternate, text(got.Args[argAlternate]), text(current.Args[argAlternate])},
	})
}

// property is a property of an object as asked for and as it is.
type property struct{ name, got, current string }

// inequivalent returns an error for the first property that differs.
func inequivalent(kind, name, namespace string, ps []property) error {
	for _, p := range ps {
		if p.got != p.current {
			return &Error{
				Reason: ErrInequivalent, Kind: kind, Name: name, Namespace: namespace,
				Arg: p.name, Got: p.got, Current: p.current,
			}
		}
	}
	return nil
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

func exchangeSpec(x route.Exchange) ExchangeSpec {
	return ExchangeSpec{
		Name: x.Name, Type: x.Type, Durable: x.Durable, AutoDelete: x.AutoDelete, Internal: x.Internal, Args: x.Args,
	}
}

// CheckExchange returns the exchange's declaration or ErrNotFound.
func (b *Broker) CheckExchange(namespace, name string) (ExchangeSpec, error) {
	ns, err := b.namespace(namespace)
	if err != nil {
		return ExchangeSpec{}, err
	}
	return ns.exchange(name)
}

// DeleteExchange deletes the exchange and its bindings. A missing one is no
// error. ErrInUse: ifUnused, and something is bound to it.
func (b *Broker) DeleteExchange(ctx context.Context, namespace, name string, ifUnused bool) error {
	ns, err := b.namespace(namespace)
	if err != nil {
		return err
	}
	ns.mu.Lock()
	x, ok := ns.table.Exchange(name)
	if !ok {
		ns.mu.Unlock()
		return nil
	}
	if ifUnused && ns.table.HasBindingsFrom(name) {
		ns.mu.Unlock()
		return &Error{Reason: ErrInUse, Kind: "exchange", Name: name, Namespace: namespace}
	}
	var autoDelete []string
	if !x.Durable {
		autoDelete = ns.table.RemoveExchange(name)
		ns.exchanges.forget(name)
		ns.version.Add(1)
	}
	ns.mu.Unlock()
	if x.Durable {
		if _, err := b.deps.Catalog.DeleteExchange(ctx, namespace, name); err != nil {
			return metadataError(err)
		}
	}
	return b.deleteExchanges(ctx, namespace, autoDelete)
}

// deleteExchanges deletes exchanges that lost their last binding.
func (b *Broker) deleteExchanges(ctx context.Context, namespace string, names []string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, b.DeleteExchange(ctx, namespace, name, true))
	}
	return errors.Join(errs...)
}

// Bind adds a binding. It returns once publishes see it. ErrNotFound, ErrLocked.
func (b *Broker) Bind(ctx context.Context, namespace string, spec BindingSpec) error {
	ns, err := b.namespace(namespace)
	if err != nil {
		return err
	}
	ns.mu.Lock()
	binding, err := ns.checkedBinding(&spec)
	if err != nil {
		ns.mu.Unlock()
		return err
	}
	durable := ns.durableBinding(&spec)
	if !durable {
		ns.bind(binding)
	}
	ns.mu.Unlock()
	if !durable {
		return nil
	}
	_, err = b.deps.Catalog.CreateBinding(ctx, catalogBinding(namespace, &spec))
	if errors.Is(err, metadata.ErrNotFound) {
		return ns.notFound("exchange", spec.Source)
	}
	return metadataError(err)
}

func (ns *namespace) checkedBinding(spec *BindingSpec) (route.Binding[*target], error) {
	binding, err := ns.binding(spec)
	if err != nil {
		return binding, err
	}
	if _, ok := ns.table.Exchange(spec.Source); !ok {
		return binding, ns.notFound("exchange", spec.Source)
	}
	if spec.ToExchange {
		if _, ok := ns.table.Exchange(spec.Dest); !ok {
			return binding, ns.notFound("exchange", spec.Dest)
		}
	} else if err := ns.access(ns.queues[spec.Dest], spec.Owner); err != nil {
		return binding, err
	}
	if err := ns.table.Check(binding); err != nil {
		return binding, &Error{
			Reason: ErrInvalid, Kind: "binding", Name: spec.Source, Namespace: ns.name, Detail: err.Error(),
		}
	}
	return binding, nil
}

// durableBinding tells whether both ends are durable.
func (ns *namespace) durableBinding(spec *BindingSpec) bool {
	x, _ := ns.table.Exchange(spec.Source)
	if spec.ToExchange {
		y, _ := ns.table.Exchange(spec.Dest)
		return x.Durable && y.Durable
	}
	return x.Durable && ns.queues[spec.Dest].spec.Durable
}

func catalogBinding(namespace string, spec *BindingSpec) metadata.Binding {
	return metadata.Binding{
		Namespace: namespace, Source: spec.Source, Dest: spec.Dest, ToExchange: spec.ToExchange,
		Key: spec.Key, Args: spec.Args,
	}
}

// Unbind removes a binding; a missing one is no error. It returns once
// publishes see it, and may delete an auto-delete exchange.
func (b *Broker) Unbind(ctx context.Context, namespace string, spec BindingSpec) error {
	ns, err := b.namespace(namespace)
	if err != nil {
		return err
	}
	ns.mu.Lock()
	binding, err := ns.checkedBinding(&spec)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		ns.mu.Unlock()
		return nil
	}
	if err != nil {
		ns.mu.Unlock()
		return err
	}
	durable := ns.durableBinding(&spec)
	removed, autoDelete := ns.table.Unbind(binding)
	ns.version.Add(1)
	ns.mu.Unlock()
	if removed && durable {
		if _, err := b.deps.Catalog.DeleteBinding(ctx, catalogBinding(namespace, &spec)); err != nil {
			ns.mu.Lock()
			ns.bind(binding) // still there for everybody else, and after a restart
			ns.mu.Unlock()
			return metadataError(err)
		}
	}
	return b.deleteExchanges(ctx, namespace, autoDelete)
}

func metadataError(err error) error {
	if errors.Is(err, metadata.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
