package amqp_test

import (
	"testing"
	"time"

	"github.com/tidegate/tidegate/adapters/amqp"
	"github.com/tidegate/tidegate/core"
)

// TestDefaultAckTimeout leaves a delivery of a classic queue and one of a quorum
// queue unacknowledged: the server's timeout is of the second one alone.
func TestDefaultAckTimeout(t *testing.T) {
	runScript(t, `
login guest
> 1 queue.declare Queue=classic Durable
< 1 queue.declare-ok Queue=classic
> 1 queue.declare Queue=quorum Durable x-queue-type=quorum
< 1 queue.declare-ok Queue=quorum
> 1 basic.publish RoutingKey=classic
> 1 content body=a
> 1 basic.publish RoutingKey=quorum
> 1 content body=b
> 1 basic.get Queue=classic
< 1 basic.get-ok DeliveryTag=1 RoutingKey=classic
< 1 header size=1
< 1 body a
> 2 channel.open
< 2 channel.open-ok
> 2 basic.get Queue=quorum
< 2 basic.get-ok DeliveryTag=1 RoutingKey=quorum
< 2 header size=1
< 2 body b
< 2 channel.close ReplyCode=406 ReplyText="PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value used: 20 ms. This timeout value can be configured, see consumers doc guide to learn more"
> 2 channel.close-ok
> 1 basic.ack DeliveryTag=1
> 1 queue.declare Queue=classic Passive
< 1 queue.declare-ok Queue=classic
`, func(c *amqp.Config, _ *core.Config) { c.ConsumerTimeout = 20 * time.Millisecond })
}
