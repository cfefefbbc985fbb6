package shard

import (
	"github.com/tidegate/tidegate/core/queue"
	"github.com/tidegate/tidegate/core/record"
)

// QueueSettings say how a queue behaves. They are not in the log: whoever makes
// the stream sets them, after each start and when they change.
type QueueSettings struct {
	// Sharing says which consumers get the messages.
	Sharing queue.Sharing
}

// Configure has a queue behave as the settings say. Streams that are not there,
// and those that are no queues, are passed over.
func (s *Shard) Configure(id record.StreamID, settings QueueSettings) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.streams[id]
	if st == nil || st.queue == nil {
		return
	}
	st.queue.Share(settings.Sharing)
	s.dispatch(st)
}

// Active tells whether the consumer is one that gets messages.
func (c *Consumer) Active() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return !c.gone && c.st.queue.Serves(c.c)
}
