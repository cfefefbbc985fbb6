// What programs do with MQTT.js beside publishing and consuming.
//
// usage: node mqttjs_features.js URL [4|5]
//
// Each function is a feature; the program ends with the first that is not as it should
// be, and prints the names of those that were.
'use strict';

const assert = require('assert');
const mqtt = require('mqtt');

const [url, versionText] = process.argv.slice(2);
const version = Number(versionText);
const v5 = version === 5;

class Client {
  static async connect(id, options = {}) {
    const c = new Client();
    c.messages = [];
    c.waiting = [];
    c.client = mqtt.connect(url, {
      clientId: `js-${id}`, protocolVersion: version, reconnectPeriod: 0, connectTimeout: 20000, ...options,
    });
    c.client.on('message', (topic, payload, packet) => {
      const m = { topic, text: payload.toString(), packet };
      if (c.waiting.length > 0) c.waiting.shift()(m);
      else c.messages.push(m);
    });
    c.connack = await new Promise((resolve, reject) => {
      c.client.once('connect', resolve);
      c.client.once('error', reject);
    });
    return c;
  }

  next() {
    if (this.messages.length > 0) return Promise.resolve(this.messages.shift());
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error('no message')), 20000);
      this.waiting.push((m) => {
        clearTimeout(late);
        resolve(m);
      });
    });
  }

  async take(n) {
    const texts = [];
    while (texts.length < n) texts.push((await this.next()).text);
    return texts;
  }

  publish(topic, text, options = {}) { return this.client.publishAsync(topic, text, { qos: 1, ...options }); }

  async subscribe(topic, options = { qos: 1 }) { return (await this.client.subscribeAsync(topic, options)).map((g) => g.qos); }

  leave() { return this.client.endAsync(); }

  vanish() { this.client.stream.destroy(); }
}

const lasting = v5 ? { properties: { sessionExpiryInterval: 3600 } } : {};

const features = {
  async eachQoS() {
    const sub = await Client.connect('qos-sub');
    const pub = await Client.connect('qos-pub');
    for (const granted of [0, 1, 2]) {
      assert.deepStrictEqual(await sub.subscribe(`js/qos/${granted}`, { qos: granted }), [granted]);
      for (const qos of [0, 1, 2]) {
        await pub.publish(`js/qos/${granted}`, String(qos), { qos });
        const m = await sub.next();
        assert.deepStrictEqual([m.text, m.packet.qos], [String(qos), Math.min(granted, qos)]);
      }
    }
    await sub.client.unsubscribeAsync('js/qos/1');
    await pub.publish('js/qos/1', 'gone');
    await pub.publish('js/qos/2', 'end');
    assert.deepStrictEqual(await sub.take(1), ['end']);
    await sub.leave();
    await pub.leave();
  },

  async sessions() {
    let sub = await Client.connect('session', { clean: v5, ...lasting });
    assert.strictEqual(sub.connack.sessionPresent, false);
    await sub.subscribe('js/session', { qos: 2 });
    await sub.leave();
    const pub = await Client.connect('session-pub');
    const want = [];
    for (let n = 0; n < 30; n++) {
      want.push(String(n));
      await pub.publish('js/session', String(n), { qos: n < 15 ? 1 : 2 });
    }
    sub = await Client.connect('session', { clean: false, ...lasting });
    assert.strictEqual(sub.connack.sessionPresent, true);
    assert.deepStrictEqual(await sub.take(30), want);
    await sub.leave();
    sub = await Client.connect('session', { clean: true });
    assert.strictEqual(sub.connack.sessionPresent, false);
    await sub.leave();
    await pub.leave();
  },

  async retained() {
    const pub = await Client.connect('retain-pub');
    for (const [topic, text] of [['a', 'old'], ['a', '1'], ['b', '2'], ['c', '3'], ['c', '']]) {
      await pub.publish(`js/retained/${topic}`, text, { retain: true });
    }
    const sub = await Client.connect('retain-sub');
    await sub.subscribe('js/retained/+');
    const got = [await sub.next(), await sub.next()].map((m) => [m.topic, m.text, m.packet.retain]).sort();
    assert.deepStrictEqual(got, [['js/retained/a', '1', true], ['js/retained/b', '2', true]]);
    for (const topic of ['a', 'b']) await pub.publish(`js/retained/${topic}`, '', { retain: true });
    await sub.leave();
    await pub.leave();
  },

  async wills() {
    const sub = await Client.connect('will-sub');
    await sub.subscribe('js/will/#');
    const will = (of) => ({ will: { topic: `js/will/${of}`, payload: Buffer.from('gone'), qos: 1, retain: false } });
    await (await Client.connect('will-polite', will('polite'))).leave();
    (await Client.connect('will-lost', will('lost'))).vanish();
    const m = await sub.next();
    assert.deepStrictEqual([m.topic, m.text], ['js/will/lost', 'gone']);
    await sub.leave();
  },
};

