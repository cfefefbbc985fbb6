package amqp

// Arguments that say where a queue sends what it gives up, and when it does.
const (
	argDeadExchange  = "x-dead-letter-exchange"
	argDeadKey       = "x-dead-letter-routing-key"
	argDeadStrategy  = "x-dead-letter-strategy"
	argDeliveryLimit = "x-delivery-limit"
)

// checkDeadLetters checks one of them. The strategy and the limit are of quorum
// queues.
func checkDeadLetters(name string, args map[string]any, queue string) error {
	value := args[name]
	_, isText := value.(string)
	quorum := args["x-queue-type"] == "quorum"
	switch {
	case (name == argDeadStrategy || name == argDeliveryLimit) && !quorum:
		if name == argDeliveryLimit && value == int64(-1) {
			delete(args, name) // says what holds anyway
			return nil
		}
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s of queue type rabbit_classic_queue", name, queue)
	case name == argDeliveryLimit:
		return checkDeliveryLimit(args, queue)
	case name == argDeadExchange && !isText:
		return refuse(codePreconditionFailed, "invalid type '%s' for arg '%s' in %s", typeOf(value), name, queue)
	case !isText:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {unacceptable_type,%s}", name, queue, typeOf(value))
	case name == argDeadKey && args[argDeadExchange] == nil:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: routing_key_but_no_dlx_defined", name, queue)
	case name == argDeadStrategy && value != "at-most-once" && value != "at-least-once":
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: invalid_dlx_strategy", name, queue)
	}
	return nil
}

// checkDeliveryLimit checks a number; below 0 is no limit, and as if it were not given.
func checkDeliveryLimit(args map[string]any, queue string) error {
	switch n, ok := args[argDeliveryLimit].(int64); {
	case !ok:
		return refuse(codePreconditionFailed, `invalid arg '%s' for %s: "expected integer, got %s"`,
			argDeliveryLimit, queue, typeOf(args[argDeliveryLimit]))
	case n < -1:
		return refuse(codePreconditionFailed, "invalid arg '%s' for %s: {value_negative,%d}", argDeliveryLimit, queue, n)
	case n == -1:
		delete(args, argDeliveryLimit)
	}
	return nil
}
