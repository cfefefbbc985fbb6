"""Publish, consume, reconnect with pika.

usage: pika_roundtrip.py HOST:PORT QUEUE COUNT

Publishes the numbers 1 to COUNT with confirms and consumes them with manual
acknowledgement. After half of them it prints "half" and waits for the broker
to go away and come back. Prints what it received as JSON at the end.
"""

import json
import sys
import time

import pika
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
queue, count = sys.argv[2], int(sys.argv[3])
deadline = time.monotonic() + 60


def connect():
    """Dials until the broker answers."""
    parameters = pika.ConnectionParameters(host, int(port), socket_timeout=5, blocked_connection_timeout=30)
    while True:
        try:
            connection = pika.BlockingConnection(parameters)
            break
        except (pika.exceptions.AMQPError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    channel = connection.channel()
    channel.queue_declare(queue, durable=True)
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=10)
    return connection, channel


def publish(channel, numbers):
    """Publishes and waits for each confirm."""
    for n in numbers:
        properties = pika.BasicProperties(delivery_mode=2, content_type="text/plain", headers={"n": n})
        channel.basic_publish("", queue, str(n), properties, mandatory=True)


def consume(channel, want):
    """Consumes and acknowledges until want messages have come."""
    got = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=30):
        if method is None:
            raise RuntimeError(f"only {len(got)} of {want} messages came")
        n = int(body)
        if properties.headers["n"] != n or properties.content_type != "text/plain":
            raise RuntimeError(f"message {n} came with {properties}")
        channel.basic_ack(method.delivery_tag)
        got.append([n, method.redelivered])
        if len(got) == want:
            break
    channel.cancel()
    return got


def await_loss(connection):
    """Waits until the broker has gone."""
    try:
        while time.monotonic() < deadline:
            connection.process_data_events(time_limit=0.05)
    except pika.exceptions.AMQPError:
        return
    raise RuntimeError("the broker never went away")


half = count // 2
connection, channel = connect()
publish(channel, range(1, half + 1))
received = consume(channel, half - 1)  # one stays behind for after the restart
print("half", flush=True)
await_loss(connection)
connection, channel = connect()
publish(channel, range(half + 1, count + 1))
while not received or received[-1][0] != count:
    received += consume(channel, 1)
print(json.dumps(received), flush=True)
channel.queue_delete(queue)
connection.close()
