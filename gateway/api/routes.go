package api

import (
	"github.com/tidegate/tidegate/gateway"
)

// maxDefinitions bounds the body of an import.
const maxDefinitions = 32 << 20

// The access of routes, in short.
const (
	anyone      = gateway.Management
	policymaker = gateway.Policymaker
	monitor     = gateway.Monitoring
	admin       = gateway.Administrator
)

// table is the one list of what there is and who may ask for it. Beyond it a
// user sees the virtual hosts that it may enter, and its permissions in there
// hold for what it does.
func (a *API) table() []route {
	var table []route
	for _, part := range [][]route{
		a.generalRoutes(), a.accessRoutes(), a.policyRoutes(), a.objectRoutes(), a.bindingRoutes(), a.clientRoutes(),
	} {
		table = append(table, part...)
	}
	return table
}

func (a *API) generalRoutes() []route {
	return []route{
		{"GET /api/overview", anyone, a.overview, 0},
		{"GET /api/whoami", anyone, a.whoami, 0},
		{"GET /api/cluster-name", anyone, a.clusterName, 0},
		{"PUT /api/cluster-name", admin, a.putClusterName, 0},
		{"GET /api/nodes", monitor, a.nodes, 0},
		{"GET /api/nodes/{name}", monitor, a.node, 0},
		{"GET /api/pressure", monitor, a.getPressure, 0},
		{"PUT /api/pressure", admin, a.putPressure, 0},
		{"GET /api/nodes/{name}/memory", monitor, a.nodeMemory, 0},
		{"GET /api/nodes/{name}/memory/{part}", monitor, a.nodeMemory, 0},
		{"POST /api/rebalance/queues", admin, a.rebalance, 0},
		{"GET /api/auth", anyone, a.loginWays, 0},
		{"GET /api/auth/hash_password/{password}", admin, a.hashPassword, 0},
		{"GET /api/version", anyone, a.version, 0},
		{"GET /api/extensions", anyone, emptyList, 0},
		{"GET /api/feature-flags", admin, emptyList, 0},
		{"GET /api/deprecated-features", admin, emptyList, 0},
		{"GET /api/deprecated-features/used", admin, emptyList, 0},
		{"GET /api/definitions", admin, a.exportAll, 0},
		{"POST /api/definitions", admin, a.importAll, maxDefinitions},
		{"GET /api/definitions/{vhost}", admin, a.exportVhost, 0},
		{"POST /api/definitions/{vhost}", admin, a.importVhost, maxDefinitions},
		{"GET /api/healthchecks/node", anyone, a.healthy, 0},
		{"GET /api/healthchecks/node/{name}", anyone, a.healthy, 0},
		{"GET /api/health/checks/alarms", anyone, a.checkAlarms, 0},
		{"GET /api/health/checks/local-alarms", anyone, a.checkAlarms, 0},
		{"GET /api/health/checks/virtual-hosts", anyone, a.healthy, 0},
		{"GET /api/health/checks/ready-to-serve-clients", anyone, a.healthy, 0},
		{"GET /api/health/checks/is-in-service", anyone, a.healthy, 0},
		{"GET /api/health/checks/node-is-quorum-critical", anyone, a.healthy, 0},
		{"GET /api/health/checks/node-is-mirror-sync-critical", anyone, a.healthy, 0},
		{"GET /api/health/checks/certificate-expiration/{within}/{unit}", anyone, a.checkCertificate, 0},
		{"GET /api/health/checks/port-listener/{port}", anyone, a.checkPort, 0},
		{"GET /api/health/checks/protocol-listener/{protocol}", anyone, a.checkProtocol, 0},
		// As in amqp/ssl.
		{"GET /api/health/checks/protocol-listener/{protocol}/{part}", anyone, a.checkProtocol, 0},
		{"GET /api/aliveness-test/{vhost}", anyone, a.aliveness, 0},
	}
}