const features5 = {
  async properties() {
    const sub = await Client.connect('props-sub');
    const pub = await Client.connect('props-pub');
    await sub.client.subscribeAsync('js/props', { qos: 1, properties: { subscriptionIdentifier: 77 } });
    await pub.publish('js/props', 'x', {
      properties: {
        payloadFormatIndicator: true, messageExpiryInterval: 600, contentType: 'text/plain', responseTopic: 'js/answers',
        correlationData: Buffer.from([1, 2]), userProperties: { a: ['1', '3'], b: '2' },
      },
    });
    const p = (await sub.next()).packet.properties;
    assert.strictEqual(p.contentType, 'text/plain');
    assert.strictEqual(p.responseTopic, 'js/answers');
    assert.deepStrictEqual([...p.correlationData], [1, 2]);
    assert.deepStrictEqual({ ...p.userProperties }, { a: ['1', '3'], b: '2' });
    assert.ok(p.messageExpiryInterval > 590 && p.messageExpiryInterval <= 600);
    assert.strictEqual(p.subscriptionIdentifier, 77);
    await sub.leave();
    await pub.leave();
  },

  async aliases() {
    const sub = await Client.connect('alias-sub', { properties: { topicAliasMaximum: 5 } });
    const pub = await Client.connect('alias-pub', { autoUseTopicAlias: true, autoAssignTopicAlias: true });
    assert.ok(pub.connack.properties.topicAliasMaximum > 0);
    await sub.subscribe('js/alias');
    for (const n of ['1', '2', '3']) await pub.publish('js/alias', n);
    assert.deepStrictEqual(await sub.take(3), ['1', '2', '3']);
    await sub.leave();
    await pub.leave();
  },

  async subscribeOptions() {
    const c = await Client.connect('options');
    const other = await Client.connect('options-other');
    await other.publish('js/options', 'kept', { retain: true });
    await c.subscribe('js/options', { qos: 1, nl: true, rap: true, rh: 2 });
    await c.publish('js/options', 'own');
    await other.publish('js/options', '', { retain: true });
    const m = await c.next();
    assert.deepStrictEqual([m.text, m.packet.retain], ['', true]);
    await other.leave();
    await c.leave();
  },

  async reasonCodes() {
    const c = await Client.connect('reasons');
    const granted = await c.client.subscribeAsync(['js/ok', 'js' + '/'.repeat(130)], { qos: 1 }).catch((e) => e);
    assert.ok(granted instanceof Error || granted.some((g) => g.qos === 0x8f), String(granted));
    await c.leave();
  },

  async receiveMaximum() {
    const sub = await Client.connect('window', { properties: { receiveMaximum: 3, sessionExpiryInterval: 3600 } });
    assert.ok(sub.connack.properties.receiveMaximum > 0);
    await sub.subscribe('js/window', { qos: 2 });
    const pub = await Client.connect('window-pub');
    const want = [];
    for (let n = 0; n < 50; n++) {
      want.push(String(n));
      await pub.publish('js/window', String(n), { qos: 2 });
    }
    assert.deepStrictEqual(await sub.take(50), want);
    await sub.leave();
    await pub.leave();
  },
};

(async () => {
  for (const [name, feature] of Object.entries(v5 ? { ...features, ...features5 } : features)) {
    await feature();
    process.stdout.write(`${name}\n`);
  }
  process.exit(0);
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
