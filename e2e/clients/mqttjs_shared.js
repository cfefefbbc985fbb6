// Be a member of a group with MQTT.js.
//
// usage: node mqttjs_shared.js URL FILTER VERSION
//
// Prints "Subscribed" and then "got" with the payload of each message, until it is killed.
'use strict';

const mqtt = require('mqtt');

const [url, filter, version] = process.argv.slice(2);
const client = mqtt.connect(url, { protocolVersion: Number(version), clean: true });
client.on('connect', async () => {
  const [granted] = await client.subscribeAsync(filter, { qos: 2 });
  if (granted.qos !== 2) process.exit(1);
  process.stdout.write('Subscribed\n');
});
client.on('message', (_, payload) => process.stdout.write(`got ${payload}\n`));