func (a *API) accessRoutes() []route {
	return []route{
		{"GET /api/vhosts", anyone, a.listVhosts, 0},
		{"GET /api/vhosts/{vhost}", anyone, a.getVhost, 0},
		{"PUT /api/vhosts/{vhost}", admin, a.putVhost, 0},
		{"DELETE /api/vhosts/{vhost}", admin, a.deleteVhost, 0},
		{"GET /api/vhosts/{vhost}/permissions", admin, a.vhostPermissions, 0},
		{"GET /api/vhosts/{vhost}/topic-permissions", admin, a.vhostTopicPermissions, 0},
		{"POST /api/vhosts/{vhost}/start/{node}", admin, a.startVhost, 0},
		{"GET /api/vhosts/{vhost}/connections", anyone, a.vhostConnections, 0},
		{"GET /api/vhosts/{vhost}/channels", anyone, a.vhostChannels, 0},
		{"GET /api/users", admin, a.listUsers, 0},
		{"GET /api/users/without-permissions", admin, a.usersWithoutPermissions, 0},
		{"POST /api/users/bulk-delete", admin, a.deleteUsers, 0},
		{"GET /api/users/{user}", admin, a.getUser, 0},
		{"PUT /api/users/{user}", admin, a.putUser, 0},
		{"DELETE /api/users/{user}", admin, a.deleteUser, 0},
		{"GET /api/users/{user}/permissions", admin, a.userPermissions, 0},
		{"GET /api/users/{user}/topic-permissions", admin, a.userTopicPermissions, 0},
		{"GET /api/permissions", admin, a.listPermissions, 0},
		{"GET /api/permissions/{vhost}/{user}", admin, a.getPermission, 0},
		{"PUT /api/permissions/{vhost}/{user}", admin, a.putPermission, 0},
		{"DELETE /api/permissions/{vhost}/{user}", admin, a.deletePermission, 0},
		{"GET /api/topic-permissions", admin, a.listTopicPermissions, 0},
		{"GET /api/topic-permissions/{vhost}/{user}", admin, a.getTopicPermissions, 0},
		{"PUT /api/topic-permissions/{vhost}/{user}", admin, a.putTopicPermission, 0},
		{"DELETE /api/topic-permissions/{vhost}/{user}", admin, a.deleteTopicPermissions, 0},
		{"DELETE /api/topic-permissions/{vhost}/{user}/{exchange}", admin, a.deleteTopicPermissions, 0},
		{"GET /api/vhost-limits", anyone, a.listVhostLimits, 0},
		{"GET /api/vhost-limits/{vhost}", anyone, a.listVhostLimits, 0},
		{"PUT /api/vhost-limits/{vhost}/{limit}", admin, a.setVhostLimit, 0},
		{"DELETE /api/vhost-limits/{vhost}/{limit}", admin, a.setVhostLimit, 0},
		{"GET /api/user-limits", admin, a.listUserLimits, 0},
		{"GET /api/user-limits/{user}", admin, a.listUserLimits, 0},
		{"PUT /api/user-limits/{user}/{limit}", admin, a.setUserLimit, 0},
		{"DELETE /api/user-limits/{user}/{limit}", admin, a.setUserLimit, 0},
	}
}

func (a *API) policyRoutes() []route {
	var table []route
	for _, kind := range []struct {
		path     string
		operator bool
		write    gateway.Access
	}{{"policies", false, policymaker}, {"operator-policies", true, admin}} {
		p := policies{a, kind.operator}
		one := "/api/" + kind.path + "/{vhost}/{name}"
		table = append(table,
			route{"GET /api/" + kind.path, anyone, p.list, 0},
			route{"GET /api/" + kind.path + "/{vhost}", anyone, p.list, 0},
			route{"GET " + one, anyone, p.get, 0},
			route{"PUT " + one, kind.write, p.put, 0},
			route{"DELETE " + one, kind.write, p.delete, 0})
	}
	return append(table, []route{
		{"GET /api/parameters", policymaker, a.listParameters, 0},
		{"GET /api/parameters/{component}", policymaker, a.listParameters, 0},
		{"GET /api/parameters/{component}/{vhost}", policymaker, a.listParameters, 0},
		{"GET /api/parameters/{component}/{vhost}/{name}", policymaker, a.getParameter, 0},
		{"PUT /api/parameters/{component}/{vhost}/{name}", policymaker, a.putParameter, 0},
		{"DELETE /api/parameters/{component}/{vhost}/{name}", policymaker, a.deleteParameter, 0},
		{"GET /api/global-parameters", policymaker, a.globalParameters, 0},
		{"GET /api/global-parameters/{name}", policymaker, a.getGlobalParameter, 0},
		{"PUT /api/global-parameters/{name}", policymaker, a.putGlobalParameter, 0},
		{"DELETE /api/global-parameters/{name}", policymaker, a.deleteGlobalParameter, 0},
	}...)
}

