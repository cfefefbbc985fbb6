"""Log in by certificates with pika.

usage: pika_external.py HOST:PORT DIRECTORY

The directory has ca.pem, and guest.pem and ghost.pem with their keys. guest is
a user of the broker, ghost is not.
"""

import ssl
import sys

import pika
import pika.credentials
import pika.exceptions

host, port = sys.argv[1].rsplit(":", 1)
directory = sys.argv[2]


def connect(name):
    """Logs in with a certificate, or with none."""
    context = ssl.create_default_context(cafile=f"{directory}/ca.pem")
    if name:
        context.load_cert_chain(f"{directory}/{name}.pem", f"{directory}/{name}-key.pem")
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            host,
            int(port),
            credentials=pika.credentials.ExternalCredentials(),
            ssl_options=pika.SSLOptions(context, host),
            socket_timeout=10,
        )
    )


def refused(name, error):
    """Checks that a login fails in one way."""
    try:
        connect(name)
    except error as got:
        print(f"{name}: {got!r}")
        return
    raise RuntimeError(f"{name} was let in")


connection = connect("guest")
channel = connection.channel()
queue = channel.queue_declare("", exclusive=True).method.queue
channel.confirm_delivery()
channel.basic_publish("", queue, b"hello", pika.BasicProperties(user_id="guest"), mandatory=True)
method, properties, body = channel.basic_get(queue, auto_ack=True)
if body != b"hello":
    raise RuntimeError(f"got {body!r}")
connection.close()
refused("ghost", pika.exceptions.ProbableAuthenticationError)
refused(None, pika.exceptions.AuthenticationError)
