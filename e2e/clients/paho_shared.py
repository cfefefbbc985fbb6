"""Be a member of a group with paho-mqtt for Python.

usage: paho_shared.py HOST:PORT FILTER

Prints "Subscribed" and then "got" with the payload of each message, until it is killed.
"""

import sys

import paho.mqtt.client as mqtt

host, port = sys.argv[1].rsplit(":", 1)


def on_connect(client, userdata, flags, rc, *more):
    client.subscribe(sys.argv[2], qos=2)


def on_subscribe(client, userdata, mid, granted, *more):
    if granted[0] != 2:
        sys.exit("granted %s" % granted[0])
    print("Subscribed", flush=True)


def on_message(client, userdata, message):
    print("got " + message.payload.decode(), flush=True)


arguments = {"client_id": "paho-py-shared"}
if hasattr(mqtt, "CallbackAPIVersion"):
    arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
client = mqtt.Client(**arguments)
client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
client.connect(host, int(port), keepalive=30)
client.loop_forever()
