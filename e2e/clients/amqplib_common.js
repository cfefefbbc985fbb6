// What the programs with amqplib share: waits that end, queues of their own, and
// how features are run one after the other.
'use strict';

const assert = require('node:assert/strict');
const amqp = require('amqplib');

// within ends a wait that takes too long.
function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`too long: ${what}`)), 20000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// own makes a queue that goes with the connection.
async function own(channel, options = {}) {
  return (await channel.assertQueue('', { exclusive: true, ...options })).queue;
}

// bound makes a queue that goes with the connection, bound to an exchange.
async function bound(channel, exchange, key = '', args = {}) {
  const queue = await own(channel);
  await channel.bindQueue(queue, exchange, key, args);
  return queue;
}

// drain takes the bodies of all messages of a queue.
async function drain(channel, queue) {
  const bodies = [];
  for (;;) {
    const msg = await channel.get(queue, { noAck: true });
    if (!msg) return bodies;
    bodies.push(msg.content.toString());
  }
}

// take consumes n messages, acknowledges them, and ends the consumer.
async function take(channel, queue, n, options = {}) {
  const got = [];
  let tell;
  const done = new Promise((resolve) => { tell = resolve; });
  const { consumerTag } = await channel.consume(queue, (msg) => {
    if (!msg || got.length === n) return;
    got.push(msg);
    channel.ack(msg);
    if (got.length === n) tell();
  }, options);
  await within(done, `${n} messages of ${queue}`);
  await channel.cancel(consumerTag);
  return got;
}

// closes checks that a call closes its channel with a code and words.
async function closes(connection, code, text, call) {
  const channel = await connection.createChannel();
  const error = new Promise((resolve) => channel.on('error', resolve));
  await Promise.resolve(call(channel)).catch(() => {});
  const err = await within(error, text);
  assert.equal(err.code, code);
  assert.ok(err.message.includes(text), `${err.message} does not say ${text}`);
}

// refused publishes what a full queue does not take.
function refused(channel, queue, body) {
  return within(new Promise((resolve, reject) => {
    channel.sendToQueue(queue, Buffer.from(body), {}, (err) => (err ? resolve() : reject(new Error(`${body} was taken`))));
  }), 'a nack');
}

// Arrivals collects what comes, and waits until there is so much of it.
class Arrivals {
  constructor() {
    this.all = [];
    this.wake = () => {};
  }

  add(what) {
    this.all.push(what);
    this.wake();
  }

  come(n) {
    return within(new Promise((resolve) => {
      this.wake = () => { if (this.all.length >= n) resolve(); };
      this.wake();
    }), `${n} to come`);
  }
}

// run carries out each feature on a connection of its own. The program ends with
// the first that is not as it should be, and prints the names of those that were.
function run(features) {
  const url = `amqp://guest:guest@${process.argv[2]}`;
  (async () => {
    for (const [name, feature] of Object.entries(features)) {
      const connection = await within(amqp.connect(url), 'the connection');
      await within(feature(connection), name);
      await connection.close();
      process.stdout.write(`${name}\n`);
    }
  })().catch((err) => {
    console.error(err);
    process.exit(1);
  });
}

module.exports = { within, own, bound, drain, take, closes, refused, run, Arrivals };
