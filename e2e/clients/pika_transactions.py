"""Commit, roll back and move messages by transactions with pika.

usage: pika_transactions.py HOST:PORT QUEUE

Prints "ok" at the end.
"""

import sys

import pika
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
queues = [f"{sys.argv[2]}.{i}" for i in range(4)]
connection = pika.BlockingConnection(pika.ConnectionParameters(host, int(port), socket_timeout=5))
channel = connection.channel()
looker = connection.channel()
persistent = pika.BasicProperties(delivery_mode=2)


def expect(*counts):
    """Checks how many messages wait in the queues."""
    got = tuple(looker.queue_declare(queue, passive=True).method.message_count for queue in queues)
    if got != counts:
        raise RuntimeError(f"the queues have {got} messages, want {counts}")


for queue in queues:
    channel.queue_declare(queue, durable=True)
channel.tx_select()
for n, queue in enumerate(queues):
    for _ in range(n + 1):
        channel.basic_publish("", queue, b"x", persistent)
expect(0, 0, 0, 0)
channel.tx_commit()
expect(1, 2, 3, 4)

channel.basic_publish("", queues[0], b"x", persistent)
method, _, _ = channel.basic_get(queues[3])
channel.basic_ack(method.delivery_tag)
channel.tx_rollback()
expect(1, 2, 3, 3)  # it is still unacknowledged

channel.basic_ack(method.delivery_tag)
for queue in queues[:3]:
    channel.basic_publish("", queue, b"y", persistent)
channel.tx_commit()
expect(2, 3, 4, 3)

for queue in queues:  # settled and not committed: back when the channel closes
    method, _, _ = channel.basic_get(queue)
    channel.basic_ack(method.delivery_tag)
channel.close()
expect(2, 3, 4, 3)

returned = []
channel = connection.channel()
channel.add_on_return_callback(lambda *arguments: returned.append(arguments[3]))
channel.tx_select()
channel.basic_publish("amq.direct", "nobody", b"back", mandatory=True)
expect(2, 3, 4, 3)
if returned:
    raise RuntimeError("a return before the commit")
channel.tx_commit()
connection.process_data_events(1)
if returned != [b"back"]:
    raise RuntimeError(f"returned: {returned}")

try:
    connection.channel().confirm_delivery()
    channel.confirm_delivery()
    raise RuntimeError("confirms on a transactional channel")
except pika.exceptions.ChannelClosedByBroker as closed:
    if closed.reply_code != 406:
        raise
connection.close()
print("ok")
