package gateway

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidegate/tidegate/core"
)

// metrics are the counters of the front door and a view of the engine's. The
// only label is the endpoint's name.
type metrics struct {
	registry     *prometheus.Registry
	open         *prometheus.GaugeVec
	accepted     *prometheus.CounterVec
	refused      *prometheus.CounterVec
	acceptErrors *prometheus.CounterVec
	panics       *prometheus.CounterVec
}

func newMetrics(deps Deps) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidegate_gateway_connections", Help: "Open connections.",
		}, []string{"endpoint"}),
		accepted:     endpointCounter("tidegate_gateway_connections_accepted_total", "Accepted connections."),
		refused:      endpointCounter("tidegate_gateway_connections_refused_total", "Connections refused by a limit."),
		acceptErrors: endpointCounter("tidegate_gateway_accept_errors_total", "Errors of accept."),
		panics:       endpointCounter("tidegate_gateway_panics_total", "Connections that ended by a panic."),
	}
	m.registry.MustRegister(m.open, m.accepted, m.refused, m.acceptErrors, m.panics,
		newLoginCounter("accepted", func() uint64 { return deps.Auth.accepted.Load() }),
		newLoginCounter("refused", func() uint64 { return deps.Auth.refused.Load() }),
		engineCollector{stats: deps.Stats},
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(deps.Collectors...)
	return m
}

func endpointCounter(name, help string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"endpoint"})
}

func newLoginCounter(result string, value func() uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tidegate_gateway_logins_total", Help: "Logins by result.",
		ConstLabels: prometheus.Labels{"result": result},
	}, func() float64 { return float64(value()) })
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// engineCollector gives the engine's counters, all of one moment.
type engineCollector struct{ stats func() core.Stats }

// engineMetric is one number of core.Stats.
type engineMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*core.Stats) float64
}

