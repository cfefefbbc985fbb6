"""Times to live, lengths, policies and how queues share, with pika.

usage: pika_lifecycle.py HOST:PORT HTTP-HOST:PORT

Each function is a feature; the program ends with the first that is not as it
should be, and prints the names of those that were.
"""

import base64
import json
import sys
import urllib.error
import urllib.request

import pika
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
parameters = pika.ConnectionParameters(host, int(port), socket_timeout=20, blocked_connection_timeout=20)


def check(what, got, want):
    if got != want:
        raise RuntimeError(f"{what}: got {got!r}, want {want!r}")


def api(method, path, body=None):
    """Calls the management API, and expects that it does as it is told."""
    request = urllib.request.Request(f"http://{sys.argv[2]}/api/{path}", method=method)
    request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
    request.add_header("Content-Type", "application/json")
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(request, data, timeout=20) as response:
        return response.status


def own(channel, **arguments):
    """Makes a queue that goes with the connection."""
    named = {"x-" + name.replace("_", "-"): value for name, value in arguments.items()}
    return channel.queue_declare("", exclusive=True, arguments=named).method.queue


def drain(channel, queue):
    """Takes the bodies of all messages of a queue."""
    bodies = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return bodies
        bodies.append(body.decode())


def ready(channel, queue):
    return channel.queue_declare(queue, passive=True).method.message_count


def until(connection, done):
    """Serves the connection until something has happened."""
    for _ in range(200):
        if done():
            return
        connection.process_data_events(time_limit=0.1)
    raise RuntimeError("too long")


def publish(channel, queue, *bodies, **properties):
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(**properties))


def one(channel, queue):
    """Waits for the next message of a queue."""
    for method, properties, body in channel.consume(queue, inactivity_timeout=20, auto_ack=True):
        if method is None:
            raise RuntimeError(f"nothing came from {queue}")
        channel.cancel()
        return properties, body.decode()


