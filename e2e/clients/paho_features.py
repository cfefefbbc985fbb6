"""What programs do with paho-mqtt for Python beside publishing and consuming.

usage: paho_features.py HOST:PORT

Each function is a feature, tried with MQTT 3.1.1 or 5; the program ends with the first
that is not as it should be, and prints the names of those that were.
"""

import queue
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

host, port = sys.argv[1].rsplit(":", 1)
PATIENCE = 20


def check(what, got, want):
    if got != want:
        raise RuntimeError(f"{what}: got {got!r}, want {want!r}")


def properties(kind, **values):
    p = Properties(kind)
    for name, value in values.items():
        setattr(p, name, value)
    return p


class Client:
    """A connection whose messages and answers wait in queues."""

    def __init__(self, name, version=mqtt.MQTTv311, clean=True, will=None, connect=None):
        arguments = {"client_id": name, "protocol": version}
        if version != mqtt.MQTTv5:
            arguments["clean_session"] = clean
        if hasattr(mqtt, "CallbackAPIVersion"):
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        self.client = c = mqtt.Client(**arguments)
        self.messages, self.connects, self.subscribed = queue.Queue(), queue.Queue(), queue.Queue()
        self.unsubscribed, self.ended = queue.Queue(), queue.Queue()
        c.on_connect = lambda _, __, flags, code, *more: self.connects.put((flags, code, more))
        c.on_message = lambda _, __, m: self.messages.put(m)
        c.on_subscribe = lambda _, __, ___, granted, *more: self.subscribed.put(granted)
        c.on_unsubscribe = lambda *all: self.unsubscribed.put(all)
        c.on_disconnect = lambda _, __, code, *more: self.ended.put(code)
        if will:
            c.will_set(**will)
        if version == mqtt.MQTTv5:
            c.connect(host, int(port), keepalive=30, clean_start=clean, properties=connect)
        else:
            c.connect(host, int(port), keepalive=30)
        c.loop_start()
        self.flags, _, self.more = self.connects.get(timeout=PATIENCE)

    def present(self):
        return bool(self.flags["session present"])

    def subscribe(self, *args, **kwargs):
        self.client.subscribe(*args, **kwargs)
        return [getattr(code, "value", code) for code in self.subscribed.get(timeout=PATIENCE)]

    def publish(self, topic, payload, qos=1, **kwargs):
        info = self.client.publish(topic, payload, qos, **kwargs)
        info.wait_for_publish(PATIENCE)
        check("published", info.is_published(), True)

    def next(self):
        return self.messages.get(timeout=PATIENCE)

    def take(self, n):
        return [self.next().payload.decode() for _ in range(n)]

    def leave(self):
        self.client.disconnect()
        self.ended.get(timeout=PATIENCE)
        self.client.loop_stop()

    def vanish(self):
        """Ends the connection as a lost one does."""
        self.client.loop_stop()
        self.client.socket().close()


def each_qos(version):
    sub = Client("py-qos-sub", version)
    pub = Client("py-qos-pub", version)
    for granted in (0, 1, 2):
        topic = f"py/qos/{granted}"
        check("granted", sub.subscribe(topic, granted), [granted])
        for qos in (0, 1, 2):
            pub.publish(topic, str(qos), qos)
            message = sub.next()
            check("message", (message.payload.decode(), message.qos), (str(qos), min(granted, qos)))
    sub.client.unsubscribe("py/qos/1")
    sub.unsubscribed.get(timeout=PATIENCE)
    pub.publish("py/qos/1", "gone", 1)
    pub.publish("py/qos/2", "end", 1)
    check("after unsubscribing", sub.take(1), ["end"])
    sub.leave()
    pub.leave()