var engineMetrics = []engineMetric{
	counter("broker_published_messages_total", "Messages published.", func(s *core.Stats) uint64 { return s.Published }),
	counter("broker_delivered_messages_total", "Messages delivered to consumers and sessions.", func(s *core.Stats) uint64 { return s.Delivered }),
	counter("broker_scheduled_total", "Messages that were held until a time.", func(s *core.Stats) uint64 { return s.Scheduled }),
	counter("broker_due_total", "Held messages that were delivered when they were due.", func(s *core.Stats) uint64 { return s.Due }),
	counter("broker_cancelled_total", "Held messages that were cancelled by their name.", func(s *core.Stats) uint64 { return s.Cancelled }),
	counter("broker_dead_letters_total", "Messages that queues gave up and that went on to other queues.", func(s *core.Stats) uint64 { return s.DeadLetters }),
	counter("broker_missing_messages_total", "Messages that were due and not in the log, after a loss was accepted.", func(s *core.Stats) uint64 { return s.Missing }),
	counter("broker_expired_messages_total", "Messages of queues that have ended with their time to live.", func(s *core.Stats) uint64 { return s.Expired }),
	counter("broker_overflowed_messages_total", "Messages dropped because their queues were too long.", func(s *core.Stats) uint64 { return s.Overflowed }),
	counter("broker_refused_publishes_total", "Publishes that a full queue refused.", func(s *core.Stats) uint64 { return s.Refused }),
	counter("broker_settled_messages_total", "Deliveries settled: acknowledged or rejected for good.", func(s *core.Stats) uint64 { return s.Settled }),
	counter("broker_unroutable_messages_total", "Messages published that matched nothing.", func(s *core.Stats) uint64 { return s.Unroutable }),
	counter("broker_dropped_messages_total", "Messages without guarantee dropped for slow readers.", func(s *core.Stats) uint64 { return s.Dropped }),
	counter("broker_blocked_publishes_total", "Publishes held back because disk or memory is low, tries counted.", func(s *core.Stats) uint64 { return s.Blocked }),
	counter("broker_shed_messages_total", "Messages without guarantee not stored because disk or memory is low.", func(s *core.Stats) uint64 { return s.Shed }),
	alarm("broker_disk_alarm", "Publishers wait because the disk is low.", func(s *core.Stats) bool { return s.Pressure.Disk }),
	alarm("broker_memory_alarm", "Publishers wait because memory is low.", func(s *core.Stats) bool { return s.Pressure.Memory }),
	alarm("broker_disk_warning", "The disk fills up.", func(s *core.Stats) bool { return s.DiskWarning }),
	gauge("broker_disk_free_bytes", "Free bytes of the disk that holds the log.", func(s *core.Stats) float64 { return float64(s.DiskFree) }),
	gauge("broker_disk_size_bytes", "Bytes of the disk that holds the log.", func(s *core.Stats) float64 { return float64(s.DiskTotal) }),
	gauge("broker_memory_in_use_bytes", "Memory of the process as the watermark counts it.", func(s *core.Stats) float64 { return float64(s.MemoryInUse) }),
	counter("log_batches_total", "Batches committed.", func(s *core.Stats) uint64 { return s.Batches }),
	counter("log_batch_records_total", "Records in the batches committed.", func(s *core.Stats) uint64 { return s.BatchRecords }),
	counter("log_syncs_total", "Batches committed with a sync of their segment file.", func(s *core.Stats) uint64 { return s.Syncs }),
	gauge("log_size_bytes", "Bytes of the log on disk.", func(s *core.Stats) float64 { return float64(s.LogBytes) }),
	gauge("log_raw_bytes", "Bytes of the log's records, not compressed.", func(s *core.Stats) float64 { return float64(s.Upkeep.Raw) }),
	gauge("log_segments", "Files of the log.", func(s *core.Stats) float64 { return float64(s.Upkeep.Segments) }),
	gauge("log_damaged_segments", "Files of the log that could not be read to be rewritten.", func(s *core.Stats) float64 { return float64(s.Upkeep.Damaged) }),
	counter("log_dropped_bytes_total", "Bytes of files of the log that nothing needed any more.", func(s *core.Stats) uint64 { return s.Upkeep.Dropped }),
	counter("log_rewritten_bytes_total", "Bytes of files of the log that were rewritten.", func(s *core.Stats) uint64 { return s.Upkeep.Rewritten }),
	counter("log_rewrites_written_bytes_total", "Bytes of files of the log that took the place of those rewritten.", func(s *core.Stats) uint64 { return s.Upkeep.Written }),
	gauge("broker_streams", "Streams: queues and MQTT filters.", func(s *core.Stats) float64 { return float64(s.Streams) }),
	gauge("broker_sessions", "Sessions, connected or not.", func(s *core.Stats) float64 { return float64(s.Sessions) }),
	gauge("broker_consumers", "Consumers of queues.", func(s *core.Stats) float64 { return float64(s.Consumers) }),
}

var commitLatency = prometheus.NewDesc("tidegate_log_commit_duration_seconds",
	"Time from taking a batch to having it committed and applied.", nil, nil)

func counter(name, help string, value func(*core.Stats) uint64) engineMetric {
	return engineMetric{
		prometheus.NewDesc("tidegate_"+name, help, nil, nil), prometheus.CounterValue,
		func(s *core.Stats) float64 { return float64(value(s)) },
	}
}

func gauge(name, help string, value func(*core.Stats) float64) engineMetric {
	return engineMetric{prometheus.NewDesc("tidegate_"+name, help, nil, nil), prometheus.GaugeValue, value}
}

// alarm is 1 while something holds, else 0.
func alarm(name, help string, on func(*core.Stats) bool) engineMetric {
	return gauge(name, help, func(s *core.Stats) float64 {
		if on(s) {
			return 1
		}
		return 0
	})
}

// Describe sends the descriptions of all metrics.
func (engineCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range engineMetrics {
		ch <- m.desc
	}
	ch <- commitLatency
}

// Collect sends the values of now.
func (c engineCollector) Collect(ch chan<- prometheus.Metric) {
	stats := c.stats()
	for _, m := range engineMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(&stats))
	}
	ch <- histogram(stats.CommitLatency)
}

// histogram turns counts per bucket into Prometheus' cumulative ones.
func histogram(h core.Histogram) prometheus.Metric {
	var count uint64
	buckets := make(map[float64]uint64, len(h.Bounds))
	for i, n := range h.Counts {
		count += n
		if i < len(h.Bounds) {
			buckets[h.Bounds[i]] = count
		}
	}
	return prometheus.MustNewConstHistogram(commitLatency, count, h.Sum, buckets)
}
