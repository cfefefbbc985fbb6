// What programs do with amqplib beside publishing and consuming.
//
// usage: node amqplib_features.js HOST:PORT
//
// Each function is a feature; the program ends with the first that is not as it
// should be, and prints the names of those that were.
'use strict';

const assert = require('node:assert/strict');
const { within, own, bound, drain, closes, run } = require('./amqplib_common');

const features = {
  async headersExchange(connection) {
    const channel = await connection.createChannel();
    const all = await bound(channel, 'amq.headers', '', { 'x-match': 'all', a: 1, b: 'two' });
    const any = await bound(channel, 'amq.headers', '', { 'x-match': 'any', a: 1, b: 'two' });
    for (const [body, headers] of [['both', { a: 1, b: 'two' }], ['one', { a: 1 }], ['none', { c: 1 }]]) {
      channel.publish('amq.headers', '', Buffer.from(body), { headers });
    }
    assert.deepEqual(await drain(channel, all), ['both']);
    assert.deepEqual(await drain(channel, any), ['both', 'one']);
  },

  async exchangeBindings(connection) {
    const channel = await connection.createChannel();
    await channel.assertExchange('node.source', 'topic', { durable: false });
    await channel.assertExchange('node.target', 'fanout', { durable: false });
    await channel.bindExchange('node.target', 'node.source', 'a.*');
    const queue = await bound(channel, 'node.target');
    channel.publish('node.source', 'a.b', Buffer.from('in'));
    channel.publish('node.source', 'b.a', Buffer.from('out'));
    assert.deepEqual(await drain(channel, queue), ['in']);
    await channel.unbindExchange('node.target', 'node.source', 'a.*');
    channel.publish('node.source', 'a.b', Buffer.from('gone'));
    assert.deepEqual(await drain(channel, queue), []);
    await channel.deleteExchange('node.source');
    await channel.deleteExchange('node.target');
  },

  async alternateExchange(connection) {
    const channel = await connection.createConfirmChannel();
    await channel.assertExchange('node.choosy', 'direct', { durable: false, alternateExchange: 'amq.fanout' });
    const queue = await bound(channel, 'amq.fanout');
    channel.publish('node.choosy', 'nobody', Buffer.from('caught'), { mandatory: true });
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queue), ['caught']);
    await channel.deleteExchange('node.choosy');
  },

  async copies(connection) {
    const channel = await connection.createChannel();
    const [to, cc, bcc] = [await own(channel), await own(channel), await own(channel)];
    channel.publish('', to, Buffer.from('x'), { CC: [cc], BCC: [bcc] });
    for (const queue of [to, cc, bcc]) {
      const msg = await channel.get(queue, { noAck: true });
      assert.deepEqual(msg.properties.headers, { CC: [cc] });
    }
  },

  async mandatory(connection) {
    const channel = await connection.createConfirmChannel();
    const order = [];
    channel.on('return', (msg) => order.push(`${msg.fields.replyCode} ${msg.content}`));
    channel.publish('amq.direct', 'nobody', Buffer.from('back'), { mandatory: true }, () => order.push('confirmed'));
    await within(channel.waitForConfirms(), 'the confirm');
    assert.deepEqual(order, ['312 back', 'confirmed']);
  },

  async directReply(connection) {
    const [server, client] = [await connection.createChannel(), await connection.createChannel()];
    const requests = await own(server);
    await server.consume(requests, (msg) => {
      server.sendToQueue(msg.properties.replyTo, Buffer.from(`re: ${msg.content}`));
    }, { noAck: true });
    const reply = new Promise((resolve, reject) => {
      client.consume('amq.rabbitmq.reply-to', resolve, { noAck: true }).then(() => {
        client.sendToQueue(requests, Buffer.from('hello'), { replyTo: 'amq.rabbitmq.reply-to' });
      }).catch(reject);
    });
    assert.equal((await within(reply, 'the reply')).content.toString(), 're: hello');
  },

  async cancelNotification(connection) {
    const [channel, other] = [await connection.createChannel(), await connection.createChannel()];
    const queue = await own(channel);
    let tell;
    const cancelled = new Promise((resolve) => { tell = resolve; });
    await channel.consume(queue, tell);
    await other.deleteQueue(queue);
    assert.equal(await within(cancelled, 'the cancel'), null);
  },

  async requeue(connection) {
    const channel = await connection.createChannel();
    const queue = await own(channel);
    for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
    const msgs = [await channel.get(queue), await channel.get(queue), await channel.get(queue)];
    channel.ack(msgs[1]);
    channel.nack(msgs[2], true, true);
    const again = await channel.get(queue);
    assert.deepEqual([again.fields.redelivered, again.content.toString()], [true, '1']);
    await channel.recover();
    assert.deepEqual(await drain(channel, queue), ['1', '3']);
  },

  async prefetch(connection) {
    const channel = await connection.createChannel();
    const queue = await own(channel);
    for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
    await channel.prefetch(1);
    const seen = [];
    let tell;
    const done = new Promise((resolve) => { tell = resolve; });
    await channel.consume(queue, async (msg) => {
      seen.push(msg.content.toString());
      const { messageCount } = await channel.checkQueue(queue);
      assert.equal(messageCount, 3 - seen.length);
      channel.ack(msg);
      if (seen.length === 3) tell();
    });
    await within(done, 'three messages');
    assert.deepEqual(seen, ['1', '2', '3']);
  },

  async deadLetters(connection) {
    const channel = await connection.createChannel();
    const dead = await own(channel);
    const queue = `amqplib.quorum.${Date.now()}`;
    await channel.assertQueue(queue, {
      durable: true,
      deadLetterExchange: '',
      deadLetterRoutingKey: dead,
      arguments: { 'x-queue-type': 'quorum', 'x-delivery-limit': 1 },
    });
    channel.sendToQueue(queue, Buffer.from('poison'), { persistent: true });
    const counts = [];
    await channel.consume(queue, (msg) => {
      if (!msg) return; // the queue was deleted
      counts.push(msg.properties.headers['x-delivery-count']);
      channel.nack(msg, false, true);
    });
    const msg = await within(new Promise((resolve, reject) => {
      channel.consume(dead, resolve, { noAck: true }).catch(reject);
    }), 'a dead letter');
    assert.equal(msg.content.toString(), 'poison');
    assert.deepEqual(counts, [undefined, 1]);
    const [death] = msg.properties.headers['x-death'];
    assert.deepEqual([death.queue, death.reason, death.count], [queue, 'delivery_limit', 1]);
    await channel.deleteQueue(queue);
  },

  async priorities(connection) {
    const channel = await connection.createConfirmChannel();
    const { queue } = await channel.assertQueue('', { exclusive: true, maxPriority: 5 });
    for (const [body, priority] of [['1', undefined], ['2', 4], ['3', 9], ['4', 4]]) {
      channel.sendToQueue(queue, Buffer.from(body), { priority });
    }
    await channel.waitForConfirms();
    await channel.prefetch(1);
    const seen = [];
    let tell;
    const done = new Promise((resolve) => { tell = resolve; });
    await channel.consume(queue, (msg) => {
      seen.push(msg.content.toString());
      channel.ack(msg);
      if (seen.length === 4) tell();
    });
    await within(done, 'four messages');
    assert.deepEqual(seen, ['3', '2', '4', '1']);
  },

  async refusals(connection) {
    const queue = await own(await connection.createChannel());
    await closes(connection, 404, "no queue 'nothing' in vhost '/'", (c) => c.checkQueue('nothing'));
    await closes(connection, 403, "contains reserved prefix 'amq.*'", (c) => c.assertQueue('amq.mine'));
    await closes(connection, 406, "inequivalent arg 'type'", (c) => c.assertExchange('amq.topic', 'fanout'));
    await closes(connection, 403, 'contains reserved prefix', (c) => c.assertQueue(queue, { exclusive: true }));
    await closes(connection, 404, "no exchange 'nothing'", (c) => c.publish('nothing', '', Buffer.from('x')));
    await closes(connection, 406, 'unknown delivery tag 9', (c) => c.ack({ fields: { deliveryTag: 9 } }));
  },
};

run(features);
