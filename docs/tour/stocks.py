"""Publishes monthly prices of stocks over AMQP and waits for every confirm.

The routing key stock.IBM is the topic stock/IBM for MQTT clients.
"""

import csv

import pika

connection = pika.BlockingConnection(pika.URLParameters("amqp://guest:guest@127.0.0.1:5672/%2F"))
channel = connection.channel()
channel.confirm_delivery()  # basic_publish now returns when the broker has confirmed

count = 0
with open("e2e/testdata/stocks.csv", newline="") as prices:
    for row in csv.DictReader(prices):
        channel.basic_publish(
            exchange="amq.topic",
            routing_key="stock." + row["symbol"],
            body=f"{row['date']} {row['price']}",
            properties=pika.BasicProperties(delivery_mode=2),  # persistent
        )
        count += 1

connection.close()
print(f"{count} prices published, all confirmed")
