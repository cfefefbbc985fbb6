package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

func healthOK() (answer, error) { return found(object{"status": "ok"}) }

// unhealthy is the answer of a check that failed.
func unhealthy(body object) (answer, error) {
	body["status"] = "failed"
	return answer{status: http.StatusServiceUnavailable, body: body}, nil
}

// timeUnits are what a time until a certificate ends may be told in.
var timeUnits = map[string]func(now time.Time, n int) time.Time{
	"days":   func(now time.Time, n int) time.Time { return now.AddDate(0, 0, n) },
	"weeks":  func(now time.Time, n int) time.Time { return now.AddDate(0, 0, 7*n) },
	"months": func(now time.Time, n int) time.Time { return now.AddDate(0, n, 0) },
	"years":  func(now time.Time, n int) time.Time { return now.AddDate(n, 0, 0) },
}

// maxWithin bounds the number of units of time.
const maxWithin = 1000

// checkCertificate checks that no certificate of the listeners ends within some time.
func (a *API) checkCertificate(_ context.Context, r *request) (answer, error) {
	within, err := strconv.Atoi(r.PathValue("within"))
	if err != nil || within < 0 || within > maxWithin {
		return answer{}, badRequest("Invalid expiration value.")
	}
	unit := strings.ToLower(r.PathValue("unit"))
	after := timeUnits[unit]
	if after == nil {
		after = timeUnits[unit+"s"]
	}
	if after == nil {
		return answer{}, badRequest("Time unit not recognised. Supported units: days, weeks, months, years.")
	}
	ends := a.CertificateEnds()
	if ends.IsZero() || ends.After(after(time.Now(), within)) {
		return healthOK()
	}
	return unhealthy(object{
		"reason":  "Certificates expiring",
		"expired": []object{{"node": a.Node, "not_after": ends.UTC().Format(time.DateTime)}},
	})
}

// healthy checks that storage serves and that the metadata can be written.
func (a *API) healthy(context.Context, *request) (answer, error) {
	switch {
	case a.Broker.Err() != nil:
		return unhealthy(object{"reason": "storage failed"})
	case !a.Catalog.Status().Connected:
		return unhealthy(object{"reason": "metadata store is not reachable"})
	}
	return healthOK()
}

func (a *API) checkAlarms(context.Context, *request) (answer, error) {
	p := a.Broker.Pressure()
	var alarms []object
	if p.Memory {
		alarms = append(alarms, object{"node": a.Node, "resource": "memory"})
	}
	if p.Disk {
		alarms = append(alarms, object{"node": a.Node, "resource": "disk"})
	}
	if len(alarms) > 0 {
		return unhealthy(object{"reason": "There are alarms in effect in the cluster", "alarms": alarms})
	}
	return healthOK()
}

func (a *API) checkPort(_ context.Context, r *request) (answer, error) {
	port, err := strconv.Atoi(r.PathValue("port"))
	if err != nil {
		return answer{}, badRequest("Invalid port")
	}
	ports := []int{}
	for _, l := range a.Listeners() {
		if !slices.Contains(ports, l.Port) {
			ports = append(ports, l.Port)
		}
	}
	if slices.Contains(ports, port) {
		return found(object{"status": "ok", "port": port})
	}
	return unhealthy(object{"reason": "No active listener", "missing": port, "ports": ports})
}

// otherNames are further names of the protocols.
var otherNames = map[string]string{
	"amqp091": "amqp", "amqp0.9.1": "amqp", "amqp/tls": "amqp/ssl", "amqps": "amqp/ssl", "mqtt/tls": "mqtt/ssl",
	"mqtts": "mqtt/ssl", "web-mqtt": "http/web-mqtt", "ws": "http/web-mqtt", "wss": "https/web-mqtt",
	"http/tls": "https", "http/ssl": "https",
}

func (a *API) checkProtocol(_ context.Context, r *request) (answer, error) {
	name := r.PathValue("protocol")
	if part := r.PathValue("part"); part != "" {
		name += "/" + part
	}
	asked := strings.ToLower(name)
	if other := otherNames[asked]; other != "" {
		asked = other
	}
	if slices.Contains(a.protocols(), asked) {
		return found(object{"status": "ok", "protocol": name})
	}
	return unhealthy(object{"reason": "No active listener", "missing": asked, "protocols": a.protocols()})
}
