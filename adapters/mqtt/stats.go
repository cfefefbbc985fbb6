package mqtt

import "sync/atomic"

// Stats are counters since start and the present number of connections.
type Stats struct {
	Connections   int64
	Draining      int64  // of them those that complete what is in flight, since the server stops
	Connects      uint64 // accepted CONNECTs
	Refused       uint64 // refused CONNECTs
	Takeovers     uint64
	Received      uint64 // PUBLISH packets from clients
	Sent          uint64 // PUBLISH packets to clients
	Acknowledged  uint64 // PUBACK and PUBREC packets to clients
	DroppedSlow   uint64 // QoS 0 messages not sent because the reader was too slow
	SkippedLarge  uint64 // deliveries larger than the client takes
	SkippedTopic  uint64 // deliveries whose routing key is no topic name
	SkippedStale  uint64 // deliveries that had expired or whose subscription was gone
	WillsSent     uint64
	WillsDenied   uint64 // wills whose owner may no longer publish
	ProtocolFault uint64 // connections ended for what the client sent
	Panics        uint64 // connections ended by a fault of the server
}

type counters struct {
	connections, draining                        atomic.Int64
	connects, refused, takeovers, received, sent atomic.Uint64
	acknowledged, droppedSlow, skippedLarge      atomic.Uint64
	skippedTopic, skippedStale                   atomic.Uint64
	willsDenied, faults, panics                  atomic.Uint64
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	n := &s.counters
	return Stats{
		Connections:   n.connections.Load(),
		Draining:      n.draining.Load(),
		Connects:      n.connects.Load(),
		Refused:       n.refused.Load(),
		Takeovers:     n.takeovers.Load(),
		Received:      n.received.Load(),
		Sent:          n.sent.Load(),
		Acknowledged:  n.acknowledged.Load(),
		DroppedSlow:   n.droppedSlow.Load(),
		SkippedLarge:  n.skippedLarge.Load(),
		SkippedTopic:  n.skippedTopic.Load(),
		SkippedStale:  n.skippedStale.Load(),
		WillsSent:     s.broker.Stats().Wills,
		WillsDenied:   n.willsDenied.Load(),
		ProtocolFault: n.faults.Load(),
		Panics:        n.panics.Load(),
	}
}
