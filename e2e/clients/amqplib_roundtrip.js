// Publish, consume, reconnect with amqplib.
//
// usage: node amqplib_roundtrip.js HOST:PORT QUEUE COUNT
//
// Publishes the numbers 1 to COUNT with confirms and consumes them with manual
// acknowledgement. After half of them it prints "half" and waits for the
// broker to go away and come back. Prints what it received as JSON at the end.
'use strict';

const amqp = require('amqplib');

const [addr, queue, countText] = process.argv.slice(2);
const count = Number(countText);
const received = [];

// connect dials until the broker answers.
async function connect() {
  for (;;) {
    try {
      const connection = await amqp.connect(`amqp://guest:guest@${addr}`);
      connection.on('error', () => {});
      const channel = await connection.createConfirmChannel();
      channel.on('error', () => {});
      await channel.assertQueue(queue, { durable: true });
      await channel.prefetch(10);
      return { connection, channel };
    } catch (err) {
      if (process.uptime() > 60) throw err;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

// publish sends the numbers from first to last and waits for their confirms.
async function publish(channel, first, last) {
  for (let n = first; n <= last; n++) {
    channel.sendToQueue(queue, Buffer.from(String(n)), { persistent: true, headers: { n } });
  }
  await channel.waitForConfirms();
}

// consume acknowledges messages until enough says so.
async function consume(channel, enough) {
  await new Promise((resolve, reject) => {
    channel.consume(queue, (msg) => {
      if (msg === null) return reject(new Error('the broker cancelled the consumer'));
      const n = Number(msg.content.toString());
      if (msg.properties.headers.n !== n) return reject(new Error(`message ${n} has another header`));
      channel.ack(msg);
      received.push([n, msg.fields.redelivered]);
      if (enough(n)) resolve();
    }, { consumerTag: 'roundtrip' }).catch(reject);
  });
}

async function main() {
  const half = Math.floor(count / 2);
  let { connection, channel } = await connect();
  await publish(channel, 1, half);
  await consume(channel, (n) => n === half);
  const lost = new Promise((resolve) => connection.on('close', resolve));
  process.stdout.write('half\n');
  await lost;
  ({ connection, channel } = await connect());
  await publish(channel, half + 1, count);
  await consume(channel, (n) => n === count);
  await channel.deleteQueue(queue);
  await connection.close();
  process.stdout.write(JSON.stringify(received) + '\n');
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
