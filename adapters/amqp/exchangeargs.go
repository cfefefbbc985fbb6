package amqp

import (
	"slices"

	"github.com/tidegate/tidegate/core"
)

// checkExchangeType refuses a type that the engine does not have.
func checkExchangeType(name string) error {
	if slices.Contains(core.ExchangeTypes(), name) {
		return nil
	}
	return refuse(codePreconditionFailed, "unknown exchange type '%s'", name)
}

// Arguments of exchanges.
const (
	// alternateExchange names the exchange for what an exchange can't route.
	alternateExchange = "alternate-exchange"
	// hashHeader and hashProperty tell what a consistent hash goes by.
	hashHeader   = "hash-header"
	hashProperty = "hash-property"
	// typeDelayed is an exchange that routes as one of the type in delayedType.
	typeDelayed = "x-delayed-message"
	delayedType = "x-delayed-type"
)

// hashProperties are the properties that a consistent hash may go by.
var hashProperties = []string{"correlation_id", "message_id", "timestamp"}

// checkExchangeArguments refuses what can't be done, and returns the arguments
// that are part of the declaration.
func checkExchangeArguments(typ string, args map[string]any, exchange string) (map[string]any, error) {
	kept := map[string]any{}
	known := []string{alternateExchange}
	if typ == "x-consistent-hash" {
		known = append(known, hashHeader, hashProperty)
	}
	if typ == typeDelayed {
		if spec := (core.ExchangeSpec{Type: typ, Args: args}); spec.Routes() == "" {
			return nil, refuse(codePreconditionFailed, "Invalid argument, '%s' must be an existing exchange type", delayedType)
		}
		known = append(known, delayedType)
		if args[delayedType] == "x-consistent-hash" {
			known = append(known, hashHeader, hashProperty)
		}
	}
	for _, name := range known {
		value, ok := args[name]
		if !ok {
			continue
		}
		if _, text := value.(string); !text {
			return nil, refuse(codePreconditionFailed, "invalid type '%s' for arg '%s' in %s", typeOf(value), name, exchange)
		}
		kept[name] = value
	}
	if args["x-message-deduplication"] == true {
		return nil, refuse(codeNotImplemented, "argument 'x-message-deduplication' of %s is not supported in this version",
			exchange)
	}
	return kept, checkHashArguments(kept)
}

// checkHashArguments checks what a consistent hash goes by.
func checkHashArguments(args map[string]any) error {
	_, byHeader := args[hashHeader]
	property, byProperty := args[hashProperty].(string)
	switch {
	case byHeader && byProperty:
		return refuse(codePreconditionFailed, "hash-header and hash-property are mutually exclusive")
	case byProperty && !slices.Contains(hashProperties, property):
		return refuse(codePreconditionFailed, "Unsupported property: %s", property)
	}
	return nil
}
