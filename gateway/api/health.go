package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
)

func healthOK() (answer, error) { return found(object{"status": "ok"}) }

// unhealthy is the answer of a check that failed.
func unhealthy(body object) (answer, error) {
	body["status"] = "failed"
	return answer{status: http.StatusServiceUnavailable, body: body}, nil
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
		return answer{}, badRequest("port must be a number")
	}
	if slices.ContainsFunc(a.Listeners(), func(l Listener) bool { return l.Port == port }) {
		return found(object{"status": "ok", "port": port})
	}
	return unhealthy(object{"reason": "No active listener", "missing": port})
}

func (a *API) checkProtocol(_ context.Context, r *request) (answer, error) {
	name := r.PathValue("protocol")
	asked := map[string]string{"amqp091": "amqp", "amqp0.9.1": "amqp", "amqps": "amqp/ssl", "mqtts": "mqtt/ssl"}[name]
	if asked == "" {
		asked = name
	}
	if slices.Contains(a.protocols(), asked) {
		return found(object{"status": "ok", "protocol": name})
	}
	return unhealthy(object{"reason": "No active listener", "missing": name, "protocols": a.protocols()})
}
