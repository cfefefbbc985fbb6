"""Publish, consume, reconnect with paho-mqtt for Python.

usage: paho_roundtrip.py HOST:PORT TOPIC COUNT

One durable session subscribes to TOPIC and publishes the numbers 1 to COUNT,
half of them with QoS 1 and half with QoS 2: MQTT orders messages of one QoS
only, and the library reports one of QoS 2 when its PUBREL has come. After the
first half it prints "half" and waits for the
broker to go away and come back; the library reconnects. Prints what it
received as JSON at the end.
"""

import json
import os
import sys
import threading

import paho.mqtt.client as mqtt

host, port = sys.argv[1].rsplit(":", 1)
topic, count = sys.argv[2], int(sys.argv[3])
half = count // 2
received = []
connected = [threading.Event(), threading.Event()]
subscribed, half_done, done = threading.Event(), threading.Event(), threading.Event()
connects = 0


def on_connect(client, userdata, flags, rc, *more):
    global connects
    connects += 1
    if connects == 1:
        client.subscribe(topic, qos=2)
    elif not flags["session present"]:
        sys.exit("the broker forgot the session")
    connected[min(connects, 2) - 1].set()


def on_subscribe(*args):
    subscribed.set()


def on_message(client, userdata, message):
    n = int(message.payload)
    received.append([n, bool(message.dup)])
    if n == half:
        half_done.set()
    if n == count:
        done.set()


def await_event(event, what):
    if not event.wait(60):
        sys.exit("timed out: " + what)


def publish(client, numbers):
    for n in numbers:
        client.publish(topic, str(n), qos=1 if n <= half else 2).wait_for_publish(60)


arguments = {"client_id": "paho-py-%d" % os.getpid(), "clean_session": False}
if hasattr(mqtt, "CallbackAPIVersion"):
    arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
client = mqtt.Client(**arguments)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.reconnect_delay_set(1, 1)
client.connect(host, int(port), keepalive=30)
client.loop_start()
await_event(subscribed, "first subscription")
publish(client, range(1, half + 1))
await_event(half_done, "first half")
print("half", flush=True)
await_event(connected[1], "reconnection")
publish(client, range(half + 1, count + 1))
await_event(done, "second half")
print(json.dumps(received), flush=True)
client.disconnect()
client.loop_stop()
