import fc from 'fast-check';
import t from 'tap';
import { ForeignTopics, filterMatches, parseFilter, topicKey } from '../../../src/adapters/mqtt/topic.ts';
import { ANY_MANY, ANY_ONE, limitsWith, Message } from '../../../src/core/index.ts';

const limits = limitsWith();
const key = (text: string) => topicKey(Buffer.from(text), 0, Buffer.byteLength(text), limits);

t.test('a topic is split at slashes, dots are ordinary', async (t) => {
  t.strictSame(key('a.b/c//d').levels, ['a.b', 'c', '', 'd']);
  t.strictSame(key('/').levels, ['', ''], '[MQTT-4.7.3-1]: one character is enough');
});

t.test('what is no topic is refused', async (t) => {
  t.throws(() => key(''), { code: 'protocol-violation' }, '[MQTT-4.7.3-1]');
  for (const text of ['#', 'a/+', 'a+', 'a/#/b'])
    t.throws(() => key(text), { code: 'protocol-violation' }, '[MQTT-3.3.2-2]');
  t.throws(() => key('a\0b'), { code: 'malformed-frame' }, '[MQTT-1.5.3-2]');
  t.throws(() => topicKey(Buffer.of(0xff), 0, 1, limits), { code: 'malformed-frame' }, '[MQTT-1.5.3-1]');
  t.throws(() => key('/'.repeat(128)), { code: 'limit-exceeded' });
  t.equal(key('/'.repeat(127)).levels.length, 128);
});

t.test('filters: wildcards stand for whole levels', async (t) => {
  t.strictSame(parseFilter('+/a/#').levels, [ANY_ONE, 'a', ANY_MANY]);
  t.strictSame(parseFilter('/+').levels, ['', ANY_ONE]);
  t.equal(parseFilter('#').hidesDollar, true, '[MQTT-4.7.2-1]');
  for (const text of ['a/#/b', 'a#', '#/a', 'sport/tennis#']) {
    t.throws(() => parseFilter(text), { code: 'protocol-violation' }, `${text} [MQTT-4.7.1-2]`);
  }
  for (const text of ['a+', '+a/b', 'sport+']) {
    t.throws(() => parseFilter(text), { code: 'protocol-violation' }, `${text} [MQTT-4.7.1-3]`);
  }
  t.throws(() => parseFilter(''), { code: 'protocol-violation' }, '[MQTT-4.7.3-1]');
});

t.test('the examples of 4.7', async (t) => {
  const cases: [string, string, boolean][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['#', 'sport', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['#', '$SYS/uptime', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/uptime', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['ACCOUNTS', 'Accounts', false],
  ];
  for (const [filter, topic, expected] of cases) {
    t.equal(filterMatches(parseFilter(filter), key(topic).levels), expected, `${filter} and ${topic}`);
  }
});

t.test('topics of messages from elsewhere: levels joined with slashes, or none', async (t) => {
  const topics = new ForeignTopics();
  const message = new Message();
  const topicOf = (text: string | Buffer, separator = '.'): string => {
    message.keyBytes = Buffer.concat([Buffer.from('xx'), Buffer.from(text as string), Buffer.from('xx')]);
    message.keyStart = 2;
    message.keyEnd = message.keyBytes.length - 2;
    message.separator = separator.charCodeAt(0);
    return topics.of(message).toString();
  };
  for (let round = 0; round < 2; round++) {
    t.equal(topicOf('sensors.kitchen.temp'), 'sensors/kitchen/temp');
    t.equal(topicOf('a.b', '/'), 'a.b', 'the same bytes with another separator are another key');
    t.equal(topicOf(''), '');
    t.equal(topicOf('a.#'), '');
    t.equal(topicOf('a+b'), '');
    t.equal(topicOf('a\0b'), '');
    t.equal(topicOf(Buffer.of(0x61, 0xff)), '');
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), (array) => {
      const topic = topicOf(Buffer.from(array));
      if (topic !== '') key(topic);
    }),
  );
});
