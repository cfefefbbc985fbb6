"""Read a stream queue from each kind of offset with pika.

usage: pika_stream.py HOST:PORT QUEUE

Publishes the numbers 0 to 29, reads them from each kind of offset, twice, and
with filters, and tries what streams refuse. Prints "ok" at the end.
"""

import datetime
import sys
import time

import pika
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
queue = sys.argv[2]
arguments = {"x-queue-type": "stream", "x-max-age": "1D"}
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=5))


def numbered(n):
    """Publishes a number; all but each third have the filter value odd or even."""
    headers = {"x-stream-filter-value": ["even", "odd"][n % 2]} if n % 3 else None
    channel.basic_publish("", queue, str(n), pika.BasicProperties(delivery_mode=2, headers=headers))


def read(offset, count, **more):
    """Reads messages from an offset on and returns their numbers."""
    channel = connection.channel()
    channel.basic_qos(prefetch_count=5)
    got = []
    for method, properties, body in channel.consume(
        queue, inactivity_timeout=20, arguments={"x-stream-offset": offset, **more}
    ):
        if method is None:
            raise RuntimeError(f"{offset!r}: only {got}")
        if properties.headers["x-stream-offset"] != int(body):
            raise RuntimeError(f"message {body!r} came with {properties}")
        channel.basic_ack(method.delivery_tag)
        got.append(int(body))
        if len(got) == count:
            break
    channel.cancel()
    channel.close()
    return got


def refused(code, action):
    """Checks that a channel or the connection is closed with a code."""
    other = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=5))
    try:
        action(other.channel())
    except (pika.exceptions.ChannelClosedByBroker, pika.exceptions.ConnectionClosedByBroker) as closed:
        if closed.reply_code != code:
            raise RuntimeError(f"closed with {closed}, want {code}") from closed
        return
    raise RuntimeError(f"not refused with {code}")


channel = connection.channel()
channel.queue_declare(queue, durable=True, arguments=arguments)
channel.confirm_delivery()
for n in range(20):
    numbered(n)
time.sleep(1.5)
between = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)  # pika sends naive times as UTC
for n in range(20, 30):
    numbered(n)
for _ in range(2):
    for offset, want in [
        ("first", range(30)),
        ("last", [29]),
        (7, range(7, 30)),
        (between, range(20, 30)),
        ("10m", range(30)),
    ]:
        got = read(offset, len(want))
        if got != list(want):
            raise RuntimeError(f"{offset!r}: got {got}, want {list(want)}")
for filters, want in [
    ({"x-stream-filter": "odd"}, [n for n in range(3, 30) if n % 3 and n % 2]),
    ({"x-stream-filter": ["odd", "even"]}, [n for n in range(3, 30) if n % 3]),
    ({"x-stream-filter": "even", "x-stream-match-unfiltered": True}, [n for n in range(3, 30) if n % 3 == 0 or n % 2 == 0]),
]:
    got = read(3, len(want), **filters)
    if got != want:
        raise RuntimeError(f"{filters}: got {got}, want {want}")
refused(540, lambda ch: ch.basic_get(queue))
refused(540, lambda ch: ch.queue_purge(queue))
refused(406, lambda ch: ch.basic_consume(queue, lambda *_: None))
refused(406, lambda ch: ch.queue_declare(queue, durable=True, arguments={"x-queue-type": "stream"}))
channel.queue_delete(queue)
connection.close()
print("ok")
