// Publish, consume, reconnect with MQTT.js.
//
// usage: node mqttjs_roundtrip.js URL TOPIC COUNT [4|5]
//
// One durable session subscribes to TOPIC and publishes the numbers 1 to COUNT
// half of them with QoS 1 and half with QoS 2: MQTT orders messages of one QoS only.
// After the first half it prints "half" and waits for
// the broker to go away and come back; the library reconnects. Prints what it
// received as JSON at the end.
'use strict';

const mqtt = require('mqtt');

const [url, topic, countText, version] = process.argv.slice(2);
const count = Number(countText);
const half = Math.floor(count / 2);
const received = [];
let connects = 0;
let waits = 2; // for the first half to come, and for its acknowledgements

const options = {
  clientId: `mqttjs-${process.pid}`,
  clean: false,
  protocolVersion: Number(version || 4),
  reconnectPeriod: 50,
  connectTimeout: 5000,
  resubscribe: false,
};
if (options.protocolVersion === 5) options.properties = { sessionExpiryInterval: 3600 };
const client = mqtt.connect(url, options);

function fail(err) {
  console.error(err);
  process.exit(1);
}

async function publish(first, last) {
  for (let n = first; n <= last; n++) {
    await client.publishAsync(topic, String(n), { qos: n <= half ? 1 : 2 });
  }
}

// halfDone tells of the half once its messages and its acknowledgements have come: one
// without its acknowledgement would be published again, as a second message.
function halfDone() {
  waits--;
  if (waits === 0) process.stdout.write('half\n');
}

client.on('connect', async (connack) => {
  connects++;
  try {
    if (connects === 1) {
      const [granted] = await client.subscribeAsync(topic, { qos: 2 });
      if (granted.qos !== 2) throw new Error(`granted QoS ${granted.qos}`);
      await publish(1, half);
      halfDone();
    } else if (connects === 2) {
      if (!connack.sessionPresent) throw new Error('the broker forgot the session');
      await publish(half + 1, count);
    }
  } catch (err) {
    fail(err);
  }
});

client.on('message', async (_, payload, packet) => {
  const n = Number(payload.toString());
  received.push([n, packet.dup]);
  if (n === half && connects === 1) halfDone();
  if (n === count) {
    process.stdout.write(JSON.stringify(received) + '\n');
    await client.endAsync();
  }
});

client.on('error', (err) => {
  if (!['ECONNREFUSED', 'ECONNRESET', 'EPIPE'].includes(err.code)) fail(err);
});
