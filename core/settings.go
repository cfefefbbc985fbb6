package core

import (
	"maps"
	"slices"

	"github.com/tidegate/tidegate/metadata"
)

// onExchanges stands for exchanges where the types of queues are listed.
const onExchanges = "exchange"

// setting is what an argument of a declaration says of one object, and a policy
// of many.
type setting struct {
	argument string
	title    string // what refusals call it
	// on are the types of queues that act on it, missing those that are to and do
	// not yet.
	on, missing []string
	valid       func(value any) bool
	// both says what counts where the argument and a policy say something.
	both func(argument, policy any) any
	// operators tells that operator policies may have it.
	operators bool
}

// plainQueues are the types of queues from which messages go with their ack.
var plainQueues = []string{classicQueue, quorumQueue}

// allQueues are those and streams.
var allQueues = append([]string{streamQueue}, plainQueues...)

// settings are those that policies know and the engine acts on, by their names
// there. Those of idle are kept and do nothing; all others are refused.
var settings = map[string]setting{
	"message-ttl":      {argMessageTTL, "message TTL", plainQueues, nil, atLeast(0), metadata.Smaller, true},
	"expires":          {argExpires, "queue expiry", plainQueues, nil, atLeast(1), metadata.Smaller, true},
	"max-length":       {argMaxLength, "maximum length", plainQueues, nil, atLeast(0), metadata.Smaller, true},
	"overflow":         {argOverflow, "overflow mode", plainQueues, nil, isOverflow, ownFirst, false},
	"consumer-timeout": {argAckTimeout, "consumer timeout", plainQueues, nil, atLeast(0), metadata.Smaller, false},
	"max-length-bytes": {argMaxBytes, "maximum length in bytes", allQueues, nil, atLeast(0), metadata.Smaller, true},
	"max-age":          {argMaxAge, "max age", []string{streamQueue}, nil, isAge, shorter, false},
	"dead-letter-exchange": {
		argDeadExchange, "dead letter exchange name", plainQueues, nil, isText, ownFirst, false,
	},
	"dead-letter-routing-key": {argDeadKey, "dead letter routing key", plainQueues, nil, isText, ownFirst, false},
	"dead-letter-strategy":    {argDeadStrategy, "dead letter strategy", plainQueues, nil, isStrategy, ownFirst, false},
	"delivery-limit": {
		argMaxReturns, "delivery limit", []string{quorumQueue}, nil, atLeast(-1), fewerReturns, true,
	},
	"alternate-exchange": {argAlternate, "alternate exchange name", []string{onExchanges}, nil, isText, ownFirst, false},
}

func atLeast(least int64) func(any) bool {
	return func(value any) bool {
		n, ok := value.(int64)
		return ok && n >= least
	}
}

func isText(value any) bool {
	_, ok := value.(string)
	return ok
}

func isStrategy(value any) bool { return value == "at-most-once" || value == "at-least-once" }

// fewerReturns returns the lower one of two limits; -1 is none.
func fewerReturns(argument, policy any) any {
	if argument == int64(-1) {
		return policy
	}
	if policy == int64(-1) {
		return argument
	}
	return metadata.Smaller(argument, policy)
}

func isOverflow(value any) bool {
	return value == overflowDrop || value == overflowReject || value == overflowSpill
}

func isAge(value any) bool {
	age, ok := value.(string)
	_, ok = parseAge(age, ok)
	return ok
}

// ownFirst has the argument count.
func ownFirst(argument, _ any) any { return argument }

// shorter returns the shorter one of two ages.
func shorter(argument, policy any) any {
	own, ok := parseAge(text(argument), true)
	other, _ := parseAge(text(policy), true)
	if ok && own <= other {
		return argument
	}
	return policy
}

// governedArgs are the arguments as the definition of policies makes them: the
// object is as if it had been declared with them.
func governedArgs(kind string, args, definition map[string]any) map[string]any {
	if len(definition) == 0 {
		return args
	}
	out := maps.Clone(args)
	if out == nil {
		out = make(map[string]any, len(definition))
	}
	for key, value := range definition {
		s, known := settings[key]
		if !known || !slices.Contains(s.on, kind) || !s.valid(value) {
			continue // of another version, or for others
		}
		if own, given := out[s.argument]; given {
			value = s.both(own, value)
		}
		out[s.argument] = value
	}
	return out
}

// CheckPolicy refuses a policy with settings that are not known, that have a wrong
// value or that are not applied to all that the policy is for: ErrInvalid, with
// the words in Detail. Those that have no effect here are taken, see IdleSettings.
func CheckPolicy(p *metadata.Policy) error {
	invalid := func(key, detail string) error {
		return &Error{Reason: ErrInvalid, Kind: "policy", Name: p.Name, Namespace: p.Namespace, Arg: key, Detail: detail}
	}
	if detail := unrecognised(p); detail != "" {
		return invalid("", "Validation failed\n\n"+detail+"\n")
	}
	for _, key := range slices.Sorted(maps.Keys(p.Definition)) {
		value := p.Definition[key]
		if s, known := settings[key]; known {
			if !s.valid(value) {
				return invalid(key, "Validation failed\n\n"+term(value)+" is not a valid "+s.title+"\n")
			}
			for _, kind := range s.missing {
				if p.For(kind) {
					return invalid(key, "policy key '"+key+"' is not supported for "+kind+" queues in this version")
				}
			}
		} else if s := idle[key]; !s.valid(value) {
			return invalid(key, "Validation failed\n\n"+term(value)+" "+s.refusal+"\n")
		}
	}
	return nil
}