func (a *API) objectRoutes() []route {
	return []route{
		{"GET /api/queues", anyone, a.listQueues, 0},
		{"GET /api/queues/detailed", anyone, a.listQueues, 0},
		{"GET /api/queues/{vhost}", anyone, a.listQueues, 0},
		{"GET /api/queues/{vhost}/{name}", anyone, a.getQueue, 0},
		{"PUT /api/queues/{vhost}/{name}", anyone, a.putQueue, 0},
		{"DELETE /api/queues/{vhost}/{name}", anyone, a.deleteQueue, 0},
		{"DELETE /api/queues/{vhost}/{name}/contents", anyone, a.purgeQueue, 0},
		{"POST /api/queues/{vhost}/{name}/get", anyone, a.getMessages, 0},
		{"POST /api/queues/{vhost}/{name}/actions", anyone, a.queueAction, 0},
		{"GET /api/queues/{vhost}/{name}/bindings", anyone, a.queueBindings, 0},
		{"GET /api/orphans", admin, a.listOrphans, 0},
		{"POST /api/orphans/{orphan}/adopt", admin, a.adoptOrphan, 0},
		{"DELETE /api/orphans/{orphan}", admin, a.discardOrphan, 0},
		{"GET /api/exchanges", anyone, a.listExchanges, 0},
		{"GET /api/exchanges/{vhost}", anyone, a.listExchanges, 0},
		{"GET /api/exchanges/{vhost}/{name}", anyone, a.getExchange, 0},
		{"PUT /api/exchanges/{vhost}/{name}", anyone, a.putExchange, 0},
		{"DELETE /api/exchanges/{vhost}/{name}", anyone, a.deleteExchange, 0},
		{"POST /api/exchanges/{vhost}/{name}/publish", anyone, a.publish, 24 << 20},
		{"GET /api/exchanges/{vhost}/{name}/bindings/source", anyone, a.bindingsFrom, 0},
		{"GET /api/exchanges/{vhost}/{name}/bindings/destination", anyone, a.bindingsTo, 0},
	}
}

func (a *API) bindingRoutes() []route {
	table := []route{
		{"GET /api/bindings", anyone, a.listBindings, 0},
		{"GET /api/bindings/{vhost}", anyone, a.listBindings, 0},
	}
	for kind, toExchange := range map[string]bool{"q": false, "e": true} {
		b := bindings{a, toExchange}
		all := "/api/bindings/{vhost}/e/{source}/" + kind + "/{dest}"
		table = append(table,
			route{"GET " + all, anyone, b.list, 0},
			route{"POST " + all, anyone, b.create, 0},
			route{"GET " + all + "/{props}", anyone, b.get, 0},
			route{"DELETE " + all + "/{props}", anyone, b.delete, 0})
	}
	return table
}

func (a *API) clientRoutes() []route {
	return []route{
		{"GET /api/connections", anyone, a.listConnections, 0},
		{"GET /api/connections/{name}", anyone, a.getConnection, 0},
		{"DELETE /api/connections/{name}", anyone, a.closeConnection, 0},
		// {name}/channels, or username/{part} for all of a user.
		{"GET /api/connections/{name}/{part}", anyone, a.connectionPart, 0},
		{"DELETE /api/connections/{name}/{part}", anyone, a.closeUserConnections, 0},
		{"GET /api/channels", anyone, a.listChannels, 0},
		{"GET /api/channels/{name}", anyone, a.getChannel, 0},
		{"GET /api/consumers", anyone, a.listConsumers, 0},
		{"GET /api/consumers/{vhost}", anyone, a.listConsumers, 0},
	}
}
