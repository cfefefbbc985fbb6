"""Calls the management API as programs for RabbitMQ do, with the standard library alone.

usage: management.py URL MODE, where MODE is one of
  setup    make virtual host, users, permissions, queue, exchange and binding; check what is refused
  export   print the definitions
  import   read definitions from the standard input and import them
  monitor  print what an autoscaler and a monitoring agent read of the virtual host /
"""

import base64
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

BASE = sys.argv[1] + "/api/"


def call(method, path, body=None, user="guest", password="guest"):
    request = urllib.request.Request(BASE + path, method=method)
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request.add_header("Authorization", "Basic " + token)
    data = None
    if body is not None:
        request.add_header("Content-Type", "application/json")
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, data, timeout=30) as response:
            text = response.read()
            return response.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def want(status, *args, **kwargs):
    got, body = call(*args, **kwargs)
    if got != status:
        sys.exit(f"{args}: got {got} {body}, want {status}")
    return body


def setup():
    want(201, "PUT", "vhosts/shop", {"description": "made by a program"})
    want(201, "PUT", "users/clerk", {"password": "clerk-secret", "tags": "management"})
    want(204, "PUT", "users/clerk", {"tags": ["management"]})
    permission = {"configure": "^orders", "write": "^(orders|amq\\.topic)", "read": "^(orders|amq\\.topic)"}
    want(201, "PUT", "permissions/shop/clerk", permission)
    want(204, "PUT", "permissions/shop/clerk", permission)
    want(201, "PUT", "topic-permissions/shop/clerk", {"exchange": "amq.topic", "write": "^eu\\.", "read": "^eu\\."})
    want(201, "PUT", "queues/shop/orders", {"durable": True}, user="clerk", password="clerk-secret")
    want(401, "PUT", "queues/shop/other", {"durable": True}, user="clerk", password="clerk-secret")
    want(401, "GET", "users", user="clerk", password="clerk-secret")
    want(401, "GET", "whoami", user="clerk", password="wrong")
    want(201, "PUT", "exchanges/%2F/audit", {"type": "headers", "durable": True})
    want(201, "PUT", "queues/%2F/audit", {"durable": True, "arguments": {"x-queue-type": "quorum"}})
    want(201, "POST", "bindings/%2F/e/audit/q/audit", {"arguments": {"x-match": "any", "level": 3}})
    name = want(200, "GET", "whoami", user="clerk", password="clerk-secret")["name"]
    if name != "clerk":
        sys.exit(f"whoami: got {name}")
    refused = want(400, "PUT", "policies/%2F/limit", {"pattern": ".*", "definition": {"no-such-key": 5}})
    if "no-such-key" not in refused["reason"]:
        sys.exit(f"policy: got {refused}")
    for check in ("alarms", "local-alarms", "virtual-hosts", "node-is-quorum-critical", "protocol-listener/amqp"):
        want(200, "GET", "health/checks/" + check)
    want(200, "GET", "aliveness-test/%2F")
    want(204, "DELETE", "queues/%2F/aliveness-test")


def scaler():
    """Reads as KEDA's RabbitMQ scaler does: one queue by its name, and a page of those that match."""
    one = want(200, "GET", "queues/%2F/" + urllib.parse.quote("jobs", safe=""))
    query = urllib.parse.urlencode(
        {"page": 1, "use_regex": "true", "pagination": "false", "name": "^jobs.*$", "page_size": 100})
    page = want(200, "GET", "queues/%2F?" + query)
    read = lambda q: {
        "messages": q["messages"], "unacknowledged": q["messages_unacknowledged"],
        "publish_rate": q["message_stats"]["publish_details"]["rate"],
        "deliver_rate": q["message_stats"]["deliver_get_details"]["rate"]}
    return {"one": read(one), "matching": {q["name"]: read(q) for q in page["items"]}}


# What Datadog's check reads, by route: members, inside of others after a slash.
AGENT = {
    "overview": [
        "cluster_name", "rabbitmq_version", "management_version", "object_totals/connections", "object_totals/channels",
        "object_totals/queues", "object_totals/consumers", "queue_totals/messages", "queue_totals/messages_details/rate",
        "queue_totals/messages_ready", "queue_totals/messages_ready_details/rate",
        "queue_totals/messages_unacknowledged", "queue_totals/messages_unacknowledged_details/rate",
        "message_stats/ack", "message_stats/ack_details/rate", "message_stats/confirm",
        "message_stats/confirm_details/rate", "message_stats/deliver_get", "message_stats/deliver_get_details/rate",
        "message_stats/publish", "message_stats/publish_details/rate", "message_stats/redeliver",
        "message_stats/redeliver_details/rate", "message_stats/return_unroutable",
        "message_stats/drop_unroutable", "message_stats/drop_unroutable_details/rate"],
    "nodes": [
        "name", "running", "fd_used", "disk_free", "mem_used", "mem_limit", "sockets_used", "partitions",
        "mem_alarm", "disk_free_alarm"],
    "queues": [
        "name", "vhost", "consumers", "messages", "messages_details/rate", "messages_ready",
        "messages_ready_details/rate", "messages_unacknowledged", "messages_unacknowledged_details/rate",
        "message_stats/ack", "message_stats/ack_details/rate", "message_stats/deliver",
        "message_stats/deliver_details/rate", "message_stats/deliver_get", "message_stats/deliver_get_details/rate",
        "message_stats/publish", "message_stats/publish_details/rate", "message_stats/redeliver",
        "message_stats/redeliver_details/rate"],
    "exchanges": [
        "name", "vhost", "type", "message_stats/publish_in", "message_stats/publish_in_details/rate",
        "message_stats/publish_out", "message_stats/publish_out_details/rate"],
    "connections": ["vhost", "state"],
    "vhosts": ["name", "messages"],
}


def agent():
    """Reads as Datadog's check does."""
    found = {}
    for route, members in AGENT.items():
        body = want(200, "GET", route)
        for thing in body if isinstance(body, list) else [body]:
            for member in members:
                value = thing
                for part in member.split("/"):
                    if part not in value:
                        sys.exit(f"{route}: no {member} in {thing}")
                    value = value[part]
                found[f"{route} {thing.get('name', '')} {member}"] = value
    if want(200, "GET", "aliveness-test/%2F")["status"] != "ok":
        sys.exit("not alive")
    return found


if sys.argv[2] == "setup":
    setup()
elif sys.argv[2] == "export":
    json.dump(want(200, "GET", "definitions"), sys.stdout, sort_keys=True)
elif sys.argv[2] == "monitor":
    json.dump({"scaler": scaler(), "agent": agent()}, sys.stdout)
else:
    want(204, "POST", "definitions", json.load(sys.stdin))
