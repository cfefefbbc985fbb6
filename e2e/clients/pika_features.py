"""What programs do with pika beside publishing and consuming.

usage: pika_features.py HOST:PORT

Each function is a feature; the program ends with the first that is not as it
should be, and prints the names of those that were.
"""

import sys

import pika
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
parameters = pika.ConnectionParameters(host, int(port), socket_timeout=20, blocked_connection_timeout=20)


def check(what, got, want):
    if got != want:
        raise RuntimeError(f"{what}: got {got!r}, want {want!r}")


def closes(code, text, do):
    """Checks that a call closes its channel with a code and words."""
    try:
        do()
    except pika.exceptions.ChannelClosedByBroker as e:
        check("code", e.reply_code, code)
        if text not in e.reply_text:
            raise RuntimeError(f"{e.reply_text!r} does not say {text!r}") from e
        return
    raise RuntimeError(f"no error {code}")


def drain(channel, queue):
    """Takes the bodies of all messages of a queue."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


def declared(channel, *bindings):
    """Makes a queue that goes with the connection, bound to exchanges."""
    queue = channel.queue_declare("", exclusive=True).method.queue
    for exchange, key, arguments in bindings:
        channel.queue_bind(queue, exchange, key, arguments)
    return queue


def headers_exchange(connection):
    channel = connection.channel()
    everything = declared(channel, ("amq.headers", "", {"x-match": "all", "a": 1, "b": "two"}))
    anything = declared(channel, ("amq.headers", "", {"x-match": "any", "a": 1, "b": "two"}))
    for body, headers in (("both", {"a": 1, "b": "two"}), ("one", {"a": 1}), ("none", {"c": 1})):
        channel.basic_publish("amq.headers", "", body, pika.BasicProperties(headers=headers))
    check("all", drain(channel, everything), ["both"])
    check("any", drain(channel, anything), ["both", "one"])


def exchange_bindings(connection):
    channel = connection.channel()
    channel.exchange_declare("pika.source", "topic", auto_delete=True)
    channel.exchange_declare("pika.target", "fanout")
    channel.exchange_bind("pika.target", "pika.source", "a.*")
    queue = declared(channel, ("pika.target", "", None))
    channel.basic_publish("pika.source", "a.b", "in")
    channel.basic_publish("pika.source", "b.a", "out")
    check("bound", drain(channel, queue), ["in"])
    channel.exchange_unbind("pika.target", "pika.source", "a.*")
    closes(404, "no exchange 'pika.source'", lambda: channel.exchange_declare("pika.source", passive=True))
    connection.channel().exchange_delete("pika.target")


def alternate_exchange(connection):
    channel = connection.channel()
    channel.exchange_declare("pika.choosy", "direct", arguments={"alternate-exchange": "amq.fanout"})
    queue = declared(channel, ("amq.fanout", "", None))
    channel.confirm_delivery()
    channel.basic_publish("pika.choosy", "nobody", "caught", mandatory=True)
    check("caught", drain(channel, queue), ["caught"])
    channel.exchange_delete("pika.choosy")


def mandatory(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("amq.direct", "nobody", "back", mandatory=True)
    except pika.exceptions.UnroutableError as e:
        check("returned", (e.messages[0].method.reply_code, e.messages[0].body), (312, b"back"))
        return
    raise RuntimeError("nothing was returned")


def direct_reply(connection):
    server, client = connection.channel(), connection.channel()
    requests = declared(server)

    def answer(channel, method, properties, body):
        channel.basic_publish("", properties.reply_to, b"re: " + body)

    server.basic_consume(requests, answer, auto_ack=True)
    replies = []
    client.basic_consume("amq.rabbitmq.reply-to", lambda *delivery: replies.append(delivery[3]), auto_ack=True)
    client.basic_publish("", requests, b"hello", pika.BasicProperties(reply_to="amq.rabbitmq.reply-to"))
    for _ in range(200):
        if replies:
            break
        connection.process_data_events(time_limit=0.1)
    check("replies", replies, [b"re: hello"])


def cancel_notification(connection):
    channel, other = connection.channel(), connection.channel()
    queue = declared(channel)
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    channel.basic_consume(queue, lambda *_: None, consumer_tag="watcher")
    other.queue_delete(queue)
    for _ in range(200):
        if cancelled:
            break
        connection.process_data_events(time_limit=0.1)
    check("cancelled", cancelled, ["watcher"])


def requeue(connection):
    channel = connection.channel()
    queue = declared(channel)
    for body in ("1", "2", "3"):
        channel.basic_publish("", queue, body)
    tags = [channel.basic_get(queue)[0].delivery_tag for _ in range(3)]
    channel.basic_ack(tags[1])
    channel.basic_nack(tags[2], multiple=True, requeue=True)
    method, _, body = channel.basic_get(queue)
    check("first again", (method.redelivered, body), (True, b"1"))
    channel.basic_recover(requeue=True)
    check("all again", drain(channel, queue), ["1", "3"])


def properties(connection):
    channel = connection.channel()
    queue = declared(channel)
    sent = pika.BasicProperties(
        content_type="text/plain", content_encoding="identity", delivery_mode=2, priority=3, correlation_id="c",
        reply_to="r", expiration="60000", message_id="m", timestamp=1700000000, type="t", user_id="guest", app_id="a",
        headers={"text": "é", "int": 5, "big": 1 << 40, "true": True, "list": [1, "two"], "table": {"k": None}},
    )
    channel.basic_publish("", queue, b"", sent)
    _, got, _ = channel.basic_get(queue, auto_ack=True)
    check("properties", got, sent)


def refusals(connection):
    queue = declared(connection.channel())
    for code, text, do in (
        (404, "no queue 'nothing' in vhost '/'", lambda c: c.queue_declare("nothing", passive=True)),
        (403, "contains reserved prefix 'amq.*'", lambda c: c.queue_declare("amq.mine")),
        (406, "inequivalent arg 'type'", lambda c: c.exchange_declare("amq.topic", "fanout", durable=True)),
        (406, "unknown exchange type 'nonsense'", lambda c: c.exchange_declare("pika.x", "nonsense")),
        (403, "contains reserved prefix 'amq.*'", lambda c: c.queue_declare(queue, exclusive=True)),
        (404, "no exchange 'nothing'", lambda c: c.exchange_bind("amq.fanout", "nothing")),
    ):
        channel = connection.channel()
        closes(code, text, lambda: do(channel))
    other = pika.BlockingConnection(parameters)
    closes(405, "cannot obtain exclusive access", lambda: other.channel().queue_declare(queue, passive=True))
    other.close()


def dead_letters(connection):
    channel = connection.channel()
    dead = declared(channel, ("amq.fanout", "", None))
    arguments = {"x-dead-letter-exchange": "amq.fanout", "x-message-ttl": 60000}
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue, "x-message-ttl": 20}
    wait = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    channel.basic_publish("", wait, b"again", pika.BasicProperties(headers={"n": 1}))
    for method, _, body in channel.consume(queue, inactivity_timeout=20):
        check("after the wait", body, b"again")
        channel.basic_reject(method.delivery_tag, requeue=False)
        break
    channel.cancel()
    for method, properties, body in channel.consume(dead, inactivity_timeout=20):
        check("dead letter", (body, method.exchange, method.routing_key), (b"again", "amq.fanout", queue))
        deaths = properties.headers["x-death"]
        check("deaths", [(d["queue"], d["reason"], d["count"]) for d in deaths], [(queue, "rejected", 1), (wait, "expired", 1)])
        check("keys", [d["routing-keys"] for d in deaths], [[queue], [wait]])
        check("first", properties.headers["x-first-death-queue"], wait)
        check("last", properties.headers["x-last-death-queue"], queue)
        check("own", properties.headers["n"], 1)
        break
    channel.cancel()


def full_queues(connection):
    channel = connection.channel()
    dead = declared(channel)
    arguments = {
        "x-max-length-bytes": 5, "x-overflow": "reject-publish-dlx",
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
    }
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, b"abc")
    try:
        channel.basic_publish("", queue, b"def")
    except pika.exceptions.NackError:
        pass
    else:
        raise RuntimeError("a full queue takes more")
    channel.basic_publish("", queue, b"gh")
    check("in the queue", drain(channel, queue), ["abc", "gh"])
    _, properties, body = channel.basic_get(dead, auto_ack=True)
    check("dead letter", (body, properties.headers["x-death"][0]["reason"]), (b"def", "maxlen"))


def priorities(connection):
    channel = connection.channel()
    queue = channel.queue_declare("", exclusive=True, arguments={"x-max-priority": 10}).method.queue
    channel.confirm_delivery()
    for body, priority in (("1", None), ("2", 3), ("3", 10), ("4", 3), ("5", 255)):
        channel.basic_publish("", queue, body, pika.BasicProperties(priority=priority))
    check("waiting", channel.queue_declare(queue, passive=True).method.message_count, 5)
    channel.basic_qos(prefetch_count=1)
    got = []
    for method, properties, body in channel.consume(queue):
        again = body == b"2" and not method.redelivered
        got.append((body.decode(), properties.priority, method.redelivered))
        if again:
            channel.basic_nack(method.delivery_tag)
            continue
        channel.basic_ack(method.delivery_tag)
        if len(got) == 6:
            break
    channel.cancel()
    check("deliveries", got, [
        ("3", 10, False), ("5", 255, False), ("2", 3, False), ("2", 3, True), ("4", 3, False), ("1", None, False),
    ])


for feature in (
    headers_exchange, exchange_bindings, alternate_exchange, mandatory, direct_reply, cancel_notification, requeue,
    properties, refusals, dead_letters, full_queues, priorities,
):
    with pika.BlockingConnection(parameters) as fresh:
        feature(fresh)
    print(feature.__name__, flush=True)
