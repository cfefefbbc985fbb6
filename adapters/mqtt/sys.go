package mqtt

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/core"
	"github.com/tidegate/tidegate/gateway"
)

const (
	// sysLevel is the first level of the topics on which the broker tells of itself.
	sysLevel = "$SYS"
	sysRoot  = sysLevel + "/broker/"
	// sysPause is the least time between two reports, however many ask for one.
	sysPause = time.Second
)

// sys is what the $SYS topics need to know beside the counters.
type sys struct {
	asked   chan struct{} // a subscription was made; one token, more are the same
	started time.Time
	loads   loads
	maximum int64 // connections at once, as of the reports
}

func newSys() sys { return sys{asked: make(chan struct{}, 1), started: time.Now()} }

// isSys tells whether a filter asks for what the broker tells of itself. No wildcard
// in the first level does.
func isSys(filter string) bool {
	first, _, _ := strings.Cut(filter, "/")
	return first == sysLevel
}

// mayReadSys tells whether the user may see figures of the whole broker.
func mayReadSys(p *gateway.Principal) bool {
	return p.HasTag(gateway.TagMonitoring, gateway.TagAdministrator)
}

// ask has a report made soon, for a new subscription.
func (y *sys) ask() {
	select {
	case y.asked <- struct{}{}:
	default: // there will be one
	}
}

// Run publishes the $SYS topics until ctx is done: at each interval, and soon after
// somebody subscribed to them.
func (s *Server) Run(ctx context.Context) {
	if s.cfg.SysInterval == 0 {
		return
	}
	tick := time.NewTicker(s.cfg.SysInterval)
	defer tick.Stop()
	soon := time.NewTimer(sysPause)
	soon.Stop()
	defer soon.Stop()
	last := time.Now().Add(-sysPause)
	s.sample(s.cfg.SysInterval)
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.sys.asked:
			soon.Reset(max(0, sysPause-time.Since(last)))
			continue
		case <-soon.C:
		case <-tick.C:
			s.sample(s.cfg.SysInterval)
		}
		last = time.Now()
		s.report(last)
	}
}

// sample notes what has come and gone in an interval.
func (s *Server) sample(interval time.Duration) {
	n := &s.counters
	s.sys.loads.add(interval, [...]uint64{
		loadReceived: n.received.Load(), loadSent: n.sent.Load(), loadConnects: n.connects.Load(),
	})
}

// report publishes all $SYS topics.
func (s *Server) report(now time.Time) {
	connected := s.counters.connections.Load()
	s.sys.maximum = max(s.sys.maximum, connected)
	st := s.broker.Stats()
	known := max(int64(st.Sessions), connected)
	received, sent := s.counters.received.Load(), s.counters.sent.Load()
	s.tell("version", "tidegate version "+s.cfg.Version)
	s.tell("uptime", strconv.FormatInt(int64(now.Sub(s.sys.started)/time.Second), 10)+" seconds")
	for _, f := range []struct {
		topic string
		value uint64
	}{
		{"clients/connected", uint64(connected)},
		{"clients/disconnected", uint64(known - connected)},
		{"clients/maximum", uint64(s.sys.maximum)},
		{"clients/total", uint64(known)},
		{"messages/received", received},
		{"messages/sent", sent},
		{"publish/messages/dropped", s.counters.droppedSlow.Load()},
		{"publish/messages/received", received},
		{"publish/messages/sent", sent},
		{"retained messages/count", uint64(s.broker.RetainedMessages())},
		{"store/bytes", st.LogBytes},
		{"heap/current", st.MemoryInUse},
	} {
		s.tell(f.topic, strconv.FormatUint(f.value, 10))
	}
	for of, name := range loadNames {
		for i, window := range loadWindows {
			s.tell("load/"+name+"/"+window.name, strconv.FormatFloat(s.sys.loads.rates[of][i], 'f', 2, 64))
		}
	}
}

// tell publishes one topic.
func (s *Server) tell(topic, value string) {
	s.broker.Announce(&core.Message{Format: core.FormatMQTT, Key: []byte(sysRoot + topic), Payload: []byte(value)})
}