def times_to_live(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    dead = own(channel)
    for arguments, expiration in (({}, "5"), ({"message_ttl": 5}, None), ({"message_ttl": 60000}, "5")):
        queue = own(channel, dead_letter_exchange="", dead_letter_routing_key=dead, **arguments)
        publish(channel, queue, "short", expiration=expiration)
        properties, body = one(channel, dead)
        check("dead letter", body, "short")
        death = properties.headers["x-death"][0]
        check("reason", (death["queue"], death["reason"]), (queue, "expired"))
        check("original", death.get("original-expiration"), expiration)
        check("expiration", properties.expiration, None)
        check("left", ready(channel, queue), 0)
    queue = own(channel, message_ttl=0)
    publish(channel, queue, "nobody waits")
    check("without any time", drain(channel, queue), [])


def behind_a_longer_one(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    dead = own(channel)
    queue = own(channel, dead_letter_exchange="", dead_letter_routing_key=dead)
    publish(channel, queue, "long", expiration="600000")
    publish(channel, queue, "short", expiration="5")
    check("went first", one(channel, dead)[1], "short")
    check("stays", drain(channel, queue), ["long"])


def unused_queues(connection):
    looker = connection.channel()
    api("PUT", "policies/%2F/pika.unused", {"pattern": "^pika\\.unused$", "apply-to": "queues", "definition": {
        "expires": 3600000}})
    looker.queue_declare("pika.unused", arguments={"x-expires": 200})
    for _ in range(300):  # looking over HTTP is no use of the queue
        request = urllib.request.Request(f"http://{sys.argv[2]}/api/queues/%2F/pika.unused")
        request.add_header("Authorization", "Basic " + base64.b64encode(b"guest:guest").decode())
        try:
            urllib.request.urlopen(request, timeout=20).close()
        except urllib.error.HTTPError as e:
            check("code", e.code, 404)
            break
        connection.process_data_events(time_limit=0.1)
    else:
        raise RuntimeError("the queue did not end")
    api("DELETE", "policies/%2F/pika.unused")


def lengths(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    dead = own(channel)
    letters = {"dead_letter_exchange": "", "dead_letter_routing_key": dead}
    queue = own(channel, max_length=2, **letters)
    publish(channel, queue, "1", "2", "3")
    check("dropped", one(channel, dead)[1], "1")
    check("kept", drain(channel, queue), ["2", "3"])
    queue = own(channel, max_length_bytes=4, overflow="drop-head")
    publish(channel, queue, "aa", "bb", "cc")
    check("kept bytes", drain(channel, queue), ["bb", "cc"])
    for overflow, want in (("reject-publish", []), ("reject-publish-dlx", ["2"])):
        queue = own(channel, max_length=1, overflow=overflow, **letters)
        publish(channel, queue, "1")
        try:
            publish(channel, queue, "2")
        except pika.exceptions.NackError:
            pass
        else:
            raise RuntimeError(f"{overflow}: a full queue takes more")
        check(overflow, (drain(channel, queue), drain(channel, dead)), (["1"], want))


def policies(connection):
    channel = connection.channel()
    channel.confirm_delivery()
    channel.queue_declare("pika.governed")
    publish(channel, "pika.governed", "1", "2", "3")
    api("PUT", "policies/%2F/pika", {"pattern": "^pika\\.governed$", "apply-to": "queues", "priority": 1, "definition": {
        "max-length": 1, "overflow": "reject-publish"}})
    try:
        publish(channel, "pika.governed", "4")
    except pika.exceptions.NackError:
        pass
    else:
        raise RuntimeError("a full queue takes more")
    api("DELETE", "policies/%2F/pika")
    publish(channel, "pika.governed", "5")
    check("without it", drain(channel, "pika.governed"), ["1", "2", "3", "5"])
    channel.queue_delete("pika.governed")


def single_active_consumer(connection):
    channel = connection.channel()
    queue = own(channel, single_active_consumer=True)
    got = []
    for name in ("first", "second"):
        channel.basic_consume(queue, lambda _c, m, _p, body: got.append((m.consumer_tag, body)), True, consumer_tag=name)
    publish(channel, queue, "1", "2")
    until(connection, lambda: len(got) == 2)
    channel.basic_cancel("first")
    publish(channel, queue, "3")
    until(connection, lambda: len(got) == 3)
    check("served", got, [("first", b"1"), ("first", b"2"), ("second", b"3")])


def consumer_priorities(connection):
    channel = connection.channel()
    queue = own(channel)
    got = []
    channel.basic_qos(prefetch_count=1)
    for name, priority in (("low", -1), ("high", 5)):
        channel.basic_consume(
            queue, lambda _c, m, _p, body: got.append((m.consumer_tag, body)), consumer_tag=name,
            arguments={"x-priority": priority},
        )
    for body in ("1", "2"):  # the high one has room for the first alone
        publish(channel, queue, body)
        until(connection, lambda want=int(body): len(got) == want)
    check("served", got, [("high", b"1"), ("low", b"2")])


def exclusive_consumers(connection):
    channel = connection.channel()
    queue = own(channel)
    channel.basic_consume(queue, lambda *_: None, exclusive=True)
    try:
        connection.channel().basic_consume(queue, lambda *_: None)
    except pika.exceptions.ChannelClosedByBroker as e:
        check("code", e.reply_code, 403)
        check("text", "in exclusive use" in e.reply_text, True)
        return
    raise RuntimeError("a second consumer beside an exclusive one")


def prefetch_of_a_channel(connection):
    channel = connection.channel()
    queues = [own(channel), own(channel)]
    for queue in queues:
        publish(channel, queue, "1", "2")
    channel.basic_qos(prefetch_count=3, global_qos=True)
    tags = []
    for queue in queues:
        channel.basic_consume(queue, lambda _c, m, _p, _b: tags.append(m.delivery_tag))
    until(connection, lambda: len(tags) == 3)
    waiting = sum(ready(channel, queue) for queue in queues)
    check("held back", (len(tags), waiting), (3, 1))
    channel.basic_ack(tags[0])
    until(connection, lambda: len(tags) == 4)


def consistent_hash(connection):
    channel = connection.channel()
    channel.exchange_declare("pika.hash", "x-consistent-hash", auto_delete=True)
    queues = [own(channel), own(channel)]
    for queue in queues:
        channel.queue_bind(queue, "pika.hash", "1")
    for n in range(200):
        channel.basic_publish("pika.hash", str(n % 100), str(n % 100))
    shares = [drain(channel, queue) for queue in queues]
    check("all", sorted(map(len, shares))[0] > 0 and sum(map(len, shares)), 200)
    check("a key has one queue", set(shares[0]) & set(shares[1]), set())


def copies(connection):
    channel = connection.channel()
    to, cc, bcc = own(channel), own(channel), own(channel)
    publish(channel, to, "x", headers={"CC": [cc], "BCC": [bcc]})
    for queue in (to, cc, bcc):
        _, properties, body = channel.basic_get(queue, auto_ack=True)
        check(queue, (body, properties.headers), (b"x", {"CC": [cc]}))


def blocked(connection):
    channel = connection.channel()
    queue = own(channel)
    told = []
    connection.add_on_connection_blocked_callback(lambda _c, frame: told.append(frame.method.reason))
    connection.add_on_connection_unblocked_callback(lambda _c, _frame: told.append("unblocked"))
    api("PUT", "pressure", {"memory_high_bytes": 1})
    publish(channel, queue, "held")
    until(connection, lambda: len(told) == 1)
    check("other channels go on", ready(connection.channel(), queue), 0)
    api("PUT", "pressure", {"memory_high_bytes": 0})
    until(connection, lambda: len(told) == 2)
    check("told", told, ["low on memory", "unblocked"])
    check("in the queue", drain(channel, queue), ["held"])


def blocked_for_too_long(_):
    impatient = pika.ConnectionParameters(host, int(port), socket_timeout=20, blocked_connection_timeout=0.2)
    connection = pika.BlockingConnection(impatient)
    channel = connection.channel()
    queue = own(channel)
    api("PUT", "pressure", {"memory_high_bytes": 1})
    publish(channel, queue, "never taken")
    try:
        until(connection, lambda: False)
    except pika.exceptions.ConnectionBlockedTimeout:
        pass
    finally:
        api("PUT", "pressure", {"memory_high_bytes": 0})


def wrong_passwords(_):
    wrong = pika.ConnectionParameters(host, int(port), credentials=pika.PlainCredentials("guest", "wrong"))
    try:
        pika.BlockingConnection(wrong)
    except pika.exceptions.ProbableAuthenticationError:
        return
    raise RuntimeError("a wrong password was taken")


for feature in (
    times_to_live, behind_a_longer_one, unused_queues, lengths, policies, single_active_consumer, consumer_priorities,
    exclusive_consumers, prefetch_of_a_channel, consistent_hash, copies, blocked,
    blocked_for_too_long, wrong_passwords,
):
    with pika.BlockingConnection(parameters) as fresh:
        feature(fresh)
    print(feature.__name__, flush=True)
