package api

import (
	"context"
	"maps"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"time"
)

func (a *API) nodes(context.Context, *request) (answer, error) {
	return found([]object{a.describeNode()})
}

// here is for a handler of a node: there is one.
func (a *API) here(r *request, name string) error {
	if r.PathValue(name) != a.Node {
		return errMissing
	}
	return nil
}

func (a *API) node(_ context.Context, r *request) (answer, error) {
	if err := a.here(r, "name"); err != nil {
		return answer{}, err
	}
	return found(a.describeNode())
}

func (a *API) describeNode() object {
	st := a.Broker.Stats()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	connections := a.Clients.Count()
	o := object{
		"name": a.Node, "type": "disc", "running": true, "rates_mode": "basic", "partitions": []string{},
		"uptime": time.Since(a.started).Milliseconds(), "processors": runtime.NumCPU(), "os_pid": strconv.Itoa(os.Getpid()),
		"mem_used": st.MemoryInUse, "mem_alarm": st.Pressure.Memory, "mem_limit": st.MemoryMark,
		"mem_calculation_strategy": "rss",
		"disk_free":                st.DiskFree, "disk_free_alarm": st.Pressure.Disk, "disk_free_limit": st.DiskMark,
		"sockets_used": connections, "exchange_types": exchangeTypes(),
		"auth_mechanisms": []object{{"name": "PLAIN", "enabled": true}, {"name": "AMQPLAIN", "enabled": true}},
		"being_drained":   false, "cluster_links": []string{}, "enabled_plugins": []string{},
	}
	if used, total, known := openFiles(); known {
		o["fd_used"], o["fd_total"], o["sockets_total"] = used, total, total
		a.rates.putRates(o, "fd", a.started, counted{"fd_used", used, true})
	}
	a.rates.putCounts(o, "gc", a.started, counted{name: "gc_num", value: uint64(memory.NumGC)})
	a.rates.putRates(o, "node", a.started, counted{"mem_used", st.MemoryInUse, true},
		counted{"disk_free", st.DiskFree, true}, counted{"sockets_used", uint64(connections), true})
	maps.Copy(o, a.churn())
	return o
}

// nodeMemory tells where memory goes, as far as the runtime knows: numbers are bytes.
// With the path's last part "relative" they are shares of the whole in percent.
func (a *API) nodeMemory(_ context.Context, r *request) (answer, error) {
	if err := a.here(r, "name"); err != nil {
		return answer{}, err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	total := object{"allocated": m.Sys - m.HeapReleased, "rss": a.Broker.Stats().MemoryInUse}
	if r.PathValue("part") != "" {
		if r.PathValue("part") != "relative" {
			return answer{}, errMissing
		}
		share := func(n uint64) uint64 { return n * 100 / max(m.Sys-m.HeapReleased, 1) }
		return found(object{"memory": object{
			"total": 100, "heap": share(m.HeapInuse), "stacks": share(m.StackInuse),
			"allocated_unused": share(m.HeapIdle - m.HeapReleased), "runtime": share(m.MSpanSys + m.MCacheSys + m.GCSys + m.BuckHashSys),
			"other_system": share(m.OtherSys),
		}})
	}
	return found(object{"memory": object{
		"strategy": "rss", "total": total, "heap": m.HeapInuse, "stacks": m.StackInuse,
		"allocated_unused": m.HeapIdle - m.HeapReleased, "runtime": m.MSpanSys + m.MCacheSys + m.GCSys + m.BuckHashSys,
		"other_system": m.OtherSys,
	}})
}

// rebalance has nothing to move: there is one node.
func (a *API) rebalance(context.Context, *request) (answer, error) { return done() }

// startVhost has nothing to start: a virtual host that is there runs.
func (a *API) startVhost(_ context.Context, r *request) (answer, error) {
	if _, err := a.vhost(r); err != nil {
		return answer{}, err
	}
	if err := a.here(r, "node"); err != nil {
		return answer{}, err
	}
	return done()
}

// loginWays tells web pages how to log in: with user and password.
func (a *API) loginWays(context.Context, *request) (answer, error) {
	return found(object{"oauth_enabled": false, "enable_uaa": false, "uaa_client_id": "", "uaa_location": ""})
}

// otherMethod answers for a path of the API that no route has: 405 where there are
// routes with other methods.
func (a *API) otherMethod(known *http.ServeMux) handler {
	return func(_ context.Context, r *request) (answer, error) {
		if _, pattern := known.Handler(r.Request); pattern != "" {
			return answer{status: http.StatusMethodNotAllowed}, nil
		}
		return answer{}, errMissing
	}
}
