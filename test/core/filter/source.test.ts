import t from 'tap';
import { compileFilter } from '../../../src/core/filter/filter.ts';
import { hubSource } from '../../../src/core/filter/source.ts';
import { tagFilter } from '../../../src/core/filter/tags.ts';
import { limitsWith } from '../../../src/core/limits.ts';
import type { HubProperties, HubValue } from '../../../src/core/message.ts';

const LIMITS = limitsWith();
const FACTS = { key: 'orders.eu', exchange: 'shop', receivedAtMs: 1_700_000_000_000 };

function sourceOf(hub: Partial<HubProperties> = {}) {
  return hubSource({ durable: false, annotations: new Map(), application: [], ...hub }, FACTS);
}

t.test('names of a message: sections, facts, header names of Jakarta Messaging', async (t) => {
  const source = sourceOf({
    durable: true,
    priority: 7,
    ttlMs: 1000,
    messageId: 'id-1',
    userId: 'ann',
    to: 'there',
    subject: 'car',
    replyTo: 'here',
    correlationId: 'c-1',
    contentType: 'text/plain',
    contentEncoding: 'gzip',
    absoluteExpiryMs: 5,
    creationTimeMs: 6,
    groupId: 'g',
    groupSequence: 3,
    replyToGroupId: 'rg',
  });
  const expected: { [name: string]: HubValue } = {
    'header.durable': true,
    'header.priority': 7,
    'header.ttl': 1000,
    'properties.message_id': 'id-1',
    'properties.user_id': 'ann',
    'properties.to': 'there',
    'properties.subject': 'car',
    'properties.reply_to': 'here',
    'properties.correlation_id': 'c-1',
    'properties.content_type': 'text/plain',
    'properties.content_encoding': 'gzip',
    'properties.absolute_expiry_time': 5,
    'properties.creation_time': 6,
    'properties.group_id': 'g',
    'properties.group_sequence': 3,
    'properties.reply_to_group_id': 'rg',
    'message.key': 'orders.eu',
    'message.exchange': 'shop',
    'message.received_at': 1_700_000_000_000,
    JMSMessageID: 'id-1',
    JMSCorrelationID: 'c-1',
    JMSType: 'car',
    JMSPriority: 7,
    JMSTimestamp: 6,
    JMSDeliveryMode: 'PERSISTENT',
    JMSXGroupID: 'g',
    JMSXGroupSeq: 3,
    JMSXUserID: 'ann',
  };
  for (const [name, value] of Object.entries(expected)) t.equal(source.value(name), value, name);
});

t.test('what a message does not have', async (t) => {
  const source = sourceOf();
  t.equal(source.value('JMSPriority'), 4, 'the default of Jakarta Messaging');
  t.equal(source.value('JMSDeliveryMode'), 'NON_PERSISTENT');
  t.equal(source.value('JMSTimestamp'), FACTS.receivedAtMs);
  for (const name of [
    'JMSType',
    'header.priority',
    'properties.subject',
    'anything',
    'application.',
    'annotations.x',
  ]) {
    t.equal(source.value(name), undefined, name);
  }
});

t.test(
  'application properties come before annotations, each can be asked for alone; the first of a name counts',
  async (t) => {
    for (const more of [0, 100]) {
      const application: [string, HubValue][] = [
        ['colour', 'red'],
        ['colour', 'blue'],
        ['x-both', 1],
        ['header.priority', 9],
        ['JMSType', 'boat'],
      ];
      for (let i = 0; i < more; i++) application.push([`more${i}`, i]);
      const annotations = new Map<string, HubValue>([
        ['x-both', 2],
        ['x-only', 3],
      ]);
      const source = sourceOf({ application, annotations, priority: 5 });
      t.equal(source.value('colour'), 'red');
      t.equal(source.value('x-both'), 1);
      t.equal(source.value('x-only'), 3);
      t.equal(source.value('annotations.x-both'), 2);
      t.equal(source.value('application.x-only'), undefined);
      t.equal(source.value('header.priority'), 5);
      t.equal(source.value('application.header.priority'), 9);
      t.equal(source.value('JMSType'), 'boat', 'a section that is not set leaves its name to the properties');
      t.equal(
        compileFilter(`colour = 'red' AND "x-only" = 3 AND message.key LIKE 'orders.%'`, LIMITS).matches(source),
        true,
      );
      if (more > 0) t.equal(source.value('more99'), 99);
    }
  },
);

t.test('tags: any of a list, * for all', async (t) => {
  const tagged = (tag?: HubValue) => sourceOf(tag === undefined ? {} : { application: [['TAGS', tag]] });
  const filter = tagFilter(' a || b c||é ', LIMITS);
  t.same(filter.names, ['TAGS']);
  t.equal(filter.text, ' a || b c||é ');
  for (const tag of ['a', 'b c', 'é']) t.equal(filter.matches(tagged(tag)), true, tag);
  for (const tag of ['A', 'b', '', '*', 1, null, undefined]) t.equal(filter.matches(tagged(tag)), false, String(tag));
  for (const text of ['*', '', ' ', 'a || *']) {
    t.equal(tagFilter(text, LIMITS).matches(tagged()), true, JSON.stringify(text));
    t.equal(tagFilter(text, LIMITS).matches(tagged('z')), true, JSON.stringify(text));
  }
  t.equal(tagFilter('car', LIMITS, 'properties.subject').matches(sourceOf({ subject: 'car' })), true);
  t.throws(() => tagFilter('a || || b', LIMITS), {
    code: 'invalid-argument',
    message: /filter, column 5: expected a tag/,
  });
  t.throws(() => tagFilter('a ||', LIMITS), { code: 'invalid-argument', message: /column 5/ });
  t.throws(() => tagFilter('a||b||c', limitsWith({ filterNodesMax: 2 })), { code: 'limit-exceeded' });
  t.throws(() => tagFilter('a'.repeat(10_000), LIMITS), { code: 'limit-exceeded', message: /filterBytesMax/ });
});
