// How consumers share, transactions, policies and alarms, with amqplib.
//
// usage: node amqplib_governed.js HOST:PORT HTTP-HOST:PORT
//
// Each function is a feature; the program ends with the first that is not as it
// should be, and prints the names of those that were.
'use strict';

const assert = require('node:assert/strict');
const path = require('node:path');
const { within, own, drain, refused, run, Arrivals } = require('./amqplib_common');

// api calls the management API, and expects that it does as it is told.
async function api(method, path, body) {
  const answer = await fetch(`http://${process.argv[3]}/api/${path}`, {
    method,
    headers: { Authorization: `Basic ${btoa('guest:guest')}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.text()}`);
}

// The methods of the protocol: a file of amqplib that it does not export.
const defs = require(path.join(path.dirname(require.resolve('amqplib')), 'lib', 'defs.js'));

// transaction starts, commits or rolls back: amqplib knows the methods, and has no functions for them.
const transaction = {
  select: (channel) => channel.rpc(defs.TxSelect, {}, defs.TxSelectOk),
  commit: (channel) => channel.rpc(defs.TxCommit, {}, defs.TxCommitOk),
  rollback: (channel) => channel.rpc(defs.TxRollback, {}, defs.TxRollbackOk),
};

const features = {
  async consumerPriorities(connection) {
    const channel = await connection.createChannel();
    const queue = await own(channel);
    const got = new Arrivals();
    await channel.prefetch(1);
    for (const [consumerTag, priority] of [['low', -1], ['high', 5]]) {
      await channel.consume(queue, (msg) => got.add(`${consumerTag} ${msg.content}`), { consumerTag, priority });
    }
    channel.sendToQueue(queue, Buffer.from('1'));
    await got.come(1);
    channel.sendToQueue(queue, Buffer.from('2')); // the high one has no room
    await got.come(2);
    assert.deepEqual(got.all, ['high 1', 'low 2']);
  },

  async prefetchOfAChannel(connection) {
    const [channel, looker] = [await connection.createChannel(), await connection.createChannel()];
    const queues = [await own(channel), await own(channel)];
    for (const queue of queues) for (const body of ['1', '2']) channel.sendToQueue(queue, Buffer.from(body));
    await channel.prefetch(3, true);
    const got = new Arrivals();
    for (const queue of queues) await channel.consume(queue, (msg) => got.add(msg));
    await got.come(3);
    let waiting = 0;
    for (const queue of queues) waiting += (await looker.checkQueue(queue)).messageCount;
    assert.deepEqual([got.all.length, waiting], [3, 1]);
    channel.ack(got.all[0]);
    await got.come(4);
  },

  async transactions(connection) {
    const [channel, looker] = [await connection.createChannel(), await connection.createChannel()];
    const [from, to] = [await own(channel), await own(channel)];
    const counts = async () => [(await looker.checkQueue(from)).messageCount, (await looker.checkQueue(to)).messageCount];
    await transaction.select(channel);
    channel.sendToQueue(from, Buffer.from('1'));
    channel.sendToQueue(to, Buffer.from('2'));
    await looker.checkQueue(from);
    assert.deepEqual(await counts(), [0, 0]);
    await transaction.commit(channel);
    assert.deepEqual(await counts(), [1, 1]);
    const msg = await channel.get(from);
    channel.ack(msg);
    channel.sendToQueue(to, Buffer.from('3'));
    await transaction.rollback(channel);
    assert.deepEqual(await counts(), [0, 1]); // it is still unacknowledged
    channel.ack(msg);
    channel.sendToQueue(to, Buffer.from('4'));
    await transaction.commit(channel);
    await channel.close(); // gives back what is unacknowledged
    assert.deepEqual(await drain(looker, from), []);
    assert.deepEqual(await drain(looker, to), ['2', '4']);
  },

  async policies(connection) {
    const channel = await connection.createConfirmChannel();
    const queue = `amqplib.governed.${Date.now()}`;
    const dead = await own(channel);
    await channel.assertQueue(queue);
    for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body));
    await channel.waitForConfirms();
    await api('PUT', 'policies/%2F/amqplib', {
      pattern: '^amqplib\\.governed\\.', 'apply-to': 'queues', definition: { 'max-length': 1, overflow: 'reject-publish' },
    });
    await refused(channel, queue, '4');
    await api('PUT', 'policies/%2F/amqplib', {
      pattern: '^amqplib\\.governed\\.',
      'apply-to': 'queues',
      definition: { 'dead-letter-exchange': '', 'dead-letter-routing-key': dead, 'max-length': 2 },
    });
    channel.sendToQueue(queue, Buffer.from('5'));
    await channel.waitForConfirms();
    const letters = new Arrivals();
    await channel.consume(dead, (msg) => letters.add(`${msg.content} ${msg.properties.headers['x-death'][0].reason}`), { noAck: true });
    await letters.come(2);
    assert.deepEqual(letters.all, ['1 maxlen', '2 maxlen']);
    await api('DELETE', 'policies/%2F/amqplib');
    channel.sendToQueue(queue, Buffer.from('6'));
    await channel.waitForConfirms();
    assert.deepEqual(await drain(channel, queue), ['3', '5', '6']);
    await channel.deleteQueue(queue);
  },

  async blocked(connection) {
    const channel = await connection.createConfirmChannel();
    const queue = await own(channel);
    const told = new Arrivals();
    connection.on('blocked', (reason) => told.add(reason));
    connection.on('unblocked', () => told.add('unblocked'));
    let confirmed = false;
    await api('PUT', 'pressure', { memory_high_bytes: 1 });
    channel.sendToQueue(queue, Buffer.from('held'), {}, (err) => { confirmed = !err; });
    await told.come(1);
    assert.equal(confirmed, false);
    await (await connection.createChannel()).checkQueue(queue); // other channels go on
    await api('PUT', 'pressure', { memory_high_bytes: 0 });
    await within(channel.waitForConfirms(), 'the confirm of what was held');
    await told.come(2);
    assert.deepEqual(told.all, ['low on memory', 'unblocked']);
    assert.deepEqual(await drain(channel, queue), ['held']);
  },
};

run(features);