def sessions(version):
    lasting = properties(PacketTypes.CONNECT, SessionExpiryInterval=3600) if version == mqtt.MQTTv5 else None
    sub = Client("py-session", version, clean=True, connect=lasting) if version == mqtt.MQTTv5 else Client(
        "py-session", version, clean=False)
    check("present at first", sub.present(), False)
    sub.subscribe("py/session", 2)
    sub.leave()
    pub = Client("py-session-pub", version)
    for n in range(30):
        pub.publish("py/session", str(n), 1 + n // 15)
    sub = Client("py-session", version, clean=False, connect=lasting)
    check("present", sub.present(), True)
    check("backlog", sub.take(30), [str(n) for n in range(30)])
    sub.leave()
    sub = Client("py-session", version, clean=True)
    check("present after a clean start", sub.present(), False)
    sub.leave()
    pub.leave()


def retained(version):
    pub = Client("py-retain-pub", version)
    for topic, value in (("a", "old"), ("a", "1"), ("b", "2"), ("c", "3"), ("c", "")):
        pub.publish("py/retained/" + topic, value, 1, retain=True)
    sub = Client("py-retain-sub", version)
    sub.subscribe("py/retained/+", 1)
    got = sorted((m.topic, m.payload.decode(), m.retain) for m in (sub.next(), sub.next()))
    check("retained", got, [("py/retained/a", "1", 1), ("py/retained/b", "2", 1)])
    pub.publish("py/retained/a", "now", 1, retain=True)
    message = sub.next()
    check("live", (message.payload, bool(message.retain)), (b"now", False))
    for topic in "ab":
        pub.publish("py/retained/" + topic, "", 1, retain=True)
    sub.leave()
    pub.leave()


def wills(version):
    sub = Client("py-will-sub", version)
    sub.subscribe("py/will/#", 1)
    Client("py-will-polite", version, will={"topic": "py/will/polite", "payload": "x", "qos": 1}).leave()
    Client("py-will-lost", version, will={"topic": "py/will/lost", "payload": "gone", "qos": 1}).vanish()
    message = sub.next()
    check("will", (message.topic, message.payload), ("py/will/lost", b"gone"))
    sub.leave()


def message_properties(version):
    sub = Client("py-props-sub", version)
    pub = Client("py-props-pub", version)
    sub.subscribe("py/props", options=SubscribeOptions(qos=1), properties=properties(
        PacketTypes.SUBSCRIBE, SubscriptionIdentifier=77))
    pub.publish("py/props", "x", 1, properties=properties(
        PacketTypes.PUBLISH, PayloadFormatIndicator=1, MessageExpiryInterval=600, ContentType="text/plain",
        ResponseTopic="py/answers", CorrelationData=b"\x01\x02", UserProperty=[("a", "1"), ("b", "2"), ("a", "3")]))
    p = sub.next().properties
    check("content type", p.ContentType, "text/plain")
    check("response topic", (p.ResponseTopic, p.CorrelationData), ("py/answers", b"\x01\x02"))
    check("user properties", p.UserProperty, [("a", "1"), ("b", "2"), ("a", "3")])
    check("expiry", 590 <= p.MessageExpiryInterval <= 600, True)
    check("payload format", p.PayloadFormatIndicator, 1)
    check("identifier", p.SubscriptionIdentifier, [77])
    sub.leave()
    pub.leave()


def request_and_response(version):
    server = Client("py-server", version)
    caller = Client("py-caller", version)
    caller.subscribe("py/caller/answers", 1)
    server.subscribe("py/service", 1)
    caller.publish("py/service", "2+2", 1, properties=properties(
        PacketTypes.PUBLISH, ResponseTopic="py/caller/answers", CorrelationData=b"q1"))
    question = server.next().properties
    server.publish(question.ResponseTopic, "4", 1, properties=properties(
        PacketTypes.PUBLISH, CorrelationData=question.CorrelationData))
    answer = caller.next()
    check("answer", (answer.payload, answer.properties.CorrelationData), (b"4", b"q1"))
    server.leave()
    caller.leave()


def aliases(version):
    sub = Client("py-alias-sub", version, connect=properties(PacketTypes.CONNECT, TopicAliasMaximum=5))
    pub = Client("py-alias-pub", version)
    check("alias maximum", pub.more[0].TopicAliasMaximum > 0, True)
    sub.subscribe("py/alias", 1)
    pub.publish("py/alias", "1", 1, properties=properties(PacketTypes.PUBLISH, TopicAlias=1))
    pub.publish("", "2", 1, properties=properties(PacketTypes.PUBLISH, TopicAlias=1))
    check("messages", sub.take(2), ["1", "2"])
    sub.leave()
    pub.leave()


def subscribe_options(version):
    c = Client("py-options", version)
    c.publish("py/options", "kept", 1, retain=True)
    c.subscribe("py/options", options=SubscribeOptions(qos=1, noLocal=True, retainHandling=2))
    c.publish("py/options", "own", 1)
    other = Client("py-options-other", version)
    other.publish("py/options", "other", 1)
    check("no local, no retained", c.take(1), ["other"])
    other.publish("py/options", "", 1, retain=True)
    other.leave()
    c.leave()


def reason_codes(version):
    c = Client("py-reasons", version)
    check("filters", c.subscribe([("py/ok", SubscribeOptions(qos=1)), ("py" + "/" * 130, SubscribeOptions(qos=1))]), [1, 0x8F])
    c.leave()


def receive_maximum(version):
    sub = Client("py-window", version, clean=True, connect=properties(
        PacketTypes.CONNECT, SessionExpiryInterval=3600, ReceiveMaximum=3))
    sub.subscribe("py/window", 2)
    pub = Client("py-window-pub", version)
    for n in range(50):
        pub.publish("py/window", str(n), 2)
    check("messages", sub.take(50), [str(n) for n in range(50)])
    sub.leave()
    pub.leave()


def expiry(version):
    lasting = properties(PacketTypes.CONNECT, SessionExpiryInterval=3600)
    sub = Client("py-expiry", version, clean=True, connect=lasting)
    sub.subscribe("py/expiry", 1)
    sub.leave()
    pub = Client("py-expiry-pub", version)
    pub.publish("py/expiry", "soon gone", 1, properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=1))
    pub.publish("py/expiry", "lasts", 1, properties=properties(PacketTypes.PUBLISH, MessageExpiryInterval=600))
    gone = queue.Queue()
    try:  # a wait of two seconds
        gone.get(timeout=2)
    except queue.Empty:
        pass
    sub = Client("py-expiry", version, clean=False, connect=lasting)
    check("backlog", sub.take(1), ["lasts"])
    sub.leave()
    pub.leave()


for feature in (each_qos, sessions, retained, wills):
    for version, name in ((mqtt.MQTTv311, "3.1.1"), (mqtt.MQTTv5, "5")):
        feature(version)
        print(feature.__name__, name, flush=True)
for feature in (message_properties, request_and_response, aliases, subscribe_options, reason_codes, receive_maximum, expiry):
    feature(mqtt.MQTTv5)
    print(feature.__name__, flush=True)
