// Times to live, lengths, streams, how queues share and logins, with amqplib.
//
// usage: node amqplib_lifecycle.js HOST:PORT
//
// Each function is a feature; the program ends with the first that is not as it
// should be, and prints the names of those that were.
'use strict';

const assert = require('node:assert/strict');
const amqp = require('amqplib');
const { credentials } = require('amqplib');
const { within, own, drain, take, refused, run, Arrivals } = require('./amqplib_common');

const features = {
  async timesToLive(connection) {
    const channel = await connection.createConfirmChannel();
    const dead = await own(channel);
    const letters = { deadLetterExchange: '', deadLetterRoutingKey: dead };
    for (const [options, expiration] of [[{}, '5'], [{ messageTtl: 5 }, undefined]]) {
      const queue = await own(channel, { ...letters, ...options });
      channel.sendToQueue(queue, Buffer.from('short'), { expiration });
      const [msg] = await take(channel, dead, 1);
      const [death] = msg.properties.headers['x-death'];
      assert.deepEqual([death.queue, death.reason, death.count], [queue, 'expired', 1]);
      assert.equal(death['original-expiration'], expiration);
    }
  },

  async lengths(connection) {
    const channel = await connection.createConfirmChannel();
    const dead = await own(channel);
    const letters = { deadLetterExchange: '', deadLetterRoutingKey: dead };
    const dropping = await own(channel, { ...letters, maxLength: 2 });
    for (const body of ['1', '2', '3']) channel.sendToQueue(dropping, Buffer.from(body));
    await channel.waitForConfirms();
    const [msg] = await take(channel, dead, 1);
    assert.equal(msg.content.toString(), '1');
    assert.deepEqual(await drain(channel, dropping), ['2', '3']);
    for (const [overflow, want] of [['reject-publish', []], ['reject-publish-dlx', ['2']]]) {
      const full = await own(channel, { ...letters, maxLength: 1, arguments: { 'x-overflow': overflow } });
      channel.sendToQueue(full, Buffer.from('1'));
      await channel.waitForConfirms();
      await refused(channel, full, '2');
      assert.deepEqual(await drain(channel, full), ['1']);
      assert.deepEqual(await drain(channel, dead), want);
    }
  },

  async streams(connection) {
    const channel = await connection.createConfirmChannel();
    const queue = `amqplib.stream.${Date.now()}`;
    await channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'stream' } });
    for (let n = 0; n < 12; n++) {
      const headers = n % 3 ? { 'x-stream-filter-value': n % 2 ? 'odd' : 'even' } : {};
      channel.sendToQueue(queue, Buffer.from(String(n)), { headers });
    }
    await channel.waitForConfirms();
    await channel.prefetch(2);
    for (const [args, want] of [
      [{ 'x-stream-offset': 'first' }, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
      [{ 'x-stream-offset': 9 }, [9, 10, 11]],
      [{ 'x-stream-offset': 'last' }, [11]],
      [{ 'x-stream-offset': 'first', 'x-stream-filter': 'odd' }, [1, 5, 7, 11]],
      [{ 'x-stream-offset': 2, 'x-stream-filter': ['odd', 'even'] }, [2, 4, 5, 7, 8, 10, 11]],
      [{ 'x-stream-offset': 3, 'x-stream-filter': 'odd', 'x-stream-match-unfiltered': true }, [3, 5, 6, 7, 9, 11]],
    ]) {
      const got = await take(channel, queue, want.length, { arguments: args });
      assert.deepEqual(got.map((msg) => Number(msg.content.toString())), want);
      assert.deepEqual(got.map((msg) => Number(msg.properties.headers['x-stream-offset'])), want);
    }
    await channel.deleteQueue(queue);
  },

  async singleActiveConsumer(connection) {
    const channel = await connection.createConfirmChannel();
    const queue = await own(channel, { arguments: { 'x-single-active-consumer': true } });
    const got = new Arrivals();
    for (const consumerTag of ['first', 'second']) {
      await channel.consume(queue, (msg) => got.add(`${consumerTag} ${msg.content}`), { consumerTag, noAck: true });
    }
    channel.sendToQueue(queue, Buffer.from('1'));
    channel.sendToQueue(queue, Buffer.from('2'));
    await got.come(2);
    await channel.cancel('first');
    channel.sendToQueue(queue, Buffer.from('3'));
    await got.come(3);
    assert.deepEqual(got.all, ['first 1', 'first 2', 'second 3']);
  },

  async exclusiveConsumers(connection) {
    const channel = await connection.createChannel();
    const queue = await own(channel);
    await channel.consume(queue, () => {}, { exclusive: true });
    const other = await connection.createChannel();
    const error = new Promise((resolve) => other.on('error', resolve));
    await other.consume(queue, () => {}).catch(() => {});
    const err = await within(error, 'the refusal');
    assert.equal(err.code, 403);
    assert.ok(err.message.includes('in exclusive use'), err.message);
  },

  async consistentHash(connection) {
    const channel = await connection.createConfirmChannel();
    await channel.assertExchange('node.hash', 'x-consistent-hash', { durable: false });
    const queues = [await own(channel), await own(channel)];
    for (const queue of queues) await channel.bindQueue(queue, 'node.hash', '1');
    for (let n = 0; n < 200; n++) channel.publish('node.hash', String(n % 100), Buffer.from(String(n % 100)));
    await channel.waitForConfirms();
    const shares = [await drain(channel, queues[0]), await drain(channel, queues[1])];
    assert.equal(shares[0].length + shares[1].length, 200);
    assert.deepEqual(shares[0].filter((key) => shares[1].includes(key)), []);
    await channel.deleteExchange('node.hash');
  },

  async confirmsOfMany(connection) {
    const channel = await connection.createConfirmChannel();
    const queue = await own(channel);
    let confirmed = 0;
    for (let n = 0; n < 640; n++) {
      channel.sendToQueue(queue, Buffer.from(String(n)), {}, (err) => { confirmed += err ? 0 : 1; });
    }
    await within(channel.waitForConfirms(), 'the confirms');
    assert.equal(confirmed, 640);
    assert.equal((await channel.checkQueue(queue)).messageCount, 640);
  },

  async updateSecret(connection) {
    await within(connection.updateSecret(Buffer.from('another'), 'because'), 'the answer');
    const channel = await connection.createChannel();
    await own(channel);
  },

  async amqplain() {
    const connection = await amqp.connect(`amqp://${process.argv[2]}`, { credentials: credentials.amqplain('guest', 'guest') });
    await own(await connection.createChannel());
    await connection.close();
    await assert.rejects(
      amqp.connect(`amqp://${process.argv[2]}`, { credentials: credentials.amqplain('guest', 'wrong') }),
      /ACCESS_REFUSED - Login was refused using authentication mechanism AMQPLAIN/,
    );
  },
};

run(features);
