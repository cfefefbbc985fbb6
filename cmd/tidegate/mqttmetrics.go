package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegate/tidegate/adapters/mqtt"
)

// mqttCollector gives the MQTT server's counters, all of one moment.
type mqttCollector struct{ stats func() mqtt.Stats }

// mqttMetric is one number of mqtt.Stats.
type mqttMetric struct {
	desc  *prometheus.Desc
	value func(*mqtt.Stats) uint64
}

func mqttCounter(name, help string, value func(*mqtt.Stats) uint64) mqttMetric {
	return mqttMetric{prometheus.NewDesc("tidegate_mqtt_"+name+"_total", help, nil, nil), value}
}

var mqttMetrics = []mqttMetric{
	mqttCounter("connects", "CONNECTs accepted.", func(s *mqtt.Stats) uint64 { return s.Connects }),
	mqttCounter("connects_refused", "CONNECTs refused.", func(s *mqtt.Stats) uint64 { return s.Refused }),
	mqttCounter("takeovers", "Sessions taken over by another connection.", func(s *mqtt.Stats) uint64 { return s.Takeovers }),
	mqttCounter("received_messages", "PUBLISH packets from clients.", func(s *mqtt.Stats) uint64 { return s.Received }),
	mqttCounter("sent_messages", "PUBLISH packets to clients.", func(s *mqtt.Stats) uint64 { return s.Sent }),
	mqttCounter("acknowledged_messages", "PUBACK and PUBREC packets to clients.", func(s *mqtt.Stats) uint64 { return s.Acknowledged }),
	mqttCounter("dropped_slow_messages", "QoS 0 messages not sent to slow readers.", func(s *mqtt.Stats) uint64 { return s.DroppedSlow }),
	mqttCounter("skipped_large_messages", "Deliveries larger than the client takes.", func(s *mqtt.Stats) uint64 { return s.SkippedLarge }),
	mqttCounter("skipped_topic_messages", "Deliveries whose routing key is no topic.", func(s *mqtt.Stats) uint64 { return s.SkippedTopic }),
	mqttCounter("skipped_stale_messages", "Deliveries that had expired, or whose subscription was gone.", func(s *mqtt.Stats) uint64 { return s.SkippedStale }),
	mqttCounter("wills_sent", "Wills published.", func(s *mqtt.Stats) uint64 { return s.WillsSent }),
	mqttCounter("wills_denied", "Wills whose owner may no longer publish.", func(s *mqtt.Stats) uint64 { return s.WillsDenied }),
	mqttCounter("protocol_faults", "Connections ended for what the client sent.", func(s *mqtt.Stats) uint64 { return s.ProtocolFault }),
	mqttCounter("panics", "Connections ended by a fault of the server.", func(s *mqtt.Stats) uint64 { return s.Panics }),
}

// Describe implements [prometheus.Collector].
func (c mqttCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range mqttMetrics {
		ch <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (c mqttCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.stats()
	for _, m := range mqttMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.value(&st)))
	}
}
