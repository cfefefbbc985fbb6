"""Delay messages with pika, as programs written for RabbitMQ's plugin do.

usage: pika_delayed.py HOST:PORT

Prints the name of each feature that works.
"""

import sys
import time

import pika
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
parameters = pika.ConnectionParameters(host, int(port), socket_timeout=5)
connection = pika.BlockingConnection(parameters)
channel = connection.channel()


def delayed(body, headers, exchange="delayed", key="task"):
    channel.basic_publish(exchange, key, body, pika.BasicProperties(delivery_mode=2, headers=headers), mandatory=False)


def receive(count):
    """Returns so many messages with their headers and times."""
    got = []
    for _, properties, body in channel.consume("tasks", auto_ack=True, inactivity_timeout=20):
        if body is None:
            raise RuntimeError(f"got {len(got)} messages of {count}")
        got.append((body.decode(), properties.headers or {}, time.time()))
        if len(got) == count:
            return got


channel.exchange_declare("delayed", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
channel.exchange_declare("delayed", "x-delayed-message", durable=True, arguments={"x-delayed-type": "direct"})
channel.queue_declare("tasks", durable=True)
channel.queue_bind("tasks", "delayed", "task")
channel.confirm_delivery()
print("declare")

begin = time.time()
delayed(b"second", {"x-delay": 600, "n": 2})
delayed(b"first", {"x-delay": "300"})
delayed(b"now", None)
got = receive(3)
assert [body for body, _, _ in got] == ["now", "first", "second"], got
for body, headers, at in got[1:]:
    wait = {"first": 300, "second": 600}[body]
    assert at - begin >= wait / 1000, f"{body} came {at - begin} s after the publish"
    assert headers["x-delay"] == -wait, headers
    assert begin * 1000 + wait <= headers["x-scheduled-at"] + 1, headers
assert got[2][1]["n"] == 2
print("delay")

delayed(b"again", got[1][1])  # with the negated header: at once
assert receive(1)[0][0] == "again"
print("republish")

delayed(b"any exchange", {"x-opt-delivery-time": int(time.time() * 1000) + 200}, exchange="", key="tasks")
assert receive(1)[0][0] == "any exchange"
print("time")

delayed(b"old", {"x-delay": 300, "x-schedule-id": "s"})
delayed(b"new", {"x-delay": 300, "x-schedule-id": "s"})
delayed(b"cancelled", {"x-delay": 100, "x-schedule-id": "t"})
cancel = pika.BasicProperties(headers={"x-schedule-id": "t"})
channel.basic_publish("amq.delayed", "cancel", b"", cancel)
try:
    channel.basic_publish("amq.delayed", "cancel", b"", cancel, mandatory=True)
    raise RuntimeError("cancelled what there was not")
except pika.exceptions.UnroutableError as e:
    assert e.messages[0].method.reply_code == 404, e.messages[0].method
delayed(b"last", {"x-delay": 400})
assert [body for body, _, _ in receive(2)] == ["new", "last"]
print("schedule")

other = connection.channel()
try:
    other.exchange_declare("nothing", "x-delayed-message")
    raise RuntimeError("declared without an inner type")
except pika.exceptions.ChannelClosedByBroker as e:
    assert e.reply_code == 406, e
print("refusal")
connection.close()
